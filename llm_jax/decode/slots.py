"""Requests that join and leave a running batch: continuous batching (Yu et al. 2022, "Orca") over a fixed set of slots.

    join     prefill one prompt in a cache of its own, choose its first token, copy its keys and values to one row
    advance  one token for every row, each by its own rule; the results of unused rows are ignored
    resize   the same requests in more or fewer rows and columns: a step's time grows with both, used or not

The batch always has all rows, so one program serves any number of requests. All rows write to the same column of the
cache, as in `llm_jax.decode.loop`; after the last column, writing continues at the first (a ring buffer). A prompt that
joins is copied to the columns just before the one written next. A column is overwritten after one full round, and no
request that fits in the cache is that long:

    column       0    1    2    3    4    5    6    7      eight columns, the next write goes to 3
    row 0        4    5    6    -    0    1    2    3      has seen seven tokens, the latest in column 2
    row 1        0    1    2    -    -    -    -    -      joined a moment ago with three

`decoder.forward` has no code for requests: the positions stored with the cache decide what each row may attend to. A
draw depends on the row's key and position only, so a request gets the same tokens alone, in a batch, and in any row.

Left out: paged memory (Kwon et al. 2023), so every row reserves memory for the longest sequence; sharing the prefix of
prompts; chunked prefill between steps.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from llm_jax.adapters.together import choose as with_adapters_of
from llm_jax.config import DecoderConfig
from llm_jax.decode import log_probabilities
from llm_jax.decode.adjust import Adjusted, adjust, count, put
from llm_jax.decode.choose import Rule, choose, keys_of
from llm_jax.layers import cache as kv
from llm_jax.models import decoder
from llm_jax.shapes import Array, Float, Int, Key, pytree

LEAST_ROOM = 256  # columns of a prompt's own cache at least, so that most prompts share one compiled program
PIECE = 16  # positions whose logits are computed at once when a prompt is scored; divides every bucket


@pytree
class Slots:
    """The rows while they are decoded."""

    cache: kv.Cache
    token_B: Int[Array, "B"]  # the token chosen last; the model has not read it yet
    keys_B: Key[Array, "B"]
    adapter_B: Int[Array, "B"]  # the number of each row's adapter, from 1; 0: none
    adjusted: Adjusted | None = None  # None: no row changes its logits, and the step is compiled without it


@pytree
class Scores:
    """Log-probabilities in float32, before temperature and filters."""

    chosen: Float[Array, "*rows"]
    top: Float[Array, "*rows K"]  # K may be 0
    top_ids: Int[Array, "*rows K"]


@partial(jax.jit, static_argnames=("config", "plan", "rows", "columns"))
def empty(config: DecoderConfig, plan: decoder.Plan, rows: int, columns: int) -> Slots:
    """Rows without requests. `columns` is the most tokens of a request, prompt and answer together."""
    return Slots(
        cache=decoder.empty_cache(config, rows, columns, plan.dtype),
        token_B=jnp.zeros(rows, jnp.int32),
        keys_B=keys_of([0] * rows),
        adapter_B=jnp.zeros(rows, jnp.int32),
    )


def join(
    params: decoder.Decoder,
    slots: Slots,
    row: int,
    tokens_T: Int[np.ndarray, "T"],
    length: int,
    seed: int,
    rule: Rule,
    config: DecoderConfig,
    plan: decoder.Plan,
    n_top: int = 0,
    changes: Adjusted | None = None,
    adapter: int = 0,
    embedded_TD: Float[Array, "T D"] | None = None,
) -> tuple[Slots, Int[Array, ""], Scores]:
    """Puts a prompt, padded on the right, into a row. Returns the slots, the first token and its scores.

    `changes` says how the request's logits are changed; pass it exactly when the slots have `adjusted`. `adapter` is
    the number of the row's adapter, where `params` has several. `embedded_TD` takes the place of the embeddings of
    `tokens_T`, for a prompt with pictures. Three programs are compiled: one per bucket of prompt
    lengths, one per size of the slots, one per kind of rule.
    """
    room = min(max(LEAST_ROOM, 1 << (len(tokens_T) - 1).bit_length()), slots.cache.positions_BS.shape[1])
    one, last_BD = _read(params, tokens_T, jnp.int32(length), jnp.int32(adapter), config, plan, room, embedded_TD)
    slots = _lay_down(slots, jnp.int32(row), one, jnp.int32(adapter))
    return _first(params, slots, jnp.int32(row), last_BD, keys_of([seed])[0], rule, changes, config, plan, n_top)


@partial(jax.jit, static_argnames=("config", "plan", "n_top"), donate_argnames=("slots",))
def advance(
    params: decoder.Decoder, slots: Slots, rule: Rule, config: DecoderConfig, plan: decoder.Plan, n_top: int = 0
) -> tuple[Slots, Int[Array, "B"], Scores]:
    """Chooses the next token of every row. Returns the slots, the tokens and their scores."""
    params = with_adapters_of(params, slots.adapter_B)
    hidden_BTD, cache = decoder.forward(params, slots.token_B[:, None], config, plan, slots.cache)
    assert cache is not None
    keys_B = jax.vmap(jax.random.fold_in)(slots.keys_B, cache.lengths_B)
    adjusted = slots.adjusted
    token_B, scores = _choose(params, hidden_BTD[:, 0], keys_B, rule, adjusted, cache.lengths_B, config, plan, n_top)
    cache = dataclasses.replace(cache, filled=cache.filled % cache.positions_BS.shape[1])
    adjusted = adjusted and count(adjusted, token_B)
    return dataclasses.replace(slots, cache=cache, token_B=token_B, adjusted=adjusted), token_B, scores


@partial(jax.jit, static_argnames=("config", "plan", "n_top"))
def score(
    params: decoder.Decoder,
    tokens_T: Int[Array, "T"],
    config: DecoderConfig,
    plan: decoder.Plan,
    n_top: int = 0,
    adapter: int | Int[Array, ""] = 0,
) -> Scores:
    """Scores a text, padded on the right: entry t is about token t + 1, given the tokens up to t."""
    params = with_adapters_of(params, jnp.asarray(adapter, jnp.int32)[None])
    # Nothing is decoded, but with a cache the padding may exceed the model's positions.
    cache = decoder.empty_cache(config, 1, tokens_T.shape[0], plan.dtype)
    hidden_BTD, _ = decoder.forward(params, tokens_T[None], config, plan, cache)
    pieces_CWD = hidden_BTD[0].reshape(-1, PIECE, hidden_BTD.shape[-1])
    next_CW = jnp.roll(tokens_T, -1).reshape(-1, PIECE)
    # In pieces: all logits of a long text at once would be the largest array in memory.
    scores = jax.lax.map(
        lambda piece: _score(decoder.logits(params, piece[0], config, plan), piece[1], n_top), (pieces_CWD, next_CW)
    )
    # Not −1: with n_top = 0 the array is empty, and reshape cannot infer a size.
    return jax.tree.map(lambda x: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), scores)


@partial(jax.jit, static_argnames=("columns",))
def resize(slots: Slots, rows_B: Int[Array, "B"], columns: int) -> Slots:
    """The same requests with row b taken from row `rows_B[b]`, in more or fewer columns.

    Columns are reordered to start with the oldest. New columns are added after the newest; with fewer columns the
    newest are kept. Every request in progress must fit in them.
    """
    old, before = slots.cache, slots.cache.positions_BS.shape[1]

    def lay_out(x_BS, empty):
        """Reorders and pads columns; any dimensions may follow."""
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
        adapter_B=slots.adapter_B[rows_B],
        adjusted=jax.tree.map(lambda x: x[rows_B], slots.adjusted),
    )


@partial(jax.jit, static_argnames=("config", "plan", "room"))
def _read(params, tokens_T, length, adapter, config: DecoderConfig, plan: decoder.Plan, room: int, embedded_TD=None):
    """Runs a prompt: its keys and values in a cache of its own with `room` columns, and its last hidden state."""
    params = with_adapters_of(params, adapter[None])
    one = decoder.empty_cache(config, 1, tokens_T.shape[0], plan.dtype)
    embedded_BTD = None if embedded_TD is None else embedded_TD[None]
    hidden_BTD, one = decoder.forward(params, tokens_T[None], config, plan, one, embedded_BTD=embedded_BTD)
    assert one is not None
    one = kv.extend(kv.forget_padding(one, length[None]), room)
    return one, jax.lax.dynamic_slice_in_dim(hidden_BTD[0], length - 1, 1)


@partial(jax.jit, donate_argnames=("slots",))
def _lay_down(slots: Slots, row, one: kv.Cache, adapter) -> Slots:
    """Copies a prompt's cache to the row, ending in the column before the one written next (modulo the columns)."""
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
    return dataclasses.replace(slots, cache=cache, adapter_B=slots.adapter_B.at[row].set(adapter))


