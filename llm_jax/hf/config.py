"""`config.json` of Hugging Face ↔ DecoderConfig. A setting that this code does not compute is refused by name."""

from pathlib import Path
from typing import Any

from llm_jax.config import DecoderConfig
from llm_jax.files.json_files import read_json
from llm_jax.hf import families
from llm_jax.tokenizer import Borders
from llm_jax.tokenizer.hf_files.saving import generation_fields

FILE_NAME = "config.json"


def write(config: DecoderConfig, borders: Borders) -> dict[str, Any]:
    """The fields transformers and vLLM read. Ids of tokens are null where the tokenizer names none."""
    family = families.of(config)
    ids = {"bos_token_id": None, "eos_token_id": None, **generation_fields(borders)}
    return {
        "architectures": [family.architecture],
        "model_type": family.model_type,
        **family.write(config),
        **ids,
        "use_cache": True,
        "dtype": "float32",
    }


def read(directory: Path) -> DecoderConfig:
    """The config of a directory. Raises FileNotFoundError, or ValueError naming the file, the field and its value."""
    return read_with_family(directory)[0]


def read_with_family(directory: Path) -> tuple[DecoderConfig, families.Family]:
    """As `read`, and the family whose names the tensors of the directory have."""
    path = directory / FILE_NAME
    if not path.is_file():
        raise FileNotFoundError(f"{directory} is no Hugging Face directory: it has no {FILE_NAME}")
    fields = read_json(path, "download or export it again")
    family = _family(path, fields)
    try:
        return family.read(path, fields), family
    except ValueError as error:
        raise error if str(error).startswith(str(path)) else ValueError(f"{path}: {error}") from None


def architecture(directory: Path) -> str:
    """The class of transformers that computes the model of a directory, with its head. Raises as `read`."""
    return read_with_family(directory)[1].architecture


def _family(path: Path, fields: dict[str, Any]) -> families.Family:
    model_type = fields.get("model_type")
    family = families.FAMILIES.get(model_type) if isinstance(model_type, str) else None
    default = [family.architecture] if family else None
    architectures = fields.get("architectures") or default
    known = {family.architecture, family.without_head} if family else set()
    is_known = isinstance(architectures, list) and any(isinstance(a, str) and a in known for a in architectures)
    if family is None or not is_known:
        raise ValueError(
            f"{path}: model_type {model_type!r}, architectures {architectures}; expected "
            + " or ".join(f"{one.model_type!r} ({one.architecture})" for one in families.FAMILIES.values())
        )
    if "auto_map" in fields:
        raise ValueError(f"{path}: auto_map asks to run code from the directory; this is refused: remove the field")
    for name in ("quantization_config", "compression_config"):  # compression_config: of older compressed-tensors
        if (found := fields.get(name)) is not None:
            method = found.get("quant_method", found.get("format")) if isinstance(found, dict) else found
            raise ValueError(
                f"{path}: {name} says that the weights are quantized ({method}); this code reads float32, bfloat16 and "
                "float16: take the model that is not quantized"
            )
    return family
