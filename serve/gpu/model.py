"""The config of a model, by any of its names. No weights are read."""

import re
from pathlib import Path

from llm_jax.config import PRESETS, DecoderConfig, model_preset
from llm_jax.runs import CHECKPOINTS


def config_of(source: str) -> DecoderConfig:
    """The config of a preset, a run, a Hugging Face directory, a config.json, or a model on the hub.

    Raises:
        FileNotFoundError: there is none of that name; ValueError: a family that this program does not know, by name.
    """
    if source in PRESETS:
        return model_preset(source)
    from llm_jax.checkpoint.run import model_config
    from llm_jax.hf import config as hf_config
    from llm_jax.hf import hub

    path = Path(source)
    if (path / CHECKPOINTS).is_dir():
        return model_config(path)
    if path.is_dir():
        return hf_config.read(path)
    if path.name == hf_config.FILE_NAME and path.is_file():
        return hf_config.read(path.parent)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", source) and not source.startswith("."):
        return hf_config.read(hub.download(source, [hf_config.FILE_NAME]))
    raise FileNotFoundError(
        f"{source}: no preset ({', '.join(PRESETS)}), run, Hugging Face directory, config.json, or owner/name on the "
        "hub"
    )
