"""Loads and exports Hugging Face directories. An export is reloaded, and its logits are compared with the run's."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

from llm_jax import tokenizer as tokenizers
from llm_jax.backend import release_memory
from llm_jax.config import DecoderConfig, Execution
from llm_jax.files import replacing_folder, write
from llm_jax.files.faults import safe
from llm_jax.files.json_files import read_json
from llm_jax.hf import config as hf_config
from llm_jax.hf import families, hub, names, single_file, tensors
from llm_jax.models import decoder
from llm_jax.tokenizer import Tokenizer
from llm_jax.tokenizer.hf_files import carried, chat_templates, companions
from llm_jax.tokenizer.hf_files.saving import generation_fields

TOKENIZER_FILES = (*companions.NAMES, "vocab.json", "merges.txt")
HUB_FILES = (
    hf_config.FILE_NAME,
    tensors.FILE_NAME,
    tensors.INDEX_NAME,
    "model-*.safetensors",
    "tokenizer*.json",
    *TOKENIZER_FILES,
    carried.SENTENCEPIECE[0],
    chat_templates.JINJA,
    chat_templates.MORE,
)
WRITTEN = (
    hf_config.FILE_NAME,
    "generation_config.json",
    tensors.FILE_NAME,
    "tokenizer.json",
    "tokenizer_config.json",
    "README.md",
)
ON_THE_HUB = {name: f"openai-community/{name}" for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")}
CHECK_TOKENS = 64
TOLERANCE = 1e-4  # on logits, float32


@dataclass(frozen=True)
class Loaded:
    """A model read from a Hugging Face directory."""

    config: DecoderConfig
    params: decoder.Decoder
    tokenizer: Tokenizer | None  # None where the directory has none


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote, and how far its logits are from the run's."""

    out: Path
    max_abs_logit_diff: float
    n_parameters: int


def load(name_or_path: str | Path, keeps_format: bool = False) -> Loaded:
    """Reads a directory, or a model of the hub by its `owner/name` (from the local cache if it is there).

    With `keeps_format` matrices stay in the number format of the file; otherwise they become float32.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: another architecture, settings that change the function, pickle weights, a header that contradicts
            its file, or tensors that are missing, unknown or of another shape. It names the file and the cure.
    """
    directory = _here(name_or_path)
    config, family = hf_config.read_with_family(directory)
    found = _checked(directory, tensors.read(directory, family.tied(config)), config, family)
    # First the tokenizer: reading its files takes memory for a moment, in which the parameters then find room.
    tokenizer = tokenizers.load(directory) if tokenizers.is_there(directory) else None
    release_memory()
    return Loaded(config, names.from_hf(found, config, family, keeps_format), tokenizer)


def describe(name_or_path: str | Path) -> tuple[DecoderConfig, Tokenizer]:
    """Config and tokenizer of a directory or a model of the hub. Raises as `load`, and where one is missing."""
    directory = _here(name_or_path)
    config, _ = hf_config.read_with_family(directory)
    if not tokenizers.is_there(directory):
        raise FileNotFoundError(f"{name_or_path} has no tokenizer.json: put one there")
    return config, tokenizers.load(directory)


def _here(name_or_path: str | Path) -> Path:
    """The directory; of a name on the hub, the one in the local cache, into which it is downloaded where it is not."""
    directory = Path(name_or_path)
    single_file.refuse(directory)
    return directory if directory.is_dir() else hub.download(str(name_or_path), HUB_FILES, ON_THE_HUB)


def check(directory: Path) -> DecoderConfig:
    """Checks all that `load` checks, without reading the weights, and that there is a tokenizer.

    For a directory that another program will load.

    Raises:
        OSError, ValueError: as `load`.
        ValueError: the tokenizer has more ids than the model.
    """
    single_file.refuse(directory)
    config, family = hf_config.read_with_family(directory)
    _checked(directory, tensors.read(directory, family.tied(config)), config, family)
    if not tokenizers.is_there(directory):
        raise FileNotFoundError(f"{directory} has no tokenizer.json: put one there")
    refuse_unknown_ids(directory, tokenizers.load(directory), config.vocab_size)
    return config


def export(
    params: decoder.Decoder,
    config: DecoderConfig,
    tokenizer: Tokenizer,
    out: Path,
    readme: str,
    overwrite: bool = False,
) -> ExportReport:
    """Writes config, weights, tokenizer and card to a temporary folder, checks it, and renames it to `out`.

    Raises:
        FileExistsError: `out` is there and is not an earlier export, or is one and `overwrite` is not set.
        ValueError: the tokenizer has more ids than the model.
        RuntimeError: the reloaded logits differ by more than 1e-4.
    """
    out = Path(out)
    refuse_unknown_ids(out, tokenizer, config.vocab_size)
    place = out.resolve()  # keeps a link a link, and gives "." a name
    if place.exists() and (reason := _why_foreign(place, tokenizer)):
        raise FileExistsError(f"{out} exists already and is no export ({reason}): choose another folder")
    if place.exists() and not overwrite:
        raise FileExistsError(f"{out} exists already: choose another folder, or overwrite this export with --force")
    with safe(f"nothing was changed in {out}"), replacing_folder(place) as scratch:
        _write(scratch, params, config, tokenizer, readme)
        difference = _compare(params, config, load(scratch))
    return ExportReport(out, difference, config.n_parameters)


