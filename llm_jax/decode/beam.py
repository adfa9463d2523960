"""Greedy and beam search over any model that gives the next token's log-probabilities (Wu et al. 2016, §7).

Beam search keeps the `n_beams` most probable beginnings. Hypotheses that ended are compared by

    log P / lp(n),   lp(n) = ((5 + n)/6)^α      (eq. 14, without coverage)

because every token makes log P smaller: with α = 0 short ones win. A hypothesis ends if its end token is among the best
`n_beams` continuations. A row is done when it has `n_beams` of them and no beginning, as it stands, has a better score
than the worst: so one beam is greedy search. (Were a row done with any `n_beams` hypotheses, those that leave a token
out would end first and shut the right one out, where labels were smoothed.) A wider beam usually finds a better score,
never surely: the greedy beginning may leave the beam.

The model is a function `advance(state, tokens_R) → (log p [R, V], state)`; the state is a tree of its own, such as a
cache. R counts rows of the batch, in beam search `n_beams` of them for each source, one after the other.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from llm_jax.shapes import Array, Bool, Float, Int

Advance = Callable[[Any, Array], tuple[Array, Any]]
LEAST = -jnp.inf


class Found(NamedTuple):
    """What a search found, the best first (K = 1 for greedy search)."""

    tokens_BKG: Int[Array, "B K G"]  # with the end token; what follows it has no meaning
    lengths_BK: Int[Array, "B K"]  # tokens, the end token counted
    log_p_BK: Float[Array, "B K"]  # of all these tokens; −∞ where fewer hypotheses were found
    scores_BK: Float[Array, "B K"]  # log_p / lp(length); of greedy search log_p
    ended_BK: Bool[Array, "B K"]  # False where `n_new` tokens did not suffice


def length_penalty(length: Array | int, alpha: float) -> Array:
    """((5 + n)/6)^α, which is 1 for one token."""
    return ((5.0 + jnp.asarray(length, jnp.float32)) / 6.0) ** alpha


def greedy(advance: Advance, state: Any, begin_B: Int[Array, "B"], n_new: int, end_id: int) -> Found:
    """The most probable token at every step, until each row has ended or has `n_new` tokens."""
    rows = begin_B.shape[0]

    def step(carry: tuple) -> tuple:
        at, state, last_B, tokens_BG, lengths_B, log_p_B, ended_B = carry
        log_p_BV, state = advance(state, last_B)
        last_B = log_p_BV.argmax(axis=-1).astype(jnp.int32)
        tokens_BG = jax.lax.dynamic_update_slice(tokens_BG, last_B[:, None], (0, at))
        log_p_B = jnp.where(ended_B, log_p_B, log_p_B + log_p_BV.max(axis=-1))
        lengths_B = jnp.where(ended_B, lengths_B, at + 1)
        return at + 1, state, last_B, tokens_BG, lengths_B, log_p_B, ended_B | (last_B == end_id)

    def goes_on(carry: tuple) -> Array:
        return (carry[0] < n_new) & ~carry[-1].all()

    start = (
        jnp.zeros((), jnp.int32),
        state,
        begin_B.astype(jnp.int32),
        jnp.full((rows, n_new), end_id, jnp.int32),
        jnp.zeros(rows, jnp.int32),
        jnp.zeros(rows, jnp.float32),
        jnp.zeros(rows, bool),
    )
    *_, tokens_BG, lengths_B, log_p_B, ended_B = jax.lax.while_loop(goes_on, step, start)
    found = (tokens_BG, lengths_B, log_p_B, log_p_B, ended_B)
    return Found(*(x[:, None] for x in found))


class _Pool(NamedTuple):
    """Hypotheses that ended, K a row, the best first; −∞ where there is none yet."""

    tokens_BKG: Array
    lengths_BK: Array
    log_p_BK: Array
    scores_BK: Array


class _Search(NamedTuple):
    at: Array
    state: Any
    last_BK: Array
    tokens_BKG: Array  # of the beginnings that go on
    log_p_BK: Array  # of these, the best first
    pool: _Pool
    is_done_B: Array


def beam_search(
    advance: Advance,
    reorder: Callable[[Any, Array], Any],
    state: Any,
    begin_B: Int[Array, "B"],
    n_new: int,
    end_id: int,
    n_beams: int,
    alpha: float = 0.6,
) -> Found:
    """The best `n_beams` hypotheses of each row, of at most `n_new` tokens.

    Args:
        advance: the model; gets and gives B·K rows.
        reorder: (state, rows) → the state whose row i is row `rows[i]` of the given one.
        state: of B·K rows, the K of a source alike.
        begin_B: the token before the first.
        n_new: most tokens, the end token counted.
        end_id: of the token that ends a hypothesis.
        n_beams: K.
        alpha: exponent of the length penalty.

    Raises:
        ValueError: `n_beams` or `n_new` is not at least 1, or alpha is negative.
    """
    if n_beams < 1 or n_new < 1 or alpha < 0:
        raise ValueError(
            "beams and new tokens must be at least 1, the length penalty's exponent at least 0; got "
            f"{n_beams}, {n_new} and {alpha}"
        )
    batch = begin_B.shape[0]
    rows_B1 = jnp.arange(batch)[:, None]

    def step(search: _Search) -> _Search:
        log_p_RV, state = advance(search.state, search.last_BK.reshape(-1))
        sums_BKV = search.log_p_BK[:, :, None] + log_p_RV.reshape(batch, n_beams, -1)
        n_vocab = sums_BKV.shape[-1]
        # The end may take one place of each beam, so among 2K candidates K go on.
        log_p_BC, best_BC = jax.lax.top_k(sums_BKV.reshape(batch, -1), min(2 * n_beams, n_beams * n_vocab))
        beam_BC, token_BC = best_BC // n_vocab, (best_BC % n_vocab).astype(jnp.int32)
        tokens_BCG = jax.lax.dynamic_update_slice(
            search.tokens_BKG[rows_B1, beam_BC], token_BC[..., None], (0, 0, search.at)
        )
        ends_BC = (token_BC == end_id) & jnp.isfinite(log_p_BC)
        is_first_C = jnp.arange(token_BC.shape[1]) < n_beams
        length = search.at + 1
        ends_BC &= is_first_C & ~search.is_done_B[:, None]
        pool = _merged(search.pool, tokens_BCG, length, log_p_BC, ends_BC, alpha)
        log_p_BK, kept_BK = jax.lax.top_k(jnp.where(token_BC == end_id, LEAST, log_p_BC), n_beams)
        beam_BK = beam_BC[rows_B1, kept_BK]
        state = reorder(state, (rows_B1 * n_beams + beam_BK).reshape(-1))
        is_beaten_B = log_p_BK[:, 0] / length_penalty(length, alpha) <= pool.scores_BK[:, -1]  # also where both are −∞
        is_done_B = search.is_done_B | is_beaten_B
        last_BK, tokens_BKG = token_BC[rows_B1, kept_BK], tokens_BCG[rows_B1, kept_BK]
        return _Search(length, state, last_BK, tokens_BKG, log_p_BK, pool, is_done_B)

    def goes_on(search: _Search) -> Array:
        return (search.at < n_new) & ~search.is_done_B.all()

    end = jax.lax.while_loop(goes_on, step, _start(state, begin_B, n_new, end_id, n_beams))
    return _result(end, n_new, alpha)


def _start(state: Any, begin_B: Int[Array, "B"], n_new: int, end_id: int, n_beams: int) -> _Search:
    batch = begin_B.shape[0]
    nothing_BKG = jnp.full((batch, n_beams, n_new), end_id, jnp.int32)
    none_BK = jnp.full((batch, n_beams), LEAST, jnp.float32)
    return _Search(
        at=jnp.zeros((), jnp.int32),
        state=state,
        last_BK=jnp.broadcast_to(begin_B.astype(jnp.int32)[:, None], (batch, n_beams)),
        tokens_BKG=nothing_BKG,
        log_p_BK=none_BK.at[:, 0].set(0.0),  # the K rows of a source are alike: one of them begins
        pool=_Pool(nothing_BKG, jnp.zeros((batch, n_beams), jnp.int32), none_BK, none_BK),
        is_done_B=jnp.zeros(batch, bool),
    )


def _merged(pool: _Pool, tokens_BCG: Array, length: Array, log_p_BC: Array, ends_BC: Array, alpha: float) -> _Pool:
    """The pool with the candidates that end; the best K of both stay."""
    new_BC = jnp.where(ends_BC, log_p_BC / length_penalty(length, alpha), LEAST)
    n_beams, batch = pool.scores_BK.shape[1], pool.scores_BK.shape[0]
    scores_BK, chosen_BK = jax.lax.top_k(jnp.concatenate([pool.scores_BK, new_BC], axis=1), n_beams)
    rows_B1 = jnp.arange(batch)[:, None]

    def take(old: Array, new: Array) -> Array:
        return jnp.concatenate([old, new], axis=1)[rows_B1, chosen_BK]

    lengths_BC = jnp.full(log_p_BC.shape, length, jnp.int32)
    log_p_BK = take(pool.log_p_BK, jnp.where(ends_BC, log_p_BC, LEAST))
    return _Pool(take(pool.tokens_BKG, tokens_BCG), take(pool.lengths_BK, lengths_BC), log_p_BK, scores_BK)


def _result(end: _Search, n_new: int, alpha: float) -> Found:
    """The pool; where a row has nothing that ended, its unfinished beginnings."""
    has_B = jnp.isfinite(end.pool.scores_BK).any(axis=1)
    lengths_BK = jnp.full(end.log_p_BK.shape, n_new, jnp.int32)
    open_ends = _Pool(end.tokens_BKG, lengths_BK, end.log_p_BK, end.log_p_BK / length_penalty(n_new, alpha))

    def choose(ended: Array, unended: Array) -> Array:
        return jnp.where(has_B.reshape(-1, *[1] * (ended.ndim - 1)), ended, unended)

    chosen = jax.tree.map(choose, end.pool, open_ends)
    return Found(*chosen, ended_BK=jnp.isfinite(chosen.scores_BK) & has_B[:, None])
