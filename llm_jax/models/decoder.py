"""The decoder as pure functions over a tree of parameters: GPT-2 (Radford et al. 2019), Llama (Touvron et al. 2023), …

    embed   token (+ position, where positions are learned)
    block   x + attention(norm(x)), then x + mlp(norm(x))      × L
    norm    then the head: logits = h·Wᵀ, where W is the token embedding (tied) or a matrix of its own

The families differ in a config (`llm_jax.config.DecoderConfig`). One `forward` serves training, prefill and cached
decoding. A plan (`llm_jax.kernels.plan`) names the function that computes each formula. Every axis of a parameter has a
letter (`llm_jax.models.decoder_parameters`): `llm_jax.sharding` maps letters to mesh axes, and the optimizer tells
matrices from vectors by them. Dropout is applied where GPT-2 applies it, except to the attention weights, because fused
kernels do not support that.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from llm_jax.config import DecoderConfig
from llm_jax.kernels.plan import FORMULAS
from llm_jax.kernels.plan import Plan as Plan
from llm_jax.kernels.plan import make_plan as make_plan
from llm_jax.layers import cache as kv
from llm_jax.layers import packing
from llm_jax.layers.adapted import with_adapters
from llm_jax.layers.dropout import Dropout, dropout, split
from llm_jax.layers.linear import Linear
from llm_jax.layers.mlp import ACTIVATIONS, mlp
from llm_jax.layers.projections import Attention, queries_keys_values
from llm_jax.layers.rotary import Rotation, rotate, rotation
from llm_jax.models.decoder_parameters import Block as Block
from llm_jax.models.decoder_parameters import Decoder as Decoder
from llm_jax.models.decoder_parameters import dimension_letters as dimension_letters
from llm_jax.models.decoder_parameters import init as init
from llm_jax.models.watch import Watch, unwatched
from llm_jax.shapes import Array, Float, Int


def cast(params: Decoder, config: DecoderConfig, plan: Plan) -> Decoder:
    """Casts the blocks' matrices, those of adapters too, to the compute format: once per step, not at every use.

    Embeddings and head stay float32, because their gradients are summed in float32 (the embedding's from a scatter and,
    if it is tied, from the head). Biases and norms are small; they are cast where they are used.
    """

    def cast_weight(layer: Any) -> Any:
        is_linear = isinstance(layer, Linear)
        return dataclasses.replace(layer, weight=layer.weight.astype(plan.dtype)) if is_linear else layer

    blocks = jax.tree.map(cast_weight, params.blocks, is_leaf=lambda layer: isinstance(layer, Linear))
    return dataclasses.replace(params, blocks=blocks)


def empty_cache(config: DecoderConfig, batch: int, length: int, dtype: DTypeLike) -> kv.Cache:
    """A cache for `batch` rows of up to `length` tokens: 2·L·K·H·length·batch numbers."""
    return kv.empty(config.n_layers, config.kv_heads, config.d_head, batch, length, dtype)


def forward(
    params: Decoder,
    tokens_BT: Int[Array, "B T"],
    config: DecoderConfig,
    plan: Plan,
    cache: kv.Cache | None = None,
    noise: Dropout | None = None,
    watch: Watch = unwatched,
    segments_BT: Int[Array, "B T"] | None = None,
    branches_BT: Int[Array, "B T"] | None = None,
    embedded_BTD: Float[Array, "B T D"] | None = None,
) -> tuple[Float[Array, "B T D"], kv.Cache | None]:
    """Computes the hidden states of the last layer, after the final norm.

    With a cache, each row continues at its own position. Rows may be padded on the right: padding does not change the
    hidden states before it. After a padded prefill, call `cache.forget_padding`, so that tokens decoded later do not
    attend to the padding. `watch` sees the residual stream after the embedding and after each half block, where layers
    are neither scanned nor rematerialised. `segments_BT` keeps the texts of a packed row apart, `branches_BT` those
    with a common beginning (`llm_jax.layers.packing`). `embedded_BTD` takes the place of the tokens' embeddings, for
    vectors that are no token's (`llm_jax.models.vision_language`).

    Raises:
        ValueError: `tokens_BT` is not (rows, tokens), or has more tokens than the model has positions. With a cache the
            length is not checked, because padding may exceed the positions. Packed rows have a cache, or a plan that
            asks for cuDNN.
    """
    longest = config.context_length if cache is None else math.inf
    if tokens_BT.ndim != 2 or not (tokens_BT.shape[0] and 0 < tokens_BT.shape[1] <= longest):
        raise ValueError(
            f"tokens must be rows of 1 to {config.context_length} ids, the model's context; got shape {tokens_BT.shape}"
        )
    positions, window = jnp.arange(tokens_BT.shape[1]), None
    if cache is not None and not (segments_BT is None and branches_BT is None):
        raise ValueError("packed rows have no cache: leave out segments_BT and branches_BT, or the cache")
    if branches_BT is not None:
        positions, plan = packing.branch_positions(branches_BT), plan.branched(branches_BT)
    if segments_BT is not None:
        starts_BT = packing.starts(segments_BT)
        positions, plan = positions - starts_BT, plan.packed(starts_BT)
    if cache is not None:
        cache, window, positions = kv.advance(cache, tokens_BT.shape[1])
    x_BTD = _looked_up(plan, params.token_embedding, tokens_BT) if embedded_BTD is None else embedded_BTD
    if params.position_embedding is None:
        by = rotation(config, positions)
    elif positions.ndim == 1:
        by, x_BTD = None, x_BTD + params.position_embedding[: tokens_BT.shape[1]]
    else:
        by, x_BTD = None, x_BTD + params.position_embedding.at[positions].get(mode="clip")
    at_embedding, in_blocks = split(noise, 2)
    x_BTD = dropout(x_BTD.astype(plan.dtype), at_embedding)
    x_BTD, layers = _blocks(params.blocks, x_BTD, config, plan, cache, window, by, in_blocks, watch)
    x_BTD = norm(config, plan)(params.norm, x_BTD, config.norm_epsilon)
    if cache is not None:
        cache = dataclasses.replace(cache, layers=layers)
    return x_BTD, cache


def block(
    params: Block,
    x_BTD: Float[Array, "B T D"],
    config: DecoderConfig,
    plan: Plan,
    cache: kv.LayerCache | None = None,
    window: kv.Window | None = None,
    by: Rotation | None = None,
    noise: Dropout | None = None,
    number: int | Int[Array, ""] = 0,
    watch: Watch = unwatched,
) -> tuple[Float[Array, "B T D"], kv.LayerCache | None]:
    """One pre-norm Transformer block: x + attention(norm(x)), then x + mlp(norm(x)). `number` is the layer, from 0.

    `by` rotates queries and keys, where positions are rotary.
    """
    normalise = norm(config, plan)
    normal_BTD = normalise(params.norm_1, x_BTD, config.norm_epsilon)
    mixed_BTD, cache = attention(params.attention, normal_BTD, config, plan, cache, window, by, number)
    after_attention, after_mlp = split(noise, 2)
    x_BTD = watch("after attention", _constrain(plan, x_BTD + dropout(mixed_BTD, after_attention)))
    normal_BTD = normalise(params.norm_2, x_BTD, config.norm_epsilon)
    hidden_BTD = mlp(params.mlp, normal_BTD, activation(config, plan), with_adapters(plan.kernels.linear))
    return watch("after MLP", _constrain(plan, x_BTD + dropout(hidden_BTD, after_mlp))), cache


def norm(config: DecoderConfig, plan: Plan) -> Callable[..., Array]:
    """The function that computes the model's norm."""
    return plan.kernels.layer_norm if config.norm == "layer" else plan.kernels.rms_norm