def _why_foreign(folder: Path, tokenizer: Tokenizer) -> str | None:
    """Why a folder is not an export (but a run, say); None if it is one."""
    for name in (hf_config.FILE_NAME, tensors.FILE_NAME):
        if not (folder / name).is_file():
            return f"no {name}"
    copied = {Path(name).parts[0] for name in tokenizer.files} | {chat_templates.JINJA, chat_templates.FOLDER}
    is_part = {path: path.name in {*WRITTEN, *copied} for path in folder.iterdir()}
    is_part |= {path: path.name == chat_templates.FOLDER for path in is_part if not path.is_file()}
    foreign = sorted(path.name for path, is_one in is_part.items() if not is_one)
    if foreign:
        return f"{foreign[0]} is no part of one"
    try:
        is_ours = read_json(folder / hf_config.FILE_NAME)["model_type"] in families.FAMILIES
    except (ValueError, KeyError, TypeError, RecursionError):
        is_ours = False
    return None if is_ours else f"its {hf_config.FILE_NAME} is not that of a GPT-2 or a Llama-shaped model"


def _write(folder: Path, params: decoder.Decoder, config: DecoderConfig, tokenizer: Tokenizer, readme: str) -> None:
    tokenizer.save(folder, config.context_length)
    for name, content in (
        (hf_config.FILE_NAME, hf_config.write(config, tokenizer.borders)),
        (companions.GENERATION_CONFIG, {"_from_model_config": True, **generation_fields(tokenizer.borders)}),
    ):
        write(folder / name, json.dumps(content, indent=2) + "\n")
    save_file(names.to_hf(params, config), folder / tensors.FILE_NAME, metadata={"format": "pt"})
    # safetensors writes with mode 0600 whatever the umask; give the weights the mode of the other files.
    (folder / tensors.FILE_NAME).chmod((folder / hf_config.FILE_NAME).stat().st_mode)
    write(folder / "README.md", readme)


def _compare(params: decoder.Decoder, config: DecoderConfig, reloaded: Loaded) -> float:
    """Largest difference of float32 logits on one sequence of random tokens."""
    plan = decoder.make_plan(Execution(dtype="float32"))
    length = min(CHECK_TOKENS, config.context_length)
    tokens_BT = jnp.asarray(np.random.default_rng(0).integers(0, config.vocab_size, (1, length)), jnp.int32)

    @jax.jit
    def logits_of(params):
        return decoder.logits(params, decoder.forward(params, tokens_BT, config, plan)[0], config)

    difference = float(jnp.abs(logits_of(params) - logits_of(reloaded.params)).max())
    if not difference <= TOLERANCE:
        raise RuntimeError(f"the export's logits differ from the run's by {difference}; expected at most {TOLERANCE}")
    return difference


def _checked(
    directory: Path, found: dict[str, np.ndarray], config: DecoderConfig, family: families.Family
) -> dict[str, np.ndarray]:
    """The tensors of the table by their names without prefix.

    A tied head is the embedding, stored under either name; stored under both, the two must be equal.
    """
    prefix, read = family.prefix, [name for name in found if not name.endswith(family.ignored)]
    bare = {name.removeprefix(prefix): found[name] for name in read}
    twice = [name for name in read if name.startswith(prefix) and name.removeprefix(prefix) in found]
    _refuse(f"is there twice, with and without {prefix!r}", directory, twice)
    head = bare.pop(family.head, None) if config.tied_head else None
    if head is not None:
        bare.setdefault(family.embedding, head)  # safetensors' `save_model` keeps only the head's name
    expected = dict(names.table(config, family).values())
    _refuse("is missing", directory, expected.keys() - bare.keys())
    _refuse(f"is not part of a {family.name} of this config", directory, bare.keys() - expected.keys())
    for name, shape in expected.items():
        if bare[name].shape != shape:
            raise ValueError(f"{directory}: tensor {name!r} has shape {bare[name].shape}; its config says {shape}")
    if head is not None and not np.array_equal(head, bare[family.embedding]):
        raise ValueError(f"{directory}: lm_head.weight is not the embedding, though its config ties the two")
    return bare


def refuse_unknown_ids(source: str | Path, tokenizer: Tokenizer, n_known: int) -> None:
    """Raises ValueError where the tokenizer of a model has more ids than the model's vocabulary."""
    if tokenizer.vocab_size > n_known:
        raise ValueError(
            f"{source}: the tokenizer has {tokenizer.vocab_size:,} ids, the model knows {n_known:,}: put the tokenizer "
            "there that it was trained with"
        )


def _refuse(what: str, directory: Path, wrong: Iterable[str]) -> None:
    if wrong := sorted(wrong):
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise ValueError(f"{directory}: tensor {wrong[0]!r}{more} {what}")
