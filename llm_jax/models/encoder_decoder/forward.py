"""The encoder–decoder as pure functions over a tree of parameters (Vaswani et al. 2017, "Attention Is All You Need").

    embed    √D·token + sinusoid(position), for source and target alike
    encoder  x = norm(x + attention(x)), then x = norm(x + mlp(x))                            × L, of the whole source
    memory   keys and values of every decoder block from the encoder's last states, computed once a source
    decoder  x = norm(x + causal(x)), x = norm(x + cross(x, memory)), x = norm(x + mlp(x))    × L
    head     logits = h·Eᵀ, E the embedding

With `norm="pre"` each norm stands on what its half block reads, and one more follows the last block of each side. One
`decode` serves training (no cache) and decoding (cache). Dropout stands where the paper has it, on the embedding's sum
and on each half block's output.
"""

import dataclasses
import math

import jax.numpy as jnp
from jax.typing import DTypeLike

from llm_jax.kernels.plan import Plan
from llm_jax.layers import cache as kv
from llm_jax.layers.attention import attend
from llm_jax.layers.dropout import Dropout, dropout, split
from llm_jax.layers.loss import logits_of, smoothed_cross_entropy
from llm_jax.layers.mlp import ACTIVATIONS, mlp
from llm_jax.layers.norm import residual
from llm_jax.layers.projections import Projections, queries_keys_values
from llm_jax.layers.sinusoids import sinusoids
from llm_jax.models.encoder import forward as encoder
from llm_jax.models.encoder_decoder.config import EncoderDecoderConfig
from llm_jax.models.encoder_decoder.parameters import DecoderBlock, EncoderDecoder
from llm_jax.models.watch import Watch, unwatched
from llm_jax.shapes import Array, Bool, Float, Int, pytree


@pytree
class Memory:
    """What the decoder reads of a source: each block's keys and values, and where they are not padding."""

    keys_values: tuple[tuple[Float[Array, "B S N H"], Float[Array, "B S N H"]], ...]
    is_source_BS: Bool[Array, "B S"]


def embed(
    params: EncoderDecoder,
    tokens_BT: Int[Array, "B T"],
    config: EncoderDecoderConfig,
    plan: Plan,
    positions_BT: Int[Array, "B T"] | None = None,
) -> Float[Array, "B T D"]:
    """√D·token + sinusoid(position); positions from 0, unless given. Raises ValueError for too many tokens."""
    if tokens_BT.shape[1] > config.context_length:
        raise ValueError(
            f"rows must have at most {config.context_length} tokens, the model's positions; got {tokens_BT.shape[1]}"
        )
    table_PD = jnp.asarray(sinusoids(config.context_length, config.d_model))
    places = table_PD[: tokens_BT.shape[1]] if positions_BT is None else table_PD.at[positions_BT].get(mode="clip")
    return (math.sqrt(config.d_model) * params.token_embedding[tokens_BT] + places).astype(plan.dtype)


def encode(
    params: EncoderDecoder,
    source_BS: Int[Array, "B S"],
    is_source_BS: Bool[Array, "B S"],
    config: EncoderDecoderConfig,
    plan: Plan,
    noise: Dropout | None = None,
    watch: Watch = unwatched,
) -> Float[Array, "B S D"]:
    """The states of the source. No token attends to padding, where `is_source_BS` is False.

    `watch` sees the stream after the embedding and after each half block.
    """
    at_embedding, *in_blocks = split(noise, 1 + len(params.encoder_blocks))
    x_BSD = watch("source embedding", dropout(embed(params, source_BS, config, plan), at_embedding))
    layers, name = params.encoder_blocks, "encoder block"
    x_BSD = encoder.blocks(layers, x_BSD, is_source_BS, config.encoder, plan, in_blocks, watch, name)
    if params.encoder_norm is not None:
        x_BSD = plan.kernels.layer_norm(params.encoder_norm, x_BSD, config.norm_epsilon)
    return x_BSD


def remember(
    params: EncoderDecoder, states_BSD: Float[Array, "B S D"], is_source_BS: Bool[Array, "B S"], plan: Plan
) -> Memory:
    """The keys and values that every decoder block attends to. They do not depend on the target."""
    linear, found = plan.kernels.linear, []
    for layer in params.decoder_blocks:
        projections = layer.cross_attention.qkv
        assert isinstance(projections, Projections)
        found.append((linear(projections.k, states_BSD), linear(projections.v, states_BSD)))
    return Memory(tuple(found), is_source_BS)


def read(
    params: EncoderDecoder,
    source_BS: Int[Array, "B S"],
    is_source_BS: Bool[Array, "B S"],
    config: EncoderDecoderConfig,
    plan: Plan,
    noise: Dropout | None = None,
    watch: Watch = unwatched,
) -> Memory:
    """`encode`, then `remember`: all that decoding needs of a source."""
    return remember(params, encode(params, source_BS, is_source_BS, config, plan, noise, watch), is_source_BS, plan)


def empty_cache(config: EncoderDecoderConfig, batch: int, length: int, dtype: DTypeLike) -> kv.Cache:
    """A cache for `batch` targets of up to `length` tokens."""
    return kv.empty(config.n_decoder_layers, config.n_heads, config.d_head, batch, length, dtype)


