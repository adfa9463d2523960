"""Divides requests into batches: arrays of a few shapes, the longest requests first.

A row holds one request. Or it holds a question and several answers to it, as branches (`llm_jax.layers.packing`): then
the question is computed once, which for HellaSwag's four endings halves the tokens, and logits are computed only where
an answer's token is predicted.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from llm_jax.decode.padding import LENGTH_MULTIPLE, bucket
from llm_jax.scoring.requests import Request, cut
from llm_jax.shapes import Array, Int, pytree

COLUMNS = LENGTH_MULTIPLE  # of predicted tokens, whose logits are computed at once
LONG_ROW = 256  # tokens: answers are added up to here, or up to 4 times the question; attention grows with the square


@pytree
class Branches:
    """Rows of questions with several answers: which branch a token is of, and which tokens are predicted where."""

    branches_BT: Int[Array, "B T"]
    places_BS: Int[Array, "B S"]  # the position that predicts
    targets_BS: Int[Array, "B S"]  # the token that is predicted there
    n_slices: Int[Array, ""]  # slices of COLUMNS columns up to the last column in use


class Batch(NamedTuple):
    """Requests that are scored together."""

    numbers: list[int]  # in the list that was divided
    requests: list[Request]
    places: list[tuple[int, int]]  # row and column of each request's first score
    tokens_BU: np.ndarray  # padded to a bucket's shape; the last column is never read
    branches: Branches | None = None


class _Row(NamedTuple):
    numbers: list[int]
    length: int  # of what is read, or of what is predicted if that is more


def batches(
    requests: Sequence[Request],
    context_length: int,
    rows_multiple: int = 1,
    budget: int = 4096,
    share_contexts: bool = False,
) -> Iterator[Batch]:
    """The batches of the requests; of the same requests, always the same.

    Args:
        requests: contexts and continuations.
        context_length: the model's, in tokens; longer contexts lose tokens on the left.
        rows_multiple: every batch has a multiple of this many rows.
        budget: tokens of a batch, padding included.
        share_contexts: puts continuations of the same context into one row.

    Raises:
        ValueError: a continuation is longer than the model's context.
    """
    fitting = [cut(request, context_length) for request in requests]
    rows = _shared(fitting, context_length) if share_contexts else _single(fitting)
    shapes: dict[int, list[_Row]] = {}
    for row in sorted(rows, key=lambda row: -row.length):
        shapes.setdefault(min(bucket(row.length, LENGTH_MULTIPLE, bits=2), context_length), []).append(row)
    make = _branched if share_contexts else _plain
    for length, members in shapes.items():
        most = max(1, budget // length // rows_multiple) * rows_multiple
        n_rows = min(most, bucket(len(members), rows_multiple))
        for start in range(0, len(members), n_rows):
            yield make(members[start : start + n_rows], fitting, n_rows, length)


def _single(requests: Sequence[Request]) -> list[_Row]:
    return [_Row([number], len(one.context) + len(one.continuation) - 1) for number, one in enumerate(requests)]


def _shared(requests: Sequence[Request], context_length: int) -> list[_Row]:
    """Continuations of one context side by side, in as many rows as they need."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, one in enumerate(requests):
        groups.setdefault(tuple(one.context), []).append(number)
    rows = []
    for context, numbers in groups.items():
        most = min(context_length, max(LONG_ROW, 4 * len(context)))
        members: list[int] = []
        read, predicted = len(context), 0
        for number in numbers:
            n = len(requests[number].continuation)
            if members and max(read + n - 1, predicted + n) > most:
                rows.append(_Row(members, max(read, predicted)))
                members, read, predicted = [], len(context), 0
            members.append(number)
            read, predicted = read + n - 1, predicted + n
        rows.append(_Row(members, max(read, predicted)))
    return rows


def _plain(rows: Sequence[_Row], requests: Sequence[Request], n_rows: int, length: int) -> Batch:
    tokens_BU = np.zeros((n_rows, length + 1), np.int32)
    numbers = [number for row in rows for number in row.numbers]
    chosen = [requests[number] for number in numbers]
    for row, one in enumerate(chosen):
        ids = [*one.context, *one.continuation]
        tokens_BU[row, : len(ids)] = ids
    return Batch(numbers, chosen, [(row, len(one.context) - 1) for row, one in enumerate(chosen)], tokens_BU)


def _branched(rows: Sequence[_Row], requests: Sequence[Request], n_rows: int, length: int) -> Batch:
    n_columns = -(-length // COLUMNS) * COLUMNS
    tokens_BU = np.zeros((n_rows, length + 1), np.int32)
    branches_BT = np.zeros((n_rows, length), np.int32)
    places_BS, targets_BS = (np.zeros((n_rows, n_columns), np.int32) for _ in range(2))
    numbers: list[int] = []
    places: list[tuple[int, int]] = []
    last = 0
    for index, row in enumerate(rows):
        context = requests[row.numbers[0]].context
        tokens_BU[index, : len(context)] = context
        read, column = len(context), 0
        for branch, number in enumerate(row.numbers, 1):
            continuation = requests[number].continuation
            n = len(continuation)
            tokens_BU[index, read : read + n - 1] = continuation[:-1]
            branches_BT[index, read : read + n - 1] = branch
            places_BS[index, column] = len(context) - 1
            places_BS[index, column + 1 : column + n] = np.arange(read, read + n - 1)
            targets_BS[index, column : column + n] = continuation
            numbers.append(number)
            places.append((index, column))
            read, column = read + n - 1, column + n
        branches_BT[index, read:] = len(row.numbers) + 1  # padding is a branch of its own
        last = max(last, column)
    on_host: Any = (branches_BT, places_BS, targets_BS, np.int32(-(-last // COLUMNS)))
    branches = Branches(*on_host)
    return Batch(numbers, [requests[number] for number in numbers], places, tokens_BU, branches)
