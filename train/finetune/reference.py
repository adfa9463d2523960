"""DPO's reference: the log-probability of every answer under the starting parameters, computed once and kept on disk.

The starting parameters are the base (an SFT run's adapters are merged when it is opened) with fresh adapters, which
change nothing. The function is the loss's own (`objectives.answer_log_probabilities`) with nothing dropped, so rewards
start at 0. The file is named by the hash of base and data: other pairs or another base never find it.
"""

import contextlib
import hashlib
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

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
    compute: Callable[[References], bool],
    is_first: bool,
) -> References | None:
    """What is on disk, completed by `compute` and written again; None when that was asked to stop on the way.

    Every process of a job calls this. The next start computes what is missing alone.

    Args:
        run: the folder of the run.
        name: as `key` gives it.
        needed: of each split, which of its pairs are needed, bool [pairs].
        compute: fills in what is NaN; False when asked to stop.
        is_first: whether this process writes.
    """
    path = run / REFERENCE / f"{name}.npz"
    known = _read(path, needed)
    if all(np.isfinite(known[split][rows]).all() for split, rows in needed.items()):
        return known
    is_whole = compute(known)
    if is_first:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            np.savez(file, allow_pickle=False, **known)
    return known if is_whole else None


def log_probabilities(
    trained: Any,
    base: decoder.Decoder | None,
    trainable: Trainable,
    plan: decoder.Plan,
    splits: Mapping[str, Iterable[tuple[np.ndarray, Batch]]],
    known: References,
    everywhere: Any,
    should_stop: Callable[[], bool],
) -> bool:
    """Fills in `known`, float32 [pairs, 2] of each split, what is NaN; False when asked to stop on the way.

    `splits` are batches, each with the pair of every row: −1 for rows that fill a batch up. A batch whose pairs are all
    known is left out, so what is computed in two starts is bit-equal to what is computed in one.
    """

    def of_batch(trained: Any, base: decoder.Decoder | None, batch: Batch):
        params = trainable.decoder(trainable.cast(trained, plan), base)
        return answer_log_probabilities(params, batch, trainable.model, plan)

    compiled = OfEveryLength(jax.jit(of_batch, out_shardings=everywhere), plan.platform)
    for split, batches in splits.items():
        table = known[split]
        for index_B, batch in batches:
            if np.isfinite(table[index_B[index_B >= 0]]).all():
                continue
            if should_stop():
                return False
            values_B = np.asarray(compiled(trained, base, batch))
            for column, (index, values) in enumerate(zip(np.split(index_B, 2), np.split(values_B, 2), strict=True)):
                table[index[index >= 0], column] = values[index >= 0]
    return True


def _read(path: Path, needed: dict[str, np.ndarray]) -> References:
    """What the first process finds on disk; NaN where there is nothing, or a file that is damaged or of other pairs."""
    known = {split: np.full((len(rows), 2), np.nan, np.float32) for split, rows in needed.items()}
    with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile):
        with np.load(path, allow_pickle=False) as file:
            found = {split: file[split] for split in needed}
        if all(found[split].shape == table.shape for split, table in known.items()):
            known = found
    return {split: np.array(table) for split, table in multihost_utils.broadcast_one_to_all(known).items()}
