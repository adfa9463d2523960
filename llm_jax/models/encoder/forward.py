"""The encoder as a pure function over a tree of parameters (Devlin et al. 2019, "BERT").

    embed   token + position + segment
    block   post-norm, as in BERT:   x = norm(x + attention(x)), then x = norm(x + mlp(x))      × L
            pre-norm, as in GPT-2:   x = x + attention(norm(x)), then x = x + mlp(norm(x))      × L
    norm    of the embedding (post) or of the last block (pre)

Unlike a decoder's, the attention has no causal mask: only padding is hidden. Each formula is computed by the function
that a plan names (`llm_jax.kernels.plan`). Dropout stands where BERT has it, except on the attention weights.
"""

from collections.abc import Sequence

import jax.numpy as jnp

from llm_jax.kernels.plan import Plan
from llm_jax.layers.attention import attend
from llm_jax.layers.dropout import Dropout, dropout, split
from llm_jax.layers.mlp import ACTIVATIONS, mlp
from llm_jax.layers.norm import residual
from llm_jax.layers.projections import queries_keys_values
from llm_jax.models.encoder.config import EncoderConfig
from llm_jax.models.encoder.parameters import Block, Encoder
from llm_jax.models.watch import Watch, unwatched
from llm_jax.shapes import Array, Bool, Float, Int


def forward(
    params: Encoder,
    tokens_BT: Int[Array, "B T"],
    is_token_BT: Bool[Array, "B T"],
    config: EncoderConfig,
    plan: Plan,
    segments_BT: Int[Array, "B T"] | None = None,
    noise: Dropout | None = None,
    watch: Watch = unwatched,
) -> Float[Array, "B T D"]:
    """The hidden states of the last layer.

    Args:
        params: the model.
        tokens_BT: ids, padded with any id.
        is_token_BT: False where a row is padded; no token attends there.
        config: the model's.
        plan: which function computes each formula.
        segments_BT: the kind of segment of each token; none: 0 everywhere.
        noise: dropout, in training.
        watch: sees the stream after the embedding and after each half block.

    Raises:
        ValueError: rows are longer than the model's positions.
    """
    if tokens_BT.shape[1] > config.context_length:
        raise ValueError(
            f"rows must have at most {config.context_length} tokens, the model's positions; got {tokens_BT.shape[1]}"
        )
    x_BTD = params.token_embedding[tokens_BT] + params.position_embedding[: tokens_BT.shape[1]]
    if params.segment_embedding is not None:
        x_BTD += params.segment_embedding[0 if segments_BT is None else segments_BT]
    if config.norm == "post":
        x_BTD = plan.kernels.layer_norm(params.norm, x_BTD, config.norm_epsilon)
    at_embedding, *in_blocks = split(noise, 1 + len(params.blocks))
    x_BTD = watch("embedding", dropout(x_BTD.astype(plan.dtype), at_embedding))
    x_BTD = blocks(params.blocks, x_BTD, is_token_BT, config, plan, in_blocks, watch, "block")
    if config.norm == "pre":
        x_BTD = plan.kernels.layer_norm(params.norm, x_BTD, config.norm_epsilon)
    return x_BTD


def blocks(
    layers: Sequence[Block],
    x_BTD: Float[Array, "B T D"],
    is_token_BT: Bool[Array, "B T"],
    config: EncoderConfig,
    plan: Plan,
    noises: Sequence[Dropout | None],
    watch: Watch,
    name: str,
) -> Float[Array, "B T D"]:
    """All blocks. Every token attends to every other, but not to padding. `name`: of a block, for `watch`."""
    mask_BTS = jnp.broadcast_to(is_token_BT[:, None, :], (*is_token_BT.shape, is_token_BT.shape[1]))
    for number, (layer, noise) in enumerate(zip(layers, noises, strict=True), 1):
        x_BTD = block(layer, x_BTD, mask_BTS, config, plan, noise, in_block(watch, f"{name} {number}"))
    return x_BTD


def block(
    params: Block,
    x_BTD: Float[Array, "B T D"],
    mask_BTS: Bool[Array, "B T S"],
    config: EncoderConfig,
    plan: Plan,
    noise: Dropout | None = None,
    watch: Watch = unwatched,
) -> Float[Array, "B T D"]:
    """One block: attention, then the MLP, each with its norm and its residual connection."""
    after_attention, after_mlp = split(noise, 2)
    linear = plan.kernels.linear

    def mixed(x_BTD: Array) -> Array:
        q_BTNH, k_BSNH, v_BSNH = queries_keys_values(params.attention.qkv, x_BTD, linear)
        heads_BTNH = attend(q_BTNH, k_BSNH, v_BSNH, mask_BTS)
        return dropout(linear(params.attention.out, heads_BTNH, n_inputs=2), after_attention)

    def hidden(x_BTD: Array) -> Array:
        return dropout(mlp(params.mlp, x_BTD, ACTIVATIONS[config.activation], linear), after_mlp)

    for name, half, norm in (("after attention", mixed, params.norm_1), ("after MLP", hidden, params.norm_2)):
        x_BTD = residual(half, x_BTD, norm, plan.kernels.layer_norm, config.norm, config.norm_epsilon)
        x_BTD = watch(name, x_BTD)
    return x_BTD


def in_block(watch: Watch, block: str) -> Watch:
    """A watch for the places of one block, whose names begin with the block's."""
    return lambda place, x_BTD: watch(f"{block}, {place}", x_BTD)


def masked_logits(
    params: Encoder, hidden_BTD: Float[Array, "B T D"], config: EncoderConfig, plan: Plan
) -> Float[Array, "B T V"]:
    """The logits of every position's token, in float32. Raises ValueError for a model without that head."""
    head = params.masked_head
    if head is None:
        raise ValueError("this encoder has no head for masked tokens: build it with has_masked_head=True")
    x_BTD = ACTIVATIONS[config.activation](plan.kernels.linear(head.dense, hidden_BTD))
    x_BTD = plan.kernels.layer_norm(head.norm, x_BTD, config.norm_epsilon)
    products_BTV = jnp.einsum("BTD,VD->BTV", x_BTD, params.token_embedding, preferred_element_type=jnp.float32)
    return products_BTV + head.bias
