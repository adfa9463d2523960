"""N-gram count models: how often a symbol followed the n − 1 symbols before it. A baseline for neural models.

Two estimates give a probability to n-grams that were never seen. Additive smoothing adds α to every count.
Interpolation (Witten & Bell 1991, method C) mixes the estimates of a context and of the next shorter one; the longer
context gets more weight the more often it was seen, and less the more different symbols followed it:

    p(c | h) = (count(h c) + kinds(h) · p(c | h′)) / (count(h) + kinds(h)),   h′ = h without its first symbol

where kinds(h) is the number of different symbols seen after h. The empty context falls back on 1/alphabet. Counts are
stored as sorted codes (a context and its next symbol are one number), so memory grows with the text, not with
alphabet^n.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Counts:
    """Sorted codes, and the number of times each was seen."""

    codes: np.ndarray  # uint64 [distinct]
    counts: np.ndarray  # int64 [distinct]

    def look_up(self, codes: np.ndarray) -> np.ndarray:
        """Counts of `codes`, 0 for those never seen."""
        if not len(self.codes):
            return np.zeros(codes.shape, np.int64)
        place = np.minimum(np.searchsorted(self.codes, codes), len(self.codes) - 1)
        return np.where(self.codes[place] == codes, self.counts[place], 0)


@dataclass(frozen=True)
class NGram:
    """Counts of every order up to `order` over symbols 0 … alphabet − 1."""

    order: int
    alphabet: int
    seen: tuple[Counts, ...]  # [k]: context of k symbols and the next one
    contexts: tuple[Counts, ...]  # [k]: occurrences of each context of k symbols
    kinds: tuple[Counts, ...]  # [k]: different symbols seen after it


def fit(sequences: Sequence[np.ndarray], order: int, alphabet: int) -> NGram:
    """Counts the n-grams of each sequence (integers below `alphabet`); none reaches across two sequences.

    Sequences may be shorter than the order: they are counted as far as they go.

    Raises:
        ValueError: there is no symbol at all, a symbol is outside the alphabet, or the codes of `order` exceed 64 bits.
    """
    if order < 1 or alphabet**order > 2**63:
        raise ValueError(f"order must be at least 1 and alphabet^order at most 2^63; got {order} and {alphabet}")
    if not any(len(sequence) for sequence in sequences):
        raise ValueError("there is nothing to count: give at least one sequence with a symbol in it")
    for sequence in sequences:
        if len(sequence) and not 0 <= int(sequence.min()) <= int(sequence.max()) < alphabet:
            raise ValueError(f"symbols must lie in 0…{alphabet - 1}; got {int(sequence.min())}…{int(sequence.max())}")
    seen, contexts, kinds = [], [], []
    for k in range(order):
        codes = [_codes(sequence, k + 1, alphabet) for sequence in sequences]
        distinct, counts = np.unique(np.concatenate(codes), return_counts=True)
        context = distinct // np.uint64(alphabet)  # sorted as `distinct` is
        starts = np.flatnonzero(
            np.r_[True, context[1:] != context[:-1]][: len(context)]
        )  # empty if no sequence is long enough
        seen.append(Counts(distinct, counts))
        contexts.append(Counts(context[starts], np.add.reduceat(counts, starts)))
        kinds.append(Counts(context[starts], np.diff(np.r_[starts, len(context)])))
    return NGram(order, alphabet, tuple(seen), tuple(contexts), tuple(kinds))


def interpolated(model: NGram, sequence: np.ndarray) -> np.ndarray:
    """p(symbol | up to order − 1 symbols before it) for every position, float64, interpolated as above."""
    probability = np.full(len(sequence), 1 / model.alphabet)
    for k in range(model.order):
        codes = _codes(sequence, k + 1, model.alphabet)  # of positions k, k + 1, …
        context = codes // np.uint64(model.alphabet)
        count, total, kinds = (
            model.seen[k].look_up(codes),
            *(c[k].look_up(context) for c in (model.contexts, model.kinds)),
        )
        shorter = probability[k:]
        probability[k:] = np.where(total > 0, (count + kinds * shorter) / np.maximum(total + kinds, 1), shorter)
    return probability


def additive(model: NGram, sequence: np.ndarray, alpha: float) -> np.ndarray:
    """p = (count + α) / (total + α·alphabet) at positions order − 1 and later, float64 [len − order + 1]."""
    codes = _codes(sequence, model.order, model.alphabet)
    count = model.seen[-1].look_up(codes)
    total = model.contexts[-1].look_up(codes // np.uint64(model.alphabet))
    with np.errstate(
        invalid="ignore", divide="ignore"
    ):  # α = 0 and a context never seen: not a number, as it should be
        return (count + alpha) / (total + alpha * model.alphabet)


def next_symbol(model: NGram, context: np.ndarray, alpha: float) -> np.ndarray:
    """p of every symbol after a context of order − 1 symbols, float64 [alphabet]: for sampling. Sums to 1.

    Raises:
        ValueError: the context has another length, or α = 0 and the context was never seen.
    """
    if len(context) != model.order - 1:
        raise ValueError(f"a model of order {model.order} needs {model.order - 1} symbols before; got {len(context)}")
    symbols = np.arange(model.alphabet)
    texts = np.column_stack([np.broadcast_to(context, (model.alphabet, len(context))), symbols])
    probability = np.array([additive(model, text, alpha)[0] for text in texts])
    if np.isnan(probability).any():
        raise ValueError(
            f"the context {context.tolist()} was never seen, and α = 0 has nothing to say about it: smooth"
        )
    return probability


def _codes(sequence: np.ndarray, length: int, alphabet: int) -> np.ndarray:
    """Every run of `length` symbols as one number in base `alphabet`, the first symbol the most significant."""
    n = len(sequence) - length + 1
    codes = np.zeros(max(n, 0), np.uint64)
    for i in range(length):
        codes = codes * np.uint64(alphabet) + sequence[i : i + len(codes)].astype(np.uint64)
    return codes
