"""Substrings that occur in more than one context, from the sorted suffixes of a text (Manber & Myers 1990).

Sorted suffixes put equal substrings side by side. Sorting by the first 1, 2, 4, … symbols needs a few calls of NumPy's
sort: the rank by 2k symbols is the rank by k of the suffix and of the one that begins k symbols later. Here it ends at
the length of the longest piece.

A substring counts if two different symbols follow it somewhere ("the" in "then" and "they"); else a longer one occurs
just as often and serves as well. These are the inner nodes of the suffix tree.
"""

from typing import NamedTuple

import numpy as np

Array = np.ndarray


class SortedSuffixes(NamedTuple):
    order: Array  # where each suffix begins, in sorted order
    common: Array  # how many symbols each has in common with the one before, as far as sorted; 0 for the first


class Nodes(NamedTuple):
    """Substrings of one length: the sorted suffixes `first` to `last` (exclusive) begin with each."""

    first: Array
    last: Array


def sort_suffixes(symbols: Array, depth: int) -> SortedSuffixes:
    """Sorts the suffixes by their first symbols, at least `depth` of them."""
    n = len(symbols)
    ranks = [_dense(symbols)]
    width = 1
    while width < depth:
        behind = np.zeros(n, np.int64)
        behind[:-width] = ranks[-1][width:].astype(np.int64) + 1  # 0: the text has ended
        ranks.append(_dense(ranks[-1].astype(np.int64) * (n + 1) + behind))
        width *= 2
    order = np.argsort(ranks[-1], kind="stable").astype(np.int32)
    above, here = order[:-1].astype(np.int64), order[1:].astype(np.int64)
    common = np.zeros(n, np.int32)
    for power in reversed(range(len(ranks))):
        step = 1 << power
        inside = np.maximum(above, here) < n
        equal = np.zeros(n - 1, bool)
        equal[inside] = ranks[power][above[inside]] == ranks[power][here[inside]]
        common[1:] += equal * step
        above, here = above + equal * step, here + equal * step
    return SortedSuffixes(order, common)


def nodes_of(suffixes: SortedSuffixes, length: int) -> Nodes:
    """The substrings of `length` symbols that more than one symbol follows."""
    alike = suffixes.common >= length  # begins with the same substring as the suffix before
    edges = np.diff(np.concatenate(([False], alike[1:], [False])).astype(np.int8))
    first, last = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) + 1
    ends_here = np.concatenate(([0], np.cumsum(suffixes.common == length)))
    branches = ends_here[last] > ends_here[first + 1]
    return Nodes(first[branches], last[branches])


def _dense(values: Array) -> Array:
    """Ranks 0, 1, 2, … of the values, equal for equal ones."""
    order = np.argsort(values)
    ordered = values[order]
    ranks = np.empty(len(values), np.int32)
    ranks[order] = np.concatenate(([0], np.cumsum(ordered[1:] != ordered[:-1])))
    return ranks