def decode(
    params: EncoderDecoder,
    tokens_BT: Int[Array, "B T"],
    memory: Memory,
    config: EncoderDecoderConfig,
    plan: Plan,
    cache: kv.Cache | None = None,
    noise: Dropout | None = None,
    watch: Watch = unwatched,
) -> tuple[Float[Array, "B T D"], kv.Cache | None]:
    """The states of the target's tokens, each of which sees itself, those before it, and the source.

    With a cache each row continues at its own position; what is padded on the right must have no tokens after it.
    """
    window = positions_BT = None
    if cache is not None:
        cache, window, positions_BT = kv.advance(cache, tokens_BT.shape[1])
    at_embedding, *in_blocks = split(noise, 1 + len(params.decoder_blocks))
    x_BTD = watch("target embedding", dropout(embed(params, tokens_BT, config, plan, positions_BT), at_embedding))
    layers = []
    for index, layer in enumerate(params.decoder_blocks):
        layer_cache = cache.layers[index] if cache is not None else None
        here = encoder.in_block(watch, f"decoder block {index + 1}")
        x_BTD, layer_cache = decoder_block(
            layer, x_BTD, index, memory, config, plan, layer_cache, window, in_blocks[index], here
        )
        layers.append(layer_cache)
    if params.decoder_norm is not None:
        x_BTD = plan.kernels.layer_norm(params.decoder_norm, x_BTD, config.norm_epsilon)
    return x_BTD, None if cache is None else dataclasses.replace(cache, layers=tuple(layers))


def decoder_block(
    params: DecoderBlock,
    x_BTD: Float[Array, "B T D"],
    index: int,
    memory: Memory,
    config: EncoderDecoderConfig,
    plan: Plan,
    cache: kv.LayerCache | None = None,
    window: kv.Window | None = None,
    noise: Dropout | None = None,
    watch: Watch = unwatched,
) -> tuple[Float[Array, "B T D"], kv.LayerCache | None]:
    """One block: attention to the target so far, attention to the source, then the MLP."""
    kernels, linear = plan.kernels, plan.kernels.linear
    after_own, after_cross, after_mlp = split(noise, 3)
    written = []

    def own(x_BTD: Array) -> Array:
        q_BTNH, k_BTNH, v_BTNH = queries_keys_values(params.attention.qkv, x_BTD, linear)
        if cache is None or window is None:
            heads_BTNH = kernels.causal_attend(q_BTNH, k_BTNH, v_BTNH)
        else:
            written.append(kv.write(cache, k_BTNH, v_BTNH, window.start))
            heads_BTNH = kernels.cached_attend(q_BTNH, written[0], window.mask_BTS)
        return dropout(linear(params.attention.out, heads_BTNH, n_inputs=2), after_own)

    def cross(x_BTD: Array) -> Array:
        projections, (k_BSNH, v_BSNH) = params.cross_attention.qkv, memory.keys_values[index]
        assert isinstance(projections, Projections)
        mask_BTS = jnp.broadcast_to(memory.is_source_BS[:, None], (*x_BTD.shape[:2], k_BSNH.shape[1]))
        heads_BTNH = attend(linear(projections.q, x_BTD), k_BSNH, v_BSNH, mask_BTS)
        return dropout(linear(params.cross_attention.out, heads_BTNH, n_inputs=2), after_cross)

    def hidden(x_BTD: Array) -> Array:
        return dropout(mlp(params.mlp, x_BTD, ACTIVATIONS[config.activation], linear), after_mlp)

    halves = (
        ("after attention", own, params.norm_1),
        ("after attention to the source", cross, params.norm_2),
        ("after MLP", hidden, params.norm_3),
    )
    for name, half, norm in halves:
        x_BTD = residual(half, x_BTD, norm, kernels.layer_norm, config.norm, config.norm_epsilon)
        x_BTD = watch(name, x_BTD)
    return x_BTD, written[0] if written else None


def logits(params: EncoderDecoder, hidden: Float[Array, "*rest D"]) -> Float[Array, "*rest V"]:
    """Next-token logits in float32."""
    return logits_of(hidden, params.token_embedding, params.token_embedding.shape[0])


def loss(
    params: EncoderDecoder,
    source_BS: Int[Array, "B S"],
    is_source_BS: Bool[Array, "B S"],
    target_BT: Int[Array, "B U"],
    weights_BT: Float[Array, "B T"],
    config: EncoderDecoderConfig,
    plan: Plan,
    smoothing: float = 0.0,
    noise: Dropout | None = None,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Σ weight·loss in nats and Σ weight, of a target whose first token is the one that begins it (U = T + 1).

    Args:
        params: the model.
        source_BS: padded source.
        is_source_BS: False at its padding.
        target_BT: begin token, target, end token, padding.
        weights_BT: of the tokens after the first; 0 at padding.
        config: the model's.
        plan: which function computes each formula.
        smoothing: label smoothing, 0.1 in the paper (§5.4).
        noise: dropout, in training.
    """
    reading, writing = split(noise, 2)
    memory = read(params, source_BS, is_source_BS, config, plan, reading)
    hidden_BTD, _ = decode(params, target_BT[:, :-1], memory, config, plan, noise=writing)
    targets_BT, table_VD = target_BT[:, 1:], params.token_embedding
    if smoothing:
        return smoothed_cross_entropy(hidden_BTD, table_VD, targets_BT, weights_BT, config.vocab_size, smoothing)
    return plan.kernels.cross_entropy(hidden_BTD, table_VD, targets_BT, weights_BT, config.vocab_size, 1)
