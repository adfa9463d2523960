"""Log-likelihoods of many requests (context, continuation), computed in batches on a device.

Requests are sorted by length and run in batches whose shapes are rounded up to a few buckets, so a thousand questions
need about ten compiled programs. Logits are computed for one slice of the sequence at a time.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from llm_jax.config import DecoderConfig
from llm_jax.decode import log_probabilities
from llm_jax.decode.padding import bucket
from llm_jax.models import decoder
from llm_jax.scoring.requests import Request, cut
from llm_jax.shapes import Array, Float, Int, pytree

SLICE = 128  # positions whose logits are computed at once
BATCH_TOKENS = {"cpu": 4096, "gpu": 65_536}  # per batch, padding included: enough to keep the device busy


@pytree
class TokenScores:
    """The scores of each token of a sequence, from the second on, given the tokens before it."""

    log_probability_BT: Float[Array, "B T"]
    best_BT: Int[Array, "B T"]  # the most likely token there
    margin_BT: Float[Array, "B T"]  # log-probability of the best token − that of the second best


class Scored(NamedTuple):
    """The scores of one request."""

    log_likelihood: float  # nats, summed over the continuation
    is_greedy: bool  # whether greedy decoding would have written this continuation
    log_probabilities: np.ndarray  # of each token of the continuation
    best: np.ndarray  # the most likely token at each position, given the tokens before it
    margins: np.ndarray  # between the best and the second best


def token_scores(
    params: decoder.Decoder, tokens_BU: Int[Array, "B U"], config: DecoderConfig, plan: decoder.Plan
) -> TokenScores:
    """Scores of the last U − 1 tokens of each row, in float32. Rows may be padded on the right. For use under `jit`."""
    hidden_BTD, _ = decoder.forward(params, tokens_BU[:, :-1], config, plan)
    length = hidden_BTD.shape[1]
    width = max(n for n in range(1, SLICE + 1) if length % n == 0)
    score_slice = partial(_score_slice, params, config, plan)
    if width == length:
        return score_slice((hidden_BTD, tokens_BU[:, 1:]))

    def to_slices(x):
        return jnp.moveaxis(x.reshape(x.shape[0], length // width, width, *x.shape[2:]), 1, 0)

    slices = jax.lax.map(score_slice, (to_slices(hidden_BTD), to_slices(tokens_BU[:, 1:])))
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1).reshape(-1, length), slices)


def _score_slice(params: decoder.Decoder, config: DecoderConfig, plan: decoder.Plan, piece) -> TokenScores:
    hidden_BTD, targets_BT = piece
    logits_BTV = plan.kernels.logits_of(hidden_BTD, params.head_VD, config.vocab_size)
    best_BT, margin_BT = log_probabilities.best_and_margin(logits_BTV)
    return TokenScores(log_probabilities.of_tokens(logits_BTV, targets_BT), best_BT, margin_BT)


def scorer(params: decoder.Decoder, config: DecoderConfig, plan: decoder.Plan) -> Callable[[np.ndarray], TokenScores]:
    """`token_scores` of these parameters, compiled; for `score` on one device."""
    return lambda tokens_BU: _compiled(params, tokens_BU, config, plan)


# One jitted function for all models of a process, so the checkpoints of a run share compiled programs.
_compiled = jax.jit(token_scores, static_argnames=("config", "plan"))


def score(
    requests: Sequence[Request],
    call: Callable[[np.ndarray], TokenScores],
    context_length: int,
    rows_multiple: int = 1,
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[int], object] | None = None,
    platform: str = "cpu",
) -> list[Scored] | None:
    """Scores the requests, in their order.

    Args:
        requests: contexts and continuations.
        call: computes the scores of a batch (see `scorer`).
        context_length: the model's, in tokens; longer contexts lose tokens on the left.
        rows_multiple: every batch has a multiple of this many rows.
        should_stop: called before each batch; True ends the work.
        progress: called after each batch with its number of requests.
        platform: JAX's name of the platform, which decides the size of a batch.

    Returns:
        One score for each request, or None if `should_stop` ended the work.

    Raises:
        ValueError: a continuation is longer than the model's context.
    """
    fitting = [cut(request, context_length) for request in requests]
    answers: list[Scored | None] = [None] * len(fitting)
    budget = BATCH_TOKENS.get(platform, BATCH_TOKENS["gpu"])
    for index, tokens_BU in _batches(fitting, context_length, rows_multiple, budget):
        if should_stop and should_stop():
            return None
        scores = jax.tree.map(np.asarray, call(tokens_BU))
        for row, number in enumerate(index):
            start, length = len(fitting[number].context) - 1, len(fitting[number].continuation)
            answers[number] = _answer(scores, row, slice(start, start + length), fitting[number])
        if progress:
            progress(len(index))
    assert all(answer is not None for answer in answers)
    return answers  # type: ignore[return-value]


def _answer(scores: TokenScores, row: int, positions: slice, request: Request) -> Scored:
    of_tokens = scores.log_probability_BT[row, positions]
    best = scores.best_BT[row, positions]
    return Scored(
        log_likelihood=float(of_tokens.sum(dtype=np.float64)),
        is_greedy=bool((best == np.asarray(request.continuation)).all()),
        log_probabilities=np.asarray(of_tokens),
        best=np.asarray(best),
        margins=np.asarray(scores.margin_BT[row, positions]),
    )


def _batches(
    requests: Sequence[Request], context_length: int, rows_multiple: int, budget: int
) -> Iterator[tuple[list[int], np.ndarray]]:
    """(numbers of the requests, their ids padded to a bucket's shape), the longest first."""
    lengths = [len(request.context) + len(request.continuation) - 1 for request in requests]
    shapes: dict[int, list[int]] = {}
    for number in sorted(range(len(requests)), key=lambda n: -lengths[n]):
        shapes.setdefault(min(bucket(lengths[number], 16, bits=2), context_length), []).append(number)
    for length, numbers in shapes.items():
        most = max(1, budget // length // rows_multiple) * rows_multiple
        rows = min(most, bucket(len(numbers), rows_multiple))
        for start in range(0, len(numbers), rows):
            index = numbers[start : start + rows]
            tokens_BU = np.zeros((rows, length + 1), np.int32)
            for row, number in enumerate(index):
                ids = [*requests[number].context, *requests[number].continuation]
                tokens_BU[row, : len(ids)] = ids
            yield index, tokens_BU
