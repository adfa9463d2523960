"""Requests that join and leave a running batch: continuous batching (Yu et al. 2022, "Orca") over a fixed set of slots.

    join     one prompt: prefill in its own cache, choose its first token, put its keys and values into one row
    advance  one token for every row, each by its own rule; a row that nobody uses computes what nobody reads
    resize   the same requests in more or fewer rows and columns, for a step costs what they hold, used or not

The batch is as large as the set of rows, so one program serves any number of requests. All rows write to the same
column of the cache, as in `llm_jax.decode.loop`, and the column goes round: a prompt that joins is laid down just
before it, and is overwritten when the column has gone round once, which no row that fits the cache lives to see:

    column       0    1    2    3    4    5    6    7      eight columns, the next write goes to 3
    row 0        4    5    6    -    0    1    2    3      has seen seven tokens, the latest in column 2
    row 1        0    1    2    -    -    -    -    -      joined a moment ago with three

So `gpt.forward` needs to know nothing of requests: the positions beside the cache say what each row may look at. A
row's draws follow from its own key and position, so a request gets the same tokens alone, in company and in any row.

Left out: pages (Kwon et al. 2023), so a row's memory is the longest sequence's; prompts that share a beginning; prefill
in pieces between steps.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from llm_jax.config import GPTConfig
from llm_jax.decode import log_probabilities
from llm_jax.decode.adjust import Adjusted, adjust, count, put
from llm_jax.decode.choose import Rule, choose, keys_of
from llm_jax.layers import cache as kv
from llm_jax.models import gpt
from llm_jax.shapes import Array, Float, Int, Key, pytree

LEAST_ROOM = 256  # columns of a prompt's own cache: most prompts have one size, and need one program to be laid down
PIECE = 16  # positions whose logits exist at once when a prompt is scored; every bucket is a multiple of it


@pytree
class Slots:
    """The rows while they are decoded."""

    cache: kv.Cache
    token_B: Int[Array, "B"]  # chosen last, not yet seen by the model
    keys_B: Key[Array, "B"]
    adjusted: Adjusted | None = None  # None: nobody's logits are changed, and a step is the program without


@pytree
class Scores:
    """Log-probabilities in float32, before temperature and filters: what the model says, not what was drawn from."""

    chosen: Float[Array, "*rows"]
    top: Float[Array, "*rows K"]  # K may be 0
    top_ids: Int[Array, "*rows K"]


@partial(jax.jit, static_argnames=("config", "how", "rows", "columns"))
def empty(config: GPTConfig, how: gpt.Plan, rows: int, columns: int) -> Slots:
    """Rows without requests; `columns` bounds a request's tokens, prompt and answer."""
    return Slots(
        cache=gpt.empty_cache(config, rows, columns, how.dtype),
        token_B=jnp.zeros(rows, jnp.int32),
        keys_B=keys_of([0] * rows),
    )


def join(
    params: gpt.GPT,
    slots: Slots,
    row: int,
    tokens_T: Int[np.ndarray, "T"],
    length: int,
    seed: int,
    rule: Rule,
    config: GPTConfig,
    how: gpt.Plan,
    n_top: int = 0,
    changes: Adjusted | None = None,
) -> tuple[Slots, Int[Array, ""], Scores]:
    """A prompt, padded on the right, takes a row: the slots, its first token and that token's scores.

    `changes` says how its logits are changed, and must be there exactly where the slots have `adjusted`.

    Three programs: for each bucket of lengths (with the model), for each size of the slots, for each kind of rule.
    """
    room = min(max(LEAST_ROOM, 1 << (len(tokens_T) - 1).bit_length()), slots.cache.positions_BS.shape[1])
    one, last_BD = _read(params, tokens_T, jnp.int32(length), config, how, room)
    slots = _lay_down(slots, jnp.int32(row), one)
    return _first(params, slots, jnp.int32(row), last_BD, keys_of([seed])[0], rule, changes, config, how, n_top)


@partial(jax.jit, static_argnames=("config", "how", "n_top"), donate_argnames=("slots",))
def advance(
    params: gpt.GPT, slots: Slots, rule: Rule, config: GPTConfig, how: gpt.Plan, n_top: int = 0
) -> tuple[Slots, Int[Array, "B"], Scores]:
    """The next token of every row, and its scores."""
    hidden_BTD, cache = gpt.forward(params, slots.token_B[:, None], config, how, slots.cache)
    assert cache is not None
    keys_B = jax.vmap(jax.random.fold_in)(slots.keys_B, cache.lengths_B)
    adjusted = slots.adjusted
    token_B, scores = _choose(params, hidden_BTD[:, 0], keys_B, rule, adjusted, cache.lengths_B, config, how, n_top)
    cache = dataclasses.replace(cache, filled=cache.filled % cache.positions_BS.shape[1])
    adjusted = adjusted and count(adjusted, token_B)
    return dataclasses.replace(slots, cache=cache, token_B=token_B, adjusted=adjusted), token_B, scores


@partial(jax.jit, static_argnames=("config", "how", "n_top"))
def score(params: gpt.GPT, tokens_T: Int[Array, "T"], config: GPTConfig, how: gpt.Plan, n_top: int = 0) -> Scores:
    """What the model says of a text, padded on the right: entry t is about token t + 1, given those up to t."""
    # With a cache, though nothing is decoded: padding may then go beyond the last position.
    cache = gpt.empty_cache(config, 1, tokens_T.shape[0], how.dtype)
    hidden_BTD, _ = gpt.forward(params, tokens_T[None], config, how, cache)
    pieces_CWD = hidden_BTD[0].reshape(-1, PIECE, hidden_BTD.shape[-1])
    next_CW = jnp.roll(tokens_T, -1).reshape(-1, PIECE)
    # In pieces: the logits of a long text at once would be the largest array of all.
    scores = jax.lax.map(
        lambda piece: _score(gpt.logits(params, piece[0], config, how), piece[1], n_top), (pieces_CWD, next_CW)
    )
    # Not −1: without a top there are no elements to infer it from.
    return jax.tree.map(lambda x: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), scores)


