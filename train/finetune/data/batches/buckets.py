"""Few lengths that rows are padded to, chosen so that little padding is added.

Every length is a program that XLA compiles. The lengths that leave the least padding for a given number of them are
found exactly, by a dynamic programme over the lengths that occur; then the smallest number is taken that comes close to
the best.
"""

import numpy as np

MOST = 6
STEP = 8  # lengths are multiples of this
MOST_CANDIDATES = 128
WORTH = 0.02  # share of padding that one more length must save


def lengths_for(lengths: np.ndarray, longest: int, most: int = MOST) -> tuple[int, ...]:
    """Rising lengths, at most `most`, of which the last holds every row. None is above `longest` rounded up.

    Args:
        lengths: of the rows without padding, int64 [rows].
        longest: which no length exceeds, the model's context.
        most: lengths.
    """
    largest = int(lengths.max())
    step = STEP * max(1, -(-largest // (STEP * MOST_CANDIDATES)))
    rounded = np.minimum(-(-np.maximum(lengths, 1) // step) * step, longest)
    candidates, counts = np.unique(rounded, return_counts=True)
    total = float(lengths.sum())
    plans = _best(candidates, counts, min(most, len(candidates)))
    shares = [1 - total / size for size, _ in plans]
    enough = next(n for n, share in enumerate(shares) if share <= shares[-1] + WORTH)
    return plans[enough][1]


def _best(candidates: np.ndarray, counts: np.ndarray, most: int) -> list[tuple[float, tuple[int, ...]]]:
    """For 1 to `most` lengths: the numbers in all padded rows, and the lengths that give the fewest."""
    below = np.concatenate([[0], np.cumsum(counts)])
    n = len(candidates)
    # size[j]: of the rows up to candidate j; with one more length, the last one holds the rows from i on.
    size = candidates * below[1:].astype(float)
    chosen = [[int(length)] for length in candidates]
    plans: list[tuple[float, tuple[int, ...]]] = [(float(size[-1]), (int(candidates[-1]),))]
    for _ in range(most - 1):
        new_size, new_chosen = size.copy(), [*chosen]
        for j in range(1, n):
            sizes = size[:j] + candidates[j] * (below[j + 1] - below[1 : j + 1])
            if sizes[i := int(sizes.argmin())] < new_size[j]:
                new_size[j], new_chosen[j] = sizes[i], [*chosen[i], int(candidates[j])]
        size, chosen = new_size, new_chosen
        plans.append((float(size[-1]), tuple(chosen[-1])))
    return plans


def bucket_of(lengths: np.ndarray, buckets: tuple[int, ...]) -> np.ndarray:
    """The number of the smallest bucket that holds each length."""
    return np.searchsorted(np.array(buckets), lengths)
