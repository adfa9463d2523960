"""Prompts → tokens: prefill, then a decoding loop on the device.

    prefill   runs all prompts, padded on the right to one length; fills the KV-cache and chooses the first token
    advance   runs one token per row through the model and chooses the next, up to a count or until all rows stopped
    grow      doubles the slots of the cache when all are used: a step reads every slot, so a cache starts small

`advance` is a `lax.while_loop` whose count is an argument, so one compiled program serves both uses: one call for all
tokens, without a transfer to the host, or one call per token to stream them. Shapes are rounded up to buckets (the
cache's to powers of two), so few programs are compiled. The cache is donated, so a step writes one slot and copies
nothing.

For requests that join a running batch see `llm_jax.decode.slots`, for beam search `llm_jax.decode.beam`. Left out:
speculative decoding.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from llm_jax.config import DecoderConfig
from llm_jax.decode.choose import Rule, choose, keys_of, rule
from llm_jax.decode.options import Sampling
from llm_jax.decode.padding import LENGTH_MULTIPLE, Prompts, bucket, check, pad
from llm_jax.decode.weights import prepare as prepare
from llm_jax.layers import cache as kv
from llm_jax.models import decoder
from llm_jax.shapes import Array, Bool, Int, Key, pytree

LEAST_SLOTS = 64  # of a cache; fewer would save no time
ABSENT = -1  # fills `chosen_BG` after a row has stopped


@pytree
class State:
    """A batch while it is decoded."""

    cache: kv.Cache
    token_B: Int[Array, "B"]  # the token chosen last; the model has not read it yet
    keys_B: Key[Array, "B"]
    stopped_B: Bool[Array, "B"]
    chosen_BG: Int[Array, "B G"]  # what was generated; ABSENT after a row's stop token; G = S
    count: Int[Array, ""]  # tokens generated so far


def generate(
    params: decoder.Decoder,
    prompts: Prompts,
    config: DecoderConfig,
    plan: decoder.Plan,
    sampling: Sampling,
    max_new_tokens: int,
    stop_tokens: Sequence[int] = (),
) -> list[list[int]]:
    """Each prompt's continuation, without the stop token that ended it; `params` as `prepare` returns them.

    A continuation shorter than `max_new_tokens` ended with a stop token.

    Raises:
        ValueError: a prompt is empty, an id is not a whole number or is outside the vocabulary, or prompt and new
            tokens exceed the model's positions.
    """
    continuations = [[] for _ in prompts]
    for pieces in stream(params, prompts, config, plan, sampling, max_new_tokens, stop_tokens, max_new_tokens):
        for continuation, piece in zip(continuations, pieces, strict=True):
            continuation += piece
    return continuations


def stream(
    params: decoder.Decoder,
    prompts: Prompts,
    config: DecoderConfig,
    plan: decoder.Plan,
    sampling: Sampling,
    max_new_tokens: int,
    stop_tokens: Sequence[int] = (),
    chunk: int = 1,
) -> Iterator[list[list[int]]]:
    """As `generate`, in pieces: first one token per row, then `chunk` tokens per row at a time.

    Yields one list per prompt; the list of a row that has stopped is empty. Raises as `generate` does, at the call.
    """
    check(prompts, config, max_new_tokens)
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1 token a row; got {chunk}")
    tokens_BT, lengths_B = pad(prompts, plan.kernels.fewest_decode_rows)
    keys_B = keys_of([sampling.seed + row for row in range(len(lengths_B))])
    choice, stop_Z = rule(sampling), jnp.array(sorted(set(stop_tokens)), jnp.int32)
    length, n_rows = tokens_BT.shape[1], len(prompts)
    most_slots = bucket(length + max_new_tokens, LENGTH_MULTIPLE)

    def advance_until(state: State, count: int, until: int) -> State:
        while count < until and not np.asarray(state.stopped_B).all():
            slots = state.cache.positions_BS.shape[1]
            if count == slots - length + 1:  # all slots are used, and the token chosen last needs one
                slots = min(2 * slots, most_slots)
                state = grow(state, slots)
            count = min(until, slots - length + 1)
            state = advance(params, state, jnp.int32(count), choice, stop_Z, config, plan)
        return state

    def pieces():
        slots = min(most_slots, max(LEAST_SLOTS, 1 << length.bit_length()))
        state = prefill(params, tokens_BT, lengths_B, n_rows, keys_B, choice, stop_Z, config, plan, slots)
        shown, until = 0, 1
        while True:
            chosen_BG, stopped_B = np.asarray(state.chosen_BG)[:n_rows], np.asarray(state.stopped_B)
            yield [[int(t) for t in row if t != ABSENT and t not in stop_tokens] for row in chosen_BG[:, shown:until]]
            if until == max_new_tokens or stopped_B.all():
                return
            shown, until = until, min(until + chunk, max_new_tokens)
            state = advance_until(state, shown, until)

    return pieces()


@partial(jax.jit, static_argnames=("config", "plan", "slots"))
def prefill(
    params: decoder.Decoder,
    tokens_BT: Int[Array, "B T"],
    lengths_B: Int[Array, "B"],
    n_rows: int | Int[Array, ""],
    keys_B: Key[Array, "B"],
    choice: Rule,
    stop_Z: Int[Array, "Z"],
    config: DecoderConfig,
    plan: decoder.Plan,
    slots: int,
) -> State:
    """Runs the prompts and chooses each row's first token. Rows from `n_rows` on are padding and start as stopped."""
    batch, length = tokens_BT.shape
    cache = decoder.empty_cache(config, batch, length, plan.dtype)
    hidden_BTD, cache = decoder.forward(params, tokens_BT, config, plan, cache)
    assert cache is not None
    state = State(
        cache=kv.extend(kv.forget_padding(cache, lengths_B), slots),
        token_B=jnp.zeros(batch, jnp.int32),
        keys_B=keys_B,
        stopped_B=jnp.arange(batch) >= n_rows,
        chosen_BG=jnp.full((batch, slots), ABSENT, jnp.int32),
        count=jnp.zeros((), jnp.int32),
    )
    last_BD = hidden_BTD[jnp.arange(batch), lengths_B - 1]
    return _choose_next(params, state, last_BD, choice, stop_Z, config, plan)


