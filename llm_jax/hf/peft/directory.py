"""Loads and exports directories of PEFT. An export is reloaded, and must have the same numbers.

Beside PEFT's files an export has `base.json`: the hash of the base's parameters, by which `load` refuses another base
of the same shape. PEFT and vLLM do not read it.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from safetensors.numpy import save_file

from llm_jax.adapters.base import base_hash
from llm_jax.adapters.config import LoraConfig, possible_targets, short_names, targets_of
from llm_jax.adapters.lora import Adapters, trainable
from llm_jax.config import DecoderConfig
from llm_jax.files import replacing_folder, write
from llm_jax.files.faults import safe
from llm_jax.files.json_files import read_json
from llm_jax.hf import families, tensors
from llm_jax.hf.peft import matrices, settings
from llm_jax.models.decoder import Decoder
from llm_jax.tokenizer import Tokenizer

FILE_NAME = "adapter_model.safetensors"
PICKLE = "adapter_model.bin"
BASE = "base.json"


@dataclass(frozen=True)
class LoadedAdapter:
    """An adapter read from a directory of PEFT."""

    adapters: Adapters
    lora: LoraConfig
    base: str | None  # the base's name or path, as it was where the adapter was trained


@dataclass(frozen=True)
class AdapterReport:
    """What an export wrote."""

    out: Path
    n_parameters: int


def is_adapter(directory: Path) -> bool:
    """Whether a folder looks like an adapter in PEFT's format."""
    return (directory / settings.FILE_NAME).is_file()


def load(directory: Path, config: DecoderConfig, params: Decoder | None = None) -> LoadedAdapter:
    """Reads an adapter for a base of this config; with `params`, the base's hash is compared where one was stored.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: another kind of adapter, settings that are not computed, pickle weights, a header that contradicts
            its file, tensors that are missing, unknown, not finite or of another shape, or another base. It names the
            file and the cure.
    """
    directory = Path(directory)
    if not is_adapter(directory):
        raise FileNotFoundError(f"{directory} is no adapter in PEFT's format: it has no {settings.FILE_NAME}")
    found = settings.read(tensors.inside(directory, settings.FILE_NAME))
    if not (directory / FILE_NAME).exists() and (directory / PICKLE).exists():
        raise ValueError(
            f"{directory / PICKLE}: weights in pickle format can run code when they are opened, so they are refused; "
            f"convert them to {FILE_NAME}"
        )
    path = tensors.inside(directory, FILE_NAME)
    adapters, lora = matrices.from_peft(path, tensors.read_file(path), found, config)
    if params is not None and (directory / BASE).exists():
        _refuse_another_base(directory, params)
    return LoadedAdapter(adapters, lora, found.base)


def export(
    adapters: Adapters,
    lora: LoraConfig,
    config: DecoderConfig,
    base: str,
    hash_of_base: str,
    tokenizer: Tokenizer,
    out: Path,
    overwrite: bool = False,
) -> AdapterReport:
    """Writes settings, matrices and tokenizer to a temporary folder, checks it, and renames it to `out`.

    Args:
        adapters: the matrices.
        lora: their settings.
        config: the base's config.
        base: the base's path or name on the hub, for PEFT.
        hash_of_base: as `base_hash` gives it.
        tokenizer: with the chat template that the adapter was trained with.
        out: the folder to write.
        overwrite: replaces an earlier export.

    Raises:
        FileExistsError: `out` is there and is not an earlier export, or is one and `overwrite` is not set.
        ValueError: no class of transformers computes the base.
        RuntimeError: the reloaded matrices differ.
    """
    out = Path(out)
    place = out.resolve()
    if place.exists() and not (is_adapter(place) and (place / BASE).is_file()):
        raise FileExistsError(f"{out} exists already and is no exported adapter: choose another folder")
    if place.exists() and not overwrite:
        raise FileExistsError(f"{out} exists already: choose another folder, or overwrite this export with --force")
    with safe(f"nothing was changed in {out}"), replacing_folder(place) as scratch:
        tokenizer.save(scratch, config.context_length)
        _write(scratch, adapters, lora, config, base, hash_of_base)
        again = load(scratch, config)
        same = jax.tree.map(lambda x, y: np.array_equal(np.asarray(x, np.float32), y), adapters, again.adapters)
        if again.lora.scale != lora.scale or not all(jax.tree.leaves(same)):
            raise RuntimeError("the exported adapter differs from the run's after reading it again")
    return AdapterReport(out, trainable(adapters))


def _write(
    folder: Path, adapters: Adapters, lora: LoraConfig, config: DecoderConfig, base: str, hash_of_base: str
) -> None:
    is_conv_1d = families.of(config) is families.FAMILIES["gpt2"]
    chosen = {target.path for target in targets_of(config, lora)}
    possible = possible_targets(config)
    modules = [name for name, t in zip(short_names(possible), possible, strict=True) if t.path in chosen]
    for name, content in (
        (settings.FILE_NAME, settings.write(lora, modules, base, is_conv_1d)),
        (BASE, {"base": base, "hash": hash_of_base}),
    ):
        write(folder / name, json.dumps(content, indent=2) + "\n")
    save_file(matrices.to_peft(adapters, config, lora), folder / FILE_NAME, metadata={"format": "pt"})
    # safetensors writes with mode 0600 whatever the umask; give the weights the mode of the other files.
    (folder / FILE_NAME).chmod((folder / settings.FILE_NAME).stat().st_mode)


def _refuse_another_base(directory: Path, params: Decoder) -> None:
    path = tensors.inside(directory, BASE)
    stored = read_json(path, "export the adapter again")
    if stored.get("hash") != base_hash(params):
        raise ValueError(
            f"{directory} holds an adapter for another base: its parameters were those of {stored.get('base')!r}, and "
            "this base has others; take the base that it was trained with"
        )