def activation(config: DecoderConfig, plan: Plan) -> Callable[[Array], Array]:
    """The MLP's activation function: the plan's kernel for GPT-2's GELU, the formula for any other."""
    return plan.kernels.gelu_tanh if config.activation == "gelu_tanh" else ACTIVATIONS[config.activation]


def _score_factor(config: DecoderConfig, number: int | Int[Array, ""]) -> float | Array | None:
    """The factor by which the scores of layer `number` are multiplied beside 1/√H; None if it is 1."""
    if config.scale_scores and not config.scale_scores_by_layer:
        return None
    factor = 1.0 if config.scale_scores else math.sqrt(config.d_head)
    return factor / (number + 1) if config.scale_scores_by_layer else factor


def attention(
    layer: Attention,
    x_BTD: Float[Array, "B T D"],
    config: DecoderConfig,
    plan: Plan,
    cache: kv.LayerCache | None = None,
    window: kv.Window | None = None,
    by: Rotation | None = None,
    number: int | Int[Array, ""] = 0,
) -> tuple[Float[Array, "B T D"], kv.LayerCache | None]:
    """Projects to queries, keys and values, attends, and projects back to the model's width.

    With a cache, the keys and values of the chunk are written at `window.start`; then its queries attend to every token
    that their row has written so far. Keys are stored rotated.
    """
    kernels, linear = plan.kernels, with_adapters(plan.kernels.linear)
    # A chunk as long as the cache has no earlier tokens: prefill attends as training does.
    alone = cache is None or window is None or cache.k_RSH.shape[1] == x_BTD.shape[1]
    if alone and kernels.projections_apart and config.is_qkv_fused:
        q_BTNH, k_BTKH, v_BTKH = with_adapters(kernels.projections_apart, linear)(layer.qkv, x_BTD)
    else:
        q_BTNH, k_BTKH, v_BTKH = queries_keys_values(layer.qkv, x_BTD, linear)
    if layer.q_norm is not None and layer.k_norm is not None:
        q_BTNH = kernels.rms_norm(layer.q_norm, q_BTNH, config.norm_epsilon)
        k_BTKH = kernels.rms_norm(layer.k_norm, k_BTKH, config.norm_epsilon)
    if by is not None:
        q_BTNH, k_BTKH = rotate(q_BTNH, by), rotate(k_BTKH, by)
    if (factor := _score_factor(config, number)) is not None:
        # Into the queries, which scales the scores: so kernels do not have to support it.
        q_BTNH = (q_BTNH * jnp.float32(factor)).astype(q_BTNH.dtype)
    if cache is not None and window is not None:
        cache = kv.write(cache, k_BTKH, v_BTKH, window.start)
    if alone:
        mixed_BTNH = kernels.causal_attend(q_BTNH, k_BTKH, v_BTKH)
    else:
        assert window is not None
        mixed_BTNH = kernels.cached_attend(q_BTNH, cache, window.mask_BTS)
    return linear(layer.out, mixed_BTNH, n_inputs=2), cache