@partial(jax.jit, static_argnames=("config", "plan"), donate_argnames=("state",))
def advance(
    params: decoder.Decoder,
    state: State,
    until: Int[Array, ""],
    choice: Rule,
    stop_Z: Int[Array, "Z"],
    config: DecoderConfig,
    plan: decoder.Plan,
) -> State:
    """Decodes until `until` tokens are generated or every row has stopped."""

    def goes_on(state: State):
        return (state.count < until) & ~state.stopped_B.all()

    def step(state: State) -> State:
        hidden_BTD, cache = decoder.forward(params, state.token_B[:, None], config, plan, state.cache)
        assert cache is not None
        state = dataclasses.replace(state, cache=cache)
        return _choose_next(params, state, hidden_BTD[:, 0], choice, stop_Z, config, plan)

    return jax.lax.while_loop(goes_on, step, state)


@partial(jax.jit, static_argnames="slots")
def grow(state: State, slots: int) -> State:
    """The same batch with `slots` slots in its cache; the new ones are empty."""
    more = slots - state.chosen_BG.shape[1]
    chosen_BG = jnp.pad(state.chosen_BG, ((0, 0), (0, more)), constant_values=ABSENT)
    return dataclasses.replace(state, cache=kv.extend(state.cache, slots), chosen_BG=chosen_BG)


def _choose_next(
    params, state: State, hidden_BD, choice: Rule, stop_Z, config: DecoderConfig, plan: decoder.Plan
) -> State:
    """Chooses the next token of every row from its last hidden state, and stores it in the state."""
    logits_BV = decoder.logits(params, hidden_BD, config, plan)
    # The key depends on the row's key and the token's position only, not on the batch or its padding.
    keys_B = jax.vmap(jax.random.fold_in)(state.keys_B, state.cache.lengths_B)
    token_B = choose(logits_BV, keys_B, choice)
    shown_B = jnp.where(state.stopped_B, ABSENT, token_B)
    return dataclasses.replace(
        state,
        token_B=token_B,
        stopped_B=state.stopped_B | (token_B[:, None] == stop_Z).any(axis=-1),
        chosen_BG=jax.lax.dynamic_update_slice(state.chosen_BG, shown_B[:, None], (0, state.count)),
        count=state.count + 1,
    )
