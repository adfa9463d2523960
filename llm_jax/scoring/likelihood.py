"""Log-likelihoods of many requests (context, continuation), computed in batches on a device.

`llm_jax.scoring.batches` divides the requests into batches of a few shapes, so a thousand questions need about ten
compiled programs. Logits are computed for one slice of the sequence at a time. Answers to one question may share its
row: the question is read once, and logits are computed only for the answers' tokens.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from llm_jax.config import DecoderConfig
from llm_jax.decode import log_probabilities
from llm_jax.models import decoder
from llm_jax.scoring.batches import COLUMNS, Batch, Branches, batches
from llm_jax.scoring.requests import Request
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
    params: decoder.Decoder,
    tokens_BU: Int[Array, "B U"],
    config: DecoderConfig,
    plan: decoder.Plan,
    branches: Branches | None = None,
) -> TokenScores:
    """Scores of the last U − 1 tokens of each row, in float32. Rows may be padded on the right. For use under `jit`.

    With `branches`, of the tokens that they name, in their order.
    """
    if branches is not None:
        return _branch_scores(params, tokens_BU, config, plan, branches)
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


def _branch_scores(params, tokens_BU, config, plan, branches: Branches) -> TokenScores:
    """Scores the columns of `branches` in slices, up to the last slice in which a row has a token."""
    hidden_BTD, _ = decoder.forward(params, tokens_BU[:, :-1], config, plan, branches_BT=branches.branches_BT)
    shape = branches.targets_BS.shape
    zeros, no_ids = jnp.zeros(shape, jnp.float32), jnp.zeros(shape, branches.targets_BS.dtype)

    def score_columns(number: Int[Array, ""], found: TokenScores) -> TokenScores:
        def columns(x_BS):
            return jax.lax.dynamic_slice_in_dim(x_BS, number * COLUMNS, COLUMNS, axis=1)

        here_BTD = jnp.take_along_axis(hidden_BTD, columns(branches.places_BS)[..., None], axis=1)
        scored = _score_slice(params, config, plan, (here_BTD, columns(branches.targets_BS)))
        return jax.tree.map(
            lambda whole, part: jax.lax.dynamic_update_slice_in_dim(
                whole, part.astype(whole.dtype), number * COLUMNS, axis=1
            ),
            found,
            scored,
        )

    return jax.lax.fori_loop(0, branches.n_slices, score_columns, TokenScores(zeros, no_ids, zeros))


def _score_slice(params: decoder.Decoder, config: DecoderConfig, plan: decoder.Plan, piece) -> TokenScores:
    hidden_BTD, targets_BT = piece
    logits_BTV = plan.kernels.logits_of(hidden_BTD, params.head_VD, config.vocab_size)
    best_BT, margin_BT = log_probabilities.best_and_margin(logits_BTV)
    return TokenScores(log_probabilities.of_tokens(logits_BTV, targets_BT), best_BT, margin_BT)


def scorer(params: decoder.Decoder, config: DecoderConfig, plan: decoder.Plan) -> Callable[..., TokenScores]:
    """`token_scores` of these parameters, compiled; for `score` and `run` on one device."""
    return lambda tokens_BU, branches=None: _compiled(params, tokens_BU, config, plan, branches)


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
    answers: list[Scored | None] = [None] * len(requests)
    for batch in batches(requests, context_length, rows_multiple, BATCH_TOKENS.get(platform, BATCH_TOKENS["gpu"])):
        if should_stop and should_stop():
            return None
        for number, answer in zip(batch.numbers, run(batch, call), strict=True):
            answers[number] = answer
        if progress:
            progress(len(batch.numbers))
    assert all(answer is not None for answer in answers)
    return answers  # type: ignore[return-value]


def run(batch: Batch, call: Callable[..., TokenScores]) -> list[Scored]:
    """Scores the requests of a batch."""
    inputs = (batch.tokens_BU,) if batch.branches is None else (batch.tokens_BU, batch.branches)
    scores = jax.tree.map(np.asarray, call(*inputs))
    return [_answer(scores, row, start, one) for (row, start), one in zip(batch.places, batch.requests, strict=True)]


def _answer(scores: TokenScores, row: int, start: int, request: Request) -> Scored:
    positions = slice(start, start + len(request.continuation))
    of_tokens = scores.log_probability_BT[row, positions]
    best = scores.best_BT[row, positions]
    return Scored(
        log_likelihood=float(of_tokens.sum(dtype=np.float64)),
        is_greedy=bool((best == np.asarray(request.continuation)).all()),
        log_probabilities=np.asarray(of_tokens),
        best=np.asarray(best),
        margins=np.asarray(scores.margin_BT[row, positions]),
    )
