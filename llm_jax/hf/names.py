"""Parameters ↔ Hugging Face tensors, by the table of the model's family (`llm_jax.hf.families`).

The embedding loses or gains the rows that pad the vocabulary. A tied head is not stored.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np

from llm_jax.backend import release_memory
from llm_jax.config import DecoderConfig
from llm_jax.hf import families
from llm_jax.hf.families import Family, Row
from llm_jax.hf.tensors import release
from llm_jax.models import decoder


def table(config: DecoderConfig, family: Family | None = None) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Path of a parameter (as `jax.tree_util.keystr` writes it) → its HF name, without prefix, and shape there."""
    family = family or families.of(config)
    return {row.ours: (row.theirs, family.shape(row, config)) for row in family.rows(config)}


def tensors_of(
    params: Any, rows: Iterable[Row], shape: Callable[[Row], tuple[int, ...]], saved: Callable[[str], str] = str
) -> dict[str, np.ndarray]:
    """Parameters of any model → tensors in float32, by the rows of its table; `saved` gives a name as it is stored."""
    by_path, found = {row.ours: row for row in rows}, {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        row = by_path[jax.tree_util.keystr(path)]
        tensor = np.asarray(leaf, np.float32).reshape(shape(row)[::-1] if row.is_transposed else shape(row))
        found[saved(row.theirs)] = np.ascontiguousarray(tensor.T if row.is_transposed else tensor)
    return found


def to_hf(params: decoder.Decoder, config: DecoderConfig) -> dict[str, np.ndarray]:
    """Parameters → HF tensors, float32 in memory of the host, with the prefix that the class with a head saves."""
    family = families.of(config)
    rows = {row.ours: row for row in family.rows(config)}
    tensors = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        row = rows[jax.tree_util.keystr(path)]
        shape = family.shape(row, config)
        kept = np.asarray(leaf, np.float32)[: config.vocab_size if _is_padded(row, family) else None]
        tensor = kept.reshape(shape[::-1] if row.is_transposed else shape)
        tensors[family.saved(row.theirs)] = np.ascontiguousarray(tensor.T if row.is_transposed else tensor)
    return tensors


def from_hf(
    tensors: Mapping[str, np.ndarray],
    config: DecoderConfig,
    family: Family | None = None,
    keeps_format: bool = False,
) -> decoder.Decoder:
    """HF tensors, named without prefix and of the shapes in `table`, → parameters in float32.

    With `keeps_format` matrices stay in the number format of the file, for decoding: bfloat16 takes half the memory.
    """
    family = family or families.of(config)
    rows = {row.ours: row for row in family.rows(config)}
    template = jax.eval_shape(lambda key: decoder.init(key, config), jax.random.key(0))

    def take(path, leaf):
        row = rows[jax.tree_util.keystr(path)]
        tensor = np.asarray(tensors[row.theirs])
        tensor = tensor.T if row.is_transposed else tensor
        is_kept = keeps_format and tensor.ndim > 1 and tensor.dtype != np.float64
        tensor = tensor if is_kept else tensor.astype(np.float32)
        if _is_padded(row, family):
            tensor = np.pad(tensor, ((0, leaf.shape[0] - tensor.shape[0]), (0, 0)))
        array = jax.device_put(np.ascontiguousarray(tensor).reshape(leaf.shape))  # nothing is compiled for it
        jax.block_until_ready(array)
        del tensor
        if leaf.ndim == 1:  # freed copies are given back a few times in a block, for it takes a moment
            release_memory()
        release(tensors[row.theirs])  # else the process would hold the file beside the parameters
        return array

    return jax.tree_util.tree_map_with_path(take, template)


def _is_padded(row: Row, family: Family) -> bool:
    return row.theirs in (family.embedding, family.head)
