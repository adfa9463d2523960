"""DPO's reference: the log-probability of every answer under the starting parameters, computed once and kept on disk.

The starting parameters are the base (an SFT run's adapters are merged when it is opened) with fresh adapters, which
change nothing. The function is the loss's own (`objectives.answer_log_probabilities`) with nothing dropped, so rewards
start at 0. The file is named by the hash of base and data: other pairs or another base never find it.
"""

import hashlib
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from llm_jax.files import replacing
from llm_jax.models import decoder
from llm_jax.runs import REFERENCE
from train.finetune.lengths import OfEveryLength
from train.finetune.objectives import Batch, answer_log_probabilities
from train.finetune.trained import Trainable

References = dict[str, np.ndarray]  # split → float32 [pairs, 2]: chosen, rejected


def key(base_hash: str, data: str, dtype: str) -> str:
    """The name of the file without its ending."""
    return hashlib.sha256(f"{base_hash} {data} {dtype}".encode()).hexdigest()[:16]


def open_reference(
    run: Path,
    name: str,
    needed: dict[str, np.ndarray],
    compute: Callable[[], References],
    is_first: bool,
) -> References:
    """What is on disk; else what `compute` gives, which is then written. Every process of a job calls this.

    `needed`: of each split, which of its pairs are needed, bool [pairs].
    """
    path = run / REFERENCE / f"{name}.npz"
    found = _read(path, needed)
    if found is not None:
        return found
    computed = compute()
    if is_first:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            np.savez(file, allow_pickle=False, **computed)
    return computed


def log_probabilities(
    trained: Any,
    base: decoder.Decoder | None,
    trainable: Trainable,
    plan: decoder.Plan,
    splits: Mapping[str, tuple[Iterable[tuple[np.ndarray, Batch]], int]],
    everywhere: Any,
) -> References:
    """float32 [pairs, 2] of each split, given as (batches, number of pairs); a batch comes with the pair of each row.

    The pair is −1 for rows that fill a batch up. Pairs that are in no batch are NaN.
    """

    def of_batch(trained: Any, base: decoder.Decoder | None, batch: Batch):
        params = trainable.decoder(trainable.cast(trained, plan), base)
        return answer_log_probabilities(params, batch, trainable.model, plan)

    compiled = OfEveryLength(jax.jit(of_batch, out_shardings=everywhere), plan.platform)
    found = {}
    for split, (batches, n_pairs) in splits.items():
        table = found[split] = np.full((n_pairs, 2), np.nan, np.float32)
        for index_B, batch in batches:
            values_B = np.asarray(compiled(trained, base, batch))
            for column, (index, values) in enumerate(zip(np.split(index_B, 2), np.split(values_B, 2), strict=True)):
                table[index[index >= 0], column] = values[index >= 0]
    return found


def _read(path: Path, needed: dict[str, np.ndarray]) -> References | None:
    """None where there is no such file, or one that was cut or lacks a pair: it is computed again."""
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {split: file[split] for split in needed}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    fits = (
        found[split].shape == (len(rows), 2) and np.isfinite(found[split][rows]).all() for split, rows in needed.items()
    )
    return found if all(fits) else None
