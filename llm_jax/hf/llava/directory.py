"""Loads and exports LLaVA's directories. An export is read again, and its logits are compared with the model's."""

import json
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

from llm_jax import tokenizer as tokenizers
from llm_jax.config import Execution
from llm_jax.files import replacing_folder, write
from llm_jax.files.faults import safe
from llm_jax.files.json_files import read_json
from llm_jax.hf import tensors
from llm_jax.hf.llava import names, settings
from llm_jax.models import decoder
from llm_jax.models.vision_language import forward
from llm_jax.models.vision_language.config import VisionLanguageConfig
from llm_jax.models.vision_language.parameters import VisionLanguage
from llm_jax.runs import SUMMARY, VISION_MODEL
from llm_jax.tokenizer import Tokenizer
from llm_jax.tokenizer.hf_files import companions
from llm_jax.tokenizer.hf_files.saving import generation_fields

TOLERANCE = 1e-4  # on logits, float32
CHECK_TOKENS = 8  # behind the picture
CARD = """---
library_name: transformers
pipeline_tag: image-text-to-text
tags: [llava, jax]
---
# {name}

A LlavaForConditionalGeneration trained with llm-jax, in the standard Hugging Face format: pictures of {side} × {side}
pixels, {patches} vectors each. `vllm serve PATH` and `python -m serve api PATH` serve it.
"""


@dataclass(frozen=True)
class Seeing:
    """A decoder that sees, with its tokenizer."""

    config: VisionLanguageConfig
    params: VisionLanguage
    tokenizer: Tokenizer


def is_there(directory: Path) -> bool:
    """Whether a directory says that it holds a LLaVA."""
    path = directory / settings.CONFIG
    try:
        return path.is_file() and read_json(path).get("model_type") == settings.MODEL_TYPE
    except (ValueError, AttributeError, RecursionError):
        return False  # whoever reads it as another model says what is wrong


def folder_of(source: Path) -> Path | None:
    """The directory of a LLaVA: `source` itself, or the model of a run of `train vision`. None if there is none.

    Raises:
        ValueError: a run of `train vision` that left no model.
    """
    found = next((folder for folder in (source, source / VISION_MODEL) if is_there(folder)), None)
    is_model = found or (source / settings.CONFIG).is_file()
    if not is_model and (source / SUMMARY).is_file() and read_json(source / SUMMARY).get("command") == "vision":
        raise ValueError(
            f"{source} is a run of `train vision` without a model: of all ways only `--fusion embedded` leaves one"
        )
    return found


def load(directory: Path) -> Seeing:
    """Reads a directory.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: settings that change the function, tensors that are missing, unknown or of another shape, or a
            tokenizer without the placeholder. It names the file and the cure.
    """
    config = settings.read(directory)
    params = names.from_hf(tensors.read(directory), config, directory)
    if not tokenizers.is_there(directory):
        raise FileNotFoundError(f"{directory} has no tokenizer.json: put one there")
    tokenizer = tokenizers.load(directory)
    if config.image_token not in tokenizer.special_tokens.values():
        raise ValueError(
            f"{directory}: image_token_index is {config.image_token}, which is no special token of the tokenizer: put "
            "the tokenizer there that the model was trained with"
        )
    return Seeing(config, params, tokenizer)


def export(model: Seeing, out: Path, overwrite: bool = False) -> float:
    """Writes the directory under a temporary name, checks it, and renames it. Returns the largest difference of logits.

    Raises:
        FileExistsError: `out` is there, and is no LLaVA or `overwrite` is not set.
        ValueError: the decoder is no Llama.
        RuntimeError: the logits of what was written differ by more than 1e-4.
    """
    place = out.resolve()
    if place.exists() and any(place.iterdir()) and not (overwrite and is_there(place)):
        cure = "overwrite this export with --force" if is_there(place) else "it holds something else"
        raise FileExistsError(f"{out} exists already ({cure}): choose another folder")
    with safe(f"nothing was changed in {out}"), replacing_folder(place) as scratch:
        _write(scratch, model, out.name)
        return _difference(model, load(scratch))


def _write(folder: Path, model: Seeing, name: str) -> None:
    config, tokenizer = model.config, model.tokenizer
    spelled = next(token for token, number in tokenizer.special_tokens.items() if number == config.image_token)
    tokenizer.save(folder, config.text.context_length)
    for file, content in (
        (settings.CONFIG, settings.written(config, tokenizer.borders)),
        (settings.PROCESSOR, settings.processor(config, spelled)),
        (settings.PREPROCESSOR, settings.image_processor(config.vision)),
        (companions.GENERATION_CONFIG, generation_fields(tokenizer.borders)),
    ):
        write(folder / file, json.dumps(content, indent=2) + "\n")
    save_file(names.to_hf(model.params, config), folder / tensors.FILE_NAME, metadata={"format": "pt"})
    (folder / tensors.FILE_NAME).chmod((folder / settings.CONFIG).stat().st_mode)
    card = CARD.format(name=name, side=config.vision.image_size, patches=config.vision.n_patches)
    write(folder / "README.md", card)


def _difference(model: Seeing, reloaded: Seeing) -> float:
    config, rng = model.config, np.random.default_rng(0)
    plan = decoder.make_plan(Execution(dtype="float32"))
    side, n_patches = config.vision.image_size, config.vision.n_patches
    pixels = jnp.asarray(rng.normal(size=(1, side, side, 3)), jnp.float32)
    length = min(CHECK_TOKENS, config.text.context_length - n_patches)
    after = rng.integers(0, config.text.vocab_size, length)
    after[after == config.image_token] = 0
    tokens = jnp.asarray([[*[config.image_token] * n_patches, *after.tolist()]], jnp.int32)

    @jax.jit
    def logits_of(params: VisionLanguage):
        return forward.logits(params, tokens, pixels, config, plan)

    difference = float(jnp.abs(logits_of(model.params) - logits_of(reloaded.params)).max())
    if not difference <= TOLERANCE:
        raise RuntimeError(f"the export's logits differ from the model's by {difference}; expected at most {TOLERANCE}")
    return difference
