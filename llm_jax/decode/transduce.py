"""A target for each source, by an encoder–decoder: the source is read once, the target is written token by token.

Each step decodes one token a row: the keys and values of the target so far lie in a cache, and those of the source were
computed once (`encoder_decoder.forward.remember`).
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from llm_jax.decode import beam
from llm_jax.kernels.plan import Plan
from llm_jax.layers import cache as kv
from llm_jax.models.encoder_decoder import forward as model
from llm_jax.models.encoder_decoder.config import EncoderDecoderConfig
from llm_jax.models.encoder_decoder.parameters import EncoderDecoder
from llm_jax.shapes import Array, Bool, Int


class Search(NamedTuple):
    """How targets are written. One beam is greedy search."""

    begin_id: int
    end_id: int
    n_new: int  # most tokens, the end token counted
    n_beams: int = 1
    alpha: float = 0.6  # exponent of the length penalty


@partial(jax.jit, static_argnames=("config", "plan", "search"))
def transduce(
    params: EncoderDecoder,
    source_BS: Int[Array, "B S"],
    is_source_BS: Bool[Array, "B S"],
    config: EncoderDecoderConfig,
    plan: Plan,
    search: Search,
) -> beam.Found:
    """The targets of a batch of padded sources.

    Raises:
        ValueError: a source or a target may be longer than the model has positions.
    """
    if search.n_new > config.context_length:
        raise ValueError(f"a target may have {config.context_length} tokens, the model's positions; got {search.n_new}")
    batch, rows = source_BS.shape[0], source_BS.shape[0] * search.n_beams
    memory = model.read(params, source_BS, is_source_BS, config, plan)
    memory = jax.tree.map(lambda x: jnp.repeat(x, search.n_beams, axis=0), memory)
    cache = model.empty_cache(config, rows, search.n_new, plan.dtype)

    def advance(cache: kv.Cache, tokens_R: Array) -> tuple[Array, Any]:
        hidden_RTD, cache_now = model.decode(params, tokens_R[:, None], memory, config, plan, cache)
        return jax.nn.log_softmax(model.logits(params, hidden_RTD)[:, 0]), cache_now

    begin_B = jnp.full(batch, search.begin_id, jnp.int32)
    if search.n_beams == 1:
        return beam.greedy(advance, cache, begin_B, search.n_new, search.end_id)
    return beam.beam_search(advance, kv.rows, cache, begin_B, search.n_new, search.end_id, search.n_beams, search.alpha)
