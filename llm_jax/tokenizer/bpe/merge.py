"""The merging of byte-pair encoding: the bytes of one pre-token → its tokens.

Encoding replays training (Sennrich et al. 2016): the adjacent pair whose union has the lowest rank is joined, again and
again, until no union is a token. The textbook's loop looks at every pair in every round, which is quadratic; this one
keeps the pairs in a heap and the neighbours linked.
"""

import heapq
import math
from collections.abc import Mapping
from typing import AnyStr


def merge(piece: AnyStr, ranks: Mapping[AnyStr, int], below: float = math.inf) -> list[AnyStr]:
    """Joins the bytes (or characters) of one pre-token into tokens: the lowest rank first, the leftmost among equals.

    Only ranks less than `below` count. The heap and the links between neighbours make it n·log n for
    n bytes: a megabyte of "a" takes seconds, not days.
    """
    size = len(piece)
    end = list(range(1, size + 1))  # the token that starts at i ends at end[i]; 0 when none starts there
    left = list(range(-1, size - 1))  # start of the token before the one that starts at i
    heap: list[tuple[int, int, int]] = []  # (rank, start, stop): piece[start:stop] would be a token

    def consider(start: int, stop: int) -> None:
        rank = ranks.get(piece[start:stop])
        if rank is not None and rank < below:
            heapq.heappush(heap, (rank, start, stop))

    for start in range(size - 1):
        consider(start, start + 2)
    while heap:
        _, start, stop = heapq.heappop(heap)
        middle = end[start]
        if not 0 < middle < stop or end[middle] != stop:
            continue  # one of the two has been joined to another neighbour since
        end[start], end[middle] = stop, 0
        if stop < size:
            left[stop] = start
            consider(start, end[stop])
        if start > 0:
            consider(left[start], stop)

    tokens, start = [], 0
    while start < size:
        tokens.append(piece[start : end[start]])
        start = end[start]
    return tokens


def merges_from_ranks(ranks: Mapping[bytes, int]) -> list[tuple[bytes, bytes]]:
    """The pair that each token was made of, in order of rank: the merges of a `tokenizer.json`.

    The token's bytes are merged by the lower ranks alone. If two parts are always left, merging by pair
    (Hugging Face) and by union (tiktoken) give the same ids on every text: what happens between two borders that
    survive does not depend on what is outside, so two parts of a token that meet anywhere are the same two parts.
    Raises ValueError for a token of which other than two parts are left.
    """
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) > 1:
            parts = merge(token, ranks, below=rank)
            if len(parts) != 2:
                raise ValueError(f"token {rank} ({token!r}) is not the union of two earlier ones but of {parts}")
            merges.append((parts[0], parts[1]))
    return merges
