"""Batches of pairs: pairs of similar length together, padded to few shapes, because JAX compiles one program a shape.

Three widths cover all pairs: that of two thirds of them, of 95 % and of all. A batch has one width; which comes next is
random, and over an epoch every pair is seen once.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from train.architectures.pairs import BEGIN, END, PAD, Pair, Vocabulary

SHARES = (2 / 3, 0.95, 1.0)


class PairBatch(NamedTuple):
    source_BS: np.ndarray
    is_source_BS: np.ndarray
    target_BT: np.ndarray  # begin, target, end, padding
    weights_BT: np.ndarray  # of the tokens after the first


Ids = tuple[np.ndarray, np.ndarray]


def encoded(pairs: list[Pair], vocabulary: Vocabulary) -> list[Ids]:
    """Ids of the source, and of the target with its begin and its end."""
    return [
        (vocabulary.encode(source), np.concatenate([[BEGIN], vocabulary.encode(target), [END]]).astype(np.int32))
        for source, target in pairs
    ]


def padded(rows: list[Ids], width: int) -> PairBatch:
    """Sources to `width` tokens, targets to `width` + 1, of which one more is read than predicted."""
    sources = np.full((len(rows), width), PAD, np.int32)
    targets = np.full((len(rows), width + 1), PAD, np.int32)
    for row, (source, target) in enumerate(rows):
        sources[row, : len(source)] = source
        targets[row, : len(target)] = target
    return PairBatch(sources, sources != PAD, targets, (targets[:, 1:] != PAD).astype(np.float32))


def widths(rows: list[Ids]) -> list[int]:
    """The widths of the batches, the longest last."""
    needed = np.sort([max(len(source), len(target) - 1) for source, target in rows])
    return sorted({int(needed[min(len(needed) - 1, int(share * len(needed)))]) for share in SHARES})


def batches(rows: list[Ids], batch: int, seed: int) -> Iterator[PairBatch]:
    """Batches without end. A group with fewer pairs than a batch repeats some of them."""
    rng = np.random.default_rng(seed)
    limits = widths(rows)
    groups: list[list[Ids]] = [[] for _ in limits]
    for row in rows:
        groups[int(np.searchsorted(limits, max(len(row[0]), len(row[1]) - 1)))].append(row)
    waiting = [np.empty(0, np.int64) for _ in limits]
    while True:
        order = []
        for which, group in enumerate(groups):
            waiting[which] = np.concatenate([waiting[which], rng.permutation(len(group))])
            order += [which] * (len(waiting[which]) // batch)
        if not order:  # fewer pairs than a batch in every group
            continue
        for which in rng.permutation(order):
            chosen, waiting[which] = waiting[which][:batch], waiting[which][batch:]
            yield padded([groups[which][i] for i in chosen], limits[which])