def _blocks(
    blocks,
    x_BTD,
    config,
    plan: Plan,
    cache: kv.Cache | None,
    window: kv.Window | None,
    by: Rotation | None,
    noise: Dropout | None,
    watch: Watch = unwatched,
):
    """Applies all blocks, unrolled or by `lax.scan`. Returns the residual stream and the caches of the layers."""
    one = partial(block, config=config, plan=plan, window=window, by=by)
    if plan.execution.remat:
        one = jax.checkpoint(one)
    x_BTD = watch("embedding", _constrain(plan, x_BTD))
    noises = split(noise, len(blocks))
    if plan.execution.scan_layers and cache is None:
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *zip(blocks, noises, strict=True))
        numbered: Any = (*stacked, jnp.arange(len(blocks)))
        x_BTD, _ = jax.lax.scan(
            lambda x, layer: (one(layer[0], x, noise=layer[1], number=layer[2])[0], None), x_BTD, numbered
        )
        return x_BTD, ()
    layers = []
    for index, layer in enumerate(blocks):
        layer_cache = cache.layers[index] if cache else None
        here = one if plan.execution.remat else partial(one, watch=_in_block(watch, index))
        x_BTD, layer_cache = here(layer, x_BTD, cache=layer_cache, noise=noises[index], number=index)
        layers.append(layer_cache)
    return x_BTD, tuple(layers)


def _in_block(watch: Watch, index: int) -> Watch:
    return lambda place, x_BTD: watch(f"block {index + 1}, {place}", x_BTD)


def logits(
    params: Decoder, hidden: Float[Array, "*rest D"], config: DecoderConfig, plan: Plan | None = None
) -> Float[Array, "*rest V"]:
    """Next-token logits in float32, without the padding: V is `config.vocab_size`. Without a plan, by the formula."""
    kernels = plan.kernels if plan else FORMULAS
    return kernels.logits_of(hidden, params.head_VD, config.vocab_size)[..., : config.vocab_size]


def loss(
    params: Decoder,
    tokens_BT: Int[Array, "B T"],
    targets_BT: Int[Array, "B T"],
    config: DecoderConfig,
    plan: Plan,
    weights_BT: Float[Array, "B T"] | None = None,
    segments_BT: Int[Array, "B T"] | None = None,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Next-token cross-entropy: Σ weight·loss in nats, and Σ weight.

    Without `weights_BT` every weight is 1. `segments_BT` as in `forward`; a target that begins another text must have
    weight 0. For a mean the caller divides once, after all sums are complete.
    """
    hidden_BTD, _ = forward(params, tokens_BT, config, plan, segments_BT=segments_BT)
    if weights_BT is None:
        weights_BT = jnp.ones(targets_BT.shape, jnp.float32)

    def of_rows(head_VD: Any, hidden_BTD: Any, targets_BT: Any, weights_BT: Any) -> tuple[Any, Any]:
        chunks = plan.execution.loss_chunks
        return plan.kernels.cross_entropy(hidden_BTD, head_VD, targets_BT, weights_BT, config.vocab_size, chunks)

    arguments = (params.head_VD, hidden_BTD, targets_BT, weights_BT)
    total, weight = of_rows(*arguments) if plan.constrain is None else plan.constrain.summed(of_rows, *arguments)
    return total, weight


def _looked_up(plan: Plan, table_VD: Any, tokens_BT: Int[Array, "B T"]) -> Any:
    return table_VD[tokens_BT] if plan.constrain is None else plan.constrain.looked_up(table_VD, tokens_BT)


def _constrain(plan: Plan, x_BTD: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
    lay_out = plan.kernels.lay_out_stream
    if plan.constrain is None:
        return lay_out(x_BTD) if lay_out else x_BTD
    if lay_out:
        x_BTD = plan.constrain.on_each_device(lay_out, x_BTD, "BTD")
    return plan.constrain(x_BTD, "BTD")