@partial(jax.jit, static_argnames=("columns",))
def resize(slots: Slots, rows_B: Int[Array, "B"], columns: int) -> Slots:
    """The same slots in other rows, row b being what row `rows_B[b]` was, and in more or fewer columns.

    Columns are laid out anew from the oldest on: more are added after the latest, fewer keep the latest. Whoever is
    being answered must fit in them.
    """
    old, before = slots.cache, slots.cache.positions_BS.shape[1]

    def lay_out(x_BS, empty):
        """Any number of dimensions after the columns."""
        x_BS = jnp.roll(x_BS[rows_B], -old.filled, axis=1)[:, max(before - columns, 0) :]
        more = [(0, 0)] * x_BS.ndim
        more[1] = (0, columns - x_BS.shape[1])
        return jnp.pad(x_BS, more, constant_values=empty)

    def lay_out_layer(x_RSH):
        n_rows, (_, _, d_head) = old.lengths_B.shape[0], x_RSH.shape
        x_BSNH = x_RSH.reshape(n_rows, -1, before, d_head).swapaxes(1, 2)
        return kv.heads_first(lay_out(x_BSNH, 0))

    cache = kv.Cache(
        layers=jax.tree.map(lay_out_layer, old.layers),
        positions_BS=lay_out(old.positions_BS, kv.EMPTY),
        lengths_B=old.lengths_B[rows_B],
        filled=jnp.int32(before if columns > before else 0),
    )
    return Slots(
        cache=cache,
        token_B=slots.token_B[rows_B],
        keys_B=slots.keys_B[rows_B],
        adjusted=jax.tree.map(lambda x: x[rows_B], slots.adjusted),
    )


@partial(jax.jit, static_argnames=("config", "how", "room"))
def _read(params, tokens_T, length, config: GPTConfig, how: gpt.Plan, room: int):
    """A prompt's keys and values in a cache of its own, of `room` columns, and its last hidden state."""
    one = gpt.empty_cache(config, 1, tokens_T.shape[0], how.dtype)
    hidden_BTD, one = gpt.forward(params, tokens_T[None], config, how, one)
    assert one is not None
    one = kv.extend(kv.forget_padding(one, length[None]), room)
    return one, jax.lax.dynamic_slice_in_dim(hidden_BTD[0], length - 1, 1)


@partial(jax.jit, donate_argnames=("slots",))
def _lay_down(slots: Slots, row, one: kv.Cache) -> Slots:
    """One prompt's cache into the row, its last token in the column before the next write, going round."""
    cache = slots.cache
    one = kv.extend(one, cache.positions_BS.shape[1])
    length = one.lengths_B[0]
    first = cache.filled - length

    def put(all_RSH, one_RSH):
        return jax.lax.dynamic_update_slice(all_RSH, jnp.roll(one_RSH, first, axis=1), (row * one_RSH.shape[0], 0, 0))

    cache = kv.Cache(
        layers=jax.tree.map(put, cache.layers, one.layers),
        positions_BS=cache.positions_BS.at[row].set(jnp.roll(one.positions_BS[0], first)),
        lengths_B=cache.lengths_B.at[row].set(length),
        filled=cache.filled,
    )
    return dataclasses.replace(slots, cache=cache)


@partial(jax.jit, static_argnames=("config", "how", "n_top"), donate_argnames=("slots",))
def _first(
    params,
    slots: Slots,
    row,
    last_BD,
    key,
    rule: Rule,
    changes: Adjusted | None,
    config: GPTConfig,
    how: gpt.Plan,
    n_top: int,
):
    length_B = slots.cache.lengths_B[row][None]
    keys_B = jax.random.fold_in(key, length_B[0])[None]
    token_B, scores = _choose(params, last_BD, keys_B, rule, changes, length_B, config, how, n_top)
    adjusted = slots.adjusted and changes and put(slots.adjusted, row, count(changes, token_B))
    slots = dataclasses.replace(
        slots,
        token_B=slots.token_B.at[row].set(token_B[0]),
        keys_B=slots.keys_B.at[row].set(key),
        adjusted=adjusted,
    )
    return slots, token_B[0], jax.tree.map(lambda x: x[0], scores)


def _choose(
    params,
    hidden_BD,
    keys_B,
    rule: Rule,
    adjusted: Adjusted | None,
    lengths_B,
    config: GPTConfig,
    how: gpt.Plan,
    n_top: int,
):
    """Scores are the model's own, whatever is done to the logits that the token is chosen from."""
    logits_BV = gpt.logits(params, hidden_BD, config, how)
    changed_BV = logits_BV if adjusted is None else adjust(logits_BV, adjusted, lengths_B)
    token_B = choose(changed_BV, keys_B, rule)
    return token_B, _score(logits_BV, token_B, n_top)


def _score(logits_BV: Float[Array, "B V"], token_B: Int[Array, "B"], n_top: int) -> Scores:
    return Scores(log_probabilities.of_tokens(logits_BV, token_B), *log_probabilities.most_likely(logits_BV, n_top))
