"""Tensors of adapter_model.safetensors ↔ our adapters.

PEFT names a matrix after its module: `base_model.model.MODULE.lora_A.weight`, of shape (rank, inputs), and `lora_B`, of
shape (outputs, rank): the transposes of ours, for GPT-2's Conv1D too. One of our trees has one rank and one scale.
Where PEFT's modules differ in these, the smaller matrices are filled with zeros, and B takes the ratio of the scales;
a layer without an adapter gets zeros.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from llm_jax.adapters.config import LoraConfig, Target, possible_targets, targets_of
from llm_jax.adapters.lora import Adapters, LowRank
from llm_jax.config import DecoderConfig
from llm_jax.hf import families, names
from llm_jax.hf.peft.settings import Settings
from llm_jax.shapes import Array

PREFIX = "base_model.model."
ENDS = (".lora_A.weight", ".lora_B.weight")


class Place(NamedTuple):
    """A projection of one block."""

    block: int
    target: Target


def places(config: DecoderConfig) -> dict[str, Place]:
    """The module's name in the class with a head → the projection; of every projection that can have an adapter."""
    family = families.of(config)
    table = names.table(config, family)
    return {
        family.saved(table[f".blocks[{number}].{target.path}.weight"][0]).removesuffix(".weight"): Place(number, target)
        for number in range(config.n_layers)
        for target in possible_targets(config)
    }


def to_peft(adapters: Adapters, config: DecoderConfig, lora: LoraConfig) -> dict[str, np.ndarray]:
    """Our adapters → PEFT's tensors, float32 in memory of the host."""
    chosen, tensors = targets_of(config, lora), {}
    for module, place in places(config).items():
        if place.target in chosen:
            pair = adapters.blocks[place.block][place.target.path]
            a = np.asarray(pair.a, np.float32).reshape(-1, lora.rank)
            b = np.asarray(pair.b, np.float32).reshape(lora.rank, -1)
            for end, matrix in zip(ENDS, (a, b), strict=True):
                tensors[PREFIX + module + end] = np.ascontiguousarray(matrix.T)
    return tensors


def from_peft(
    path: Path, tensors: Mapping[str, np.ndarray], settings: Settings, config: DecoderConfig
) -> tuple[Adapters, LoraConfig]:
    """PEFT's tensors → our adapters. `path` is named in refusals.

    Raises:
        ValueError: tensors are unknown, missing, of another shape or not finite, or a rank is above the model's width.
    """
    known = places(config)
    pairs = _pairs(path, tensors, known)
    _check_against(path, settings, set(pairs), known)
    largest = max(settings.rank_of(module) for module in pairs)
    if largest > config.d_model:
        raise ValueError(f"{path}: a rank of {largest} is above the base's width of {config.d_model}: another base?")
    for module, matrices in pairs.items():
        _check_shapes(path, module, matrices, settings, known[module].target, config)
    chosen = {known[module].target for module in pairs}
    in_order = [target for target in possible_targets(config) if target in chosen]
    lora = LoraConfig(
        rank=largest,
        alpha=settings.alpha,
        rslora=settings.rslora,
        dropout=settings.dropout,
        targets=tuple(target.module for target in in_order),
    )
    by_place = {known[module]: module for module in pairs}

    def one(place: Place) -> LowRank:
        inputs, outputs = (_sizes(letters, config) for letters in (place.target.inputs, place.target.outputs))
        if (module := by_place.get(place)) is None:
            return LowRank(a=jnp.zeros((*inputs, largest)), b=jnp.zeros((largest, *outputs)))
        a, b = (np.asarray(matrix, np.float32).T for matrix in pairs[module])
        more = largest - a.shape[1]
        b = np.pad(b, ((0, more), (0, 0))) * np.float32(settings.scale_of(module) / lora.scale)
        return LowRank(a=_array(np.pad(a, ((0, 0), (0, more))), (*inputs, largest)), b=_array(b, (largest, *outputs)))

    blocks = tuple({t.path: one(Place(number, t)) for t in in_order} for number in range(config.n_layers))
    return Adapters(blocks), lora


def _pairs(
    path: Path, tensors: Mapping[str, np.ndarray], known: Mapping[str, Place]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Module → its two matrices."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, tensor in tensors.items():
        end = next((end for end in ENDS if name.endswith(end)), None)
        module = name.removeprefix(PREFIX).removesuffix(end or "")
        if end is None or not name.startswith(PREFIX) or module not in known:
            example = next(iter(known))
            raise ValueError(
                f"{path}: tensor {name!r} belongs to no projection of this base (which has {PREFIX}{example}{ENDS[0]} "
                "and others): take the base that the adapter was trained with; embeddings, heads and norms get none"
            )
        found.setdefault(module, {})[end] = tensor
    if not found:
        raise ValueError(f"{path}: there is no adapter in it: download or export it again")
    for module, pair in found.items():
        if missing := [end for end in ENDS if end not in pair]:
            raise ValueError(f"{path}: {PREFIX}{module}{missing[0]} is missing: download or export the adapter again")
        for end, tensor in pair.items():
            if not np.isfinite(np.asarray(tensor, np.float32)).all():
                raise ValueError(f"{path}: {PREFIX}{module}{end} has numbers that are not finite: take another copy")
    return {module: (pair[ENDS[0]], pair[ENDS[1]]) for module, pair in found.items()}


def _check_against(path: Path, settings: Settings, found: set[str], known: Mapping[str, Place]) -> None:
    """The modules of the file must be those that the settings name: PEFT would ignore others."""
    if settings.targets is None:
        return
    expected = {module for module, place in known.items() if settings.has(module, place.block)}
    if missing := sorted(expected - found):
        raise ValueError(f"{path}: {PREFIX}{missing[0]}{ENDS[0]} is missing, though target_modules has its module")
    if foreign := sorted(found - expected):
        raise ValueError(f"{path}: {PREFIX}{foreign[0]}{ENDS[0]} is there, and target_modules does not have its module")


def _check_shapes(
    path: Path,
    module: str,
    matrices: tuple[np.ndarray, np.ndarray],
    settings: Settings,
    target: Target,
    config: DecoderConfig,
) -> None:
    rank = settings.rank_of(module)
    inputs, outputs = (math.prod(_sizes(letters, config)) for letters in (target.inputs, target.outputs))
    for end, matrix, shape in zip(ENDS, matrices, ((rank, inputs), (outputs, rank)), strict=True):
        if matrix.shape != shape:
            trained = f", and it was trained with {settings.base}" if settings.base else ""
            raise ValueError(
                f"{path}: tensor {PREFIX}{module}{end} has shape {matrix.shape}; rank {rank} and this base need "
                f"{shape}{trained}: take the base that it was trained with"
            )


def _sizes(letters: str, config: DecoderConfig) -> tuple[int, ...]:
    return tuple(config.sizes[letter] for letter in letters)


def _array(matrix: np.ndarray, shape: tuple[int, ...]) -> Array:
    return jnp.asarray(np.ascontiguousarray(matrix).reshape(shape))
