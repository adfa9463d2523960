"""Several examples in one row: best fit, the longest first (Johnson 1973; Ding et al. 2024, "Fewer truncations").

Each example goes into the row in which it leaves the least space. Which row takes which *length* depends on the lengths
alone, so the rows of every epoch are as many; examples of equal length change places from epoch to epoch.
"""

import numpy as np


def best_fit(lengths: np.ndarray, size: int) -> np.ndarray:
    """The row of each of `lengths`, which must fall: int64 [examples].

    Raises ValueError for a length above `size`.
    """
    if len(lengths) and lengths[0] > size:
        raise ValueError(f"an example of {lengths[0]:,} tokens does not fit into a row of {size:,}")
    rows = np.empty(len(lengths), np.int64)
    with_space: list[list[int]] = [[] for _ in range(size + 1)]  # rows by the space left in them
    there = 0  # bit s: some row has space s
    count = 0
    for number, length in enumerate(lengths.tolist()):
        fitting = there >> length
        if fitting:
            space = length + (fitting & -fitting).bit_length() - 1
            row = with_space[space].pop()
            if not with_space[space]:
                there &= ~(1 << space)
        else:
            space, row = size, count
            count += 1
        rows[number] = row
        with_space[space - length].append(row)
        there |= 1 << (space - length)
    return rows
