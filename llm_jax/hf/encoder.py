"""Directories of sentence encoders: a BERT of Hugging Face, with the small files of sentence-transformers beside it.

config.json, model.safetensors, tokenizer files    as in transformers
modules.json, 1_Pooling/config.json                how hidden states become one vector, and whether it is normalised
sentence_bert_config.json                          how many tokens a text may have; longer ones are cut

A directory of a bare BERT lacks the last three. Then the vector is the masked mean, normalised, and the limit is the
model's positions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors.numpy import save_file

from llm_jax import tokenizer as tokenizers
from llm_jax.files import replacing_folder
from llm_jax.files.json_files import read_json, write_json
from llm_jax.hf import hub, single_file, tensors
from llm_jax.hf.directory import refuse_unknown_ids
from llm_jax.hf.families import bert
from llm_jax.hf.names import tensors_of
from llm_jax.models.encoder.config import EncoderConfig
from llm_jax.models.encoder.parameters import Encoder, init
from llm_jax.tokenizer import Tokenizer

CONFIG, MODULES, LENGTH, POOLING = "config.json", "modules.json", "sentence_bert_config.json", "1_Pooling/config.json"
NAMES = "special_tokens_map.json"
HUB_FILES = (CONFIG, MODULES, LENGTH, POOLING, NAMES, tensors.FILE_NAME, "tokenizer*.json", "vocab.txt")
MODES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


@dataclass(frozen=True)
class SentenceModel:
    """An encoder, and how it turns a text into a vector."""

    config: EncoderConfig
    params: Encoder
    tokenizer: Tokenizer
    begin: tuple[int, ...]  # ids before a text: [CLS]
    end: tuple[int, ...]  # ids behind it: [SEP]
    most_tokens: int  # of a text with its borders
    pooling: str = "mean"  # a key of llm_jax.models.encoder.pooling.POOLINGS
    is_normalised: bool = True


def load(directory: str | Path) -> SentenceModel:
    """Reads a directory, or a model of the hub by its `owner/name` (from the local cache if it is there).

    Raises:
        FileNotFoundError: it or one of its files is missing.
        ValueError: another architecture, a setting or pooling that is not computed here, or tensors that do not fit;
            the message names the file.
    """
    directory = Path(directory)
    single_file.refuse(directory)
    if not directory.is_dir():
        directory = hub.download(str(directory), HUB_FILES)
    path = directory / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{directory} is no Hugging Face directory of an encoder: it has no {CONFIG}")
    try:
        config = bert.read(path, read_json(path, "download it again"))
    except ValueError as error:
        raise error if str(error).startswith(str(path)) else ValueError(f"{path}: {error}") from None
    params = _from_hf(_checked(directory, config), config)
    tokenizer = tokenizers.load(directory)
    refuse_unknown_ids(directory, tokenizer, config.vocab_size)
    begin, end = _borders(directory, tokenizer)
    pooling, is_normalised = _pooling(directory)
    return SentenceModel(config, params, tokenizer, begin, end, _most_tokens(directory, config), pooling, is_normalised)


def save(model: SentenceModel, out: Path, more: Mapping[str, Any] | None = None) -> None:
    """Writes a directory, whole or not at all, that `load`, transformers and sentence-transformers read.

    `more` is a record that is written beside it as `report.json`.
    """
    with replacing_folder(out) as folder:
        model.tokenizer.save(folder, model.most_tokens)
        write_json(folder / CONFIG, bert.write(model.config))
        save_file(to_hf(model.params, model.config), folder / tensors.FILE_NAME, metadata={"format": "pt"})
        (folder / tensors.FILE_NAME).chmod((folder / CONFIG).stat().st_mode)
        parts = ["models.Transformer", "models.Pooling", *(["models.Normalize"] if model.is_normalised else [])]
        folders = ("", "1_Pooling", "2_Normalize")
        modules = [
            {"idx": i, "name": str(i), "path": folders[i], "type": f"sentence_transformers.{part}"}
            for i, part in enumerate(parts)
        ]
        write_json(folder / MODULES, modules)
        write_json(folder / LENGTH, {"max_seq_length": model.most_tokens, "do_lower_case": False})
        (folder / POOLING).parent.mkdir()
        modes = {name: mode == model.pooling for name, mode in MODES.items()}
        write_json(folder / POOLING, {"word_embedding_dimension": model.config.d_model, **modes})
        names = {
            name: model.tokenizer.id_to_token(ids[0])
            for name, ids in (("cls_token", model.begin), ("sep_token", model.end))
            if ids
        }
        write_json(folder / NAMES, names)
        if more is not None:
            write_json(folder / "report.json", more)


def to_hf(params: Encoder, config: EncoderConfig) -> dict[str, np.ndarray]:
    """Parameters → tensors in float32, under the names that the class saves."""
    return tensors_of(
        params, bert.rows(config), lambda row: bert.shape(row, config), lambda name: bert.saved(name, config)
    )


def _from_hf(found: Mapping[str, np.ndarray], config: EncoderConfig) -> Encoder:
    rows = {row.ours: row for row in bert.rows(config)}
    template = jax.eval_shape(lambda key: init(key, config), jax.random.key(0))

    def take(path, leaf):
        row = rows[jax.tree_util.keystr(path)]
        tensor = np.asarray(found[row.theirs], np.float32)
        tensor = tensor.T if row.is_transposed else tensor
        return jax.device_put(np.ascontiguousarray(tensor).reshape(leaf.shape))

    return jax.tree_util.tree_map_with_path(take, template)


def _checked(directory: Path, config: EncoderConfig) -> dict[str, np.ndarray]:
    """The tensors of the table, by their names without prefix, each of the shape that the config says."""
    read = {bert.named(name): tensor for name, tensor in tensors.read(directory).items()}
    expected = {row.theirs: bert.shape(row, config) for row in bert.rows(config)}
    for name, shape in expected.items():
        if name not in read:
            raise ValueError(f"{directory}: tensor {name!r} is missing: get {tensors.FILE_NAME} again")
        if read[name].shape != shape:
            raise ValueError(f"{directory}: tensor {name!r} has shape {read[name].shape}; its config says {shape}")
        if not np.isfinite(np.asarray(read[name], np.float32)).all():
            raise ValueError(f"{directory}: tensor {name!r} holds numbers that are not finite: get the file again")
    if unknown := sorted(name for name in read.keys() - expected.keys() if not name.startswith(bert.IGNORED)):
        raise ValueError(f"{directory}: tensor {unknown[0]!r} is not part of a {bert.NAME} of this config")
    return read


def _borders(directory: Path, tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids before and behind a text, by the names in the tokenizer's files."""
    named: dict[str, Any] = {}
    for file in ("tokenizer_config.json", NAMES):
        if (directory / file).is_file():
            named |= read_json(directory / file)
    found = []
    for name in ("cls_token", "sep_token"):
        value = named.get(name)
        text = value.get("content") if isinstance(value, dict) else value
        number = tokenizer.token_to_id(text) if isinstance(text, str) else None
        if text is not None and number is None:
            raise ValueError(f"{directory}: {name} is {text!r}, which the vocabulary does not have: get {NAMES} again")
        found.append(() if number is None else (number,))
    return found[0], found[1]