@partial(jax.jit, static_argnames=("config", "plan", "n_top"), donate_argnames=("slots",))
def _first(
    params,
    slots: Slots,
    row,
    last_BD,
    key,
    rule: Rule,
    changes: Adjusted | None,
    config: DecoderConfig,
    plan: decoder.Plan,
    n_top: int,
):
    length_B = slots.cache.lengths_B[row][None]
    keys_B = jax.random.fold_in(key, length_B[0])[None]
    token_B, scores = _choose(params, last_BD, keys_B, rule, changes, length_B, config, plan, n_top)
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
    config: DecoderConfig,
    plan: decoder.Plan,
    n_top: int,
):
    """Chooses tokens from the adjusted logits; the scores come from the logits before adjustment."""
    logits_BV = decoder.logits(params, hidden_BD, config, plan)
    changed_BV = logits_BV if adjusted is None else adjust(logits_BV, adjusted, lengths_B)
    token_B = choose(changed_BV, keys_B, rule)
    return token_B, _score(logits_BV, token_B, n_top)


def _score(logits_BV: Float[Array, "B V"], token_B: Int[Array, "B"], n_top: int) -> Scores:
    return Scores(log_probabilities.of_tokens(logits_BV, token_B), *log_probabilities.most_likely(logits_BV, n_top))