def _most_tokens(directory: Path, config: EncoderConfig) -> int:
    path = directory / LENGTH
    length = read_json(path).get("max_seq_length") if path.is_file() else None
    if length is None:
        return config.context_length
    if type(length) is not int or not 3 <= length <= config.context_length:
        raise ValueError(
            f"{path}: max_seq_length is {length!r}; expected a whole number from 3 to {config.context_length}, the "
            "model's positions"
        )
    return length


def _pooling(directory: Path) -> tuple[str, bool]:
    path, modules = directory / POOLING, directory / MODULES
    types = [str(one.get("type")) for one in read_json(modules, kind=list)] if modules.is_file() else []
    if unknown := [one for one in types if one.rsplit(".", 1)[-1] not in ("Transformer", "Pooling", "Normalize")]:
        raise ValueError(f"{modules}: {unknown[0]} is not computed here; Transformer, Pooling and Normalize are")
    if not path.is_file():
        return "mean", True
    modes = [name for name, value in read_json(path).items() if name.startswith("pooling_mode_") and value is True]
    if len(modes) != 1 or modes[0] not in MODES:
        raise ValueError(
            f"{path}: {' and '.join(modes) or 'no mode'} is set; this code computes one of {', '.join(MODES)}"
        )
    return MODES[modes[0]], any(one.endswith("Normalize") for one in types) or not types
