"""GPT-2 (Radford et al. 2019) as pure functions over a tree of parameters: the one GPT of this code base.

    embed   token + position
    block   x + attention(norm(x)), then x + mlp(norm(x))      × L
    norm    and the embedding again as the head

One `forward` serves training, prefill and cached decoding. `dimension_letters` labels every parameter's axes;
`llm_jax.sharding` maps the letters to a mesh, the optimizer tells matrices from vectors by them. Dropout, for those
who ask for it, is where GPT-2 has it. Left out: that of the attention weights, which fused kernels do not have.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout, with_layout_constraint

from llm_jax.config import Execution, GPTConfig
from llm_jax.layers import cache as kv
from llm_jax.layers.attention import Attention, Kernel, attention, init_attention
from llm_jax.layers.dropout import Dropout, dropout, split
from llm_jax.layers.linear import Linear
from llm_jax.layers.loss import cross_entropy, tied_logits
from llm_jax.layers.mlp import MLP, init_mlp, mlp
from llm_jax.layers.norm import Norm, init_norm, layer_norm
from llm_jax.shapes import Array, Float, Int, Key, pytree


@pytree
class Block:
    norm_1: Norm
    attention: Attention
    norm_2: Norm
    mlp: MLP


@pytree
class GPT:
    token_embedding: Float[Array, "V D"]  # V padded; also the head
    position_embedding: Float[Array, "P D"]
    blocks: tuple[Block, ...]
    norm: Norm


class Plan(NamedTuple):
    """An Execution with every `auto` decided for the machine at hand; hashable, so `jit` can hold it as static."""

    dtype: jnp.dtype
    kernel: Kernel
    execution: Execution
    constrain: Callable[[Array, str], Array] | None  # places an activation on a mesh by its dimension letters


def plan(execution: Execution, constrain: Callable[[Array, str], Array] | None = None) -> Plan:
    """Decides number format and attention kernel by what the default device can do.

    Raises ValueError if cuDNN attention is asked for where it cannot run.
    """
    on_gpu = jax.default_backend() == "gpu"
    name = execution.dtype if execution.dtype != "auto" else "bfloat16" if on_gpu else "float32"
    can_fuse = on_gpu and name == "bfloat16"
    if execution.attention == "cudnn" and not can_fuse:
        raise ValueError(
            f"attention=cudnn needs a GPU and bfloat16; got {jax.default_backend()} and {name}: use attention=xla"
        )
    kernel = execution.attention if execution.attention != "auto" else "cudnn" if can_fuse else "xla"
    return Plan(jnp.dtype(name), kernel, execution, constrain)


def init(key: Key[Array, ""], config: GPTConfig) -> GPT:
    """Fresh float32 parameters: normal(0, 0.02), residual projections 0.02/√(2L), zero biases, unit gains.

    The rows that pad the vocabulary are zero, and stay zero: no loss reaches them.
    """
    std, residual_std = 0.02, 0.02 / math.sqrt(2 * config.n_layers)
    token_key, position_key, *block_keys = jax.random.split(key, 2 + config.n_layers)

    def init_block(block_key: Key[Array, ""]) -> Block:
        attention_key, mlp_key = jax.random.split(block_key)
        return Block(
            norm_1=init_norm(config.d_model),
            attention=init_attention(attention_key, config.d_model, config.n_heads, std, residual_std),
            norm_2=init_norm(config.d_model),
            mlp=init_mlp(mlp_key, config.d_model, config.d_hidden, std, residual_std),
        )

    tokens_VD = std * jax.random.normal(token_key, (config.vocab_size, config.d_model))
    return GPT(
        token_embedding=jnp.pad(tokens_VD, ((0, config.padded_vocab_size - config.vocab_size), (0, 0))),
        position_embedding=std * jax.random.normal(position_key, (config.context_length, config.d_model)),
        blocks=tuple(map(init_block, block_keys)),
        norm=init_norm(config.d_model),
    )


def dimension_letters(config: GPTConfig) -> GPT:
    """A tree shaped like the parameters whose leaves name their dimensions, one letter (or the 3 of qkv) an axis."""
    token, position, vector = _letters("VD"), _letters("PD"), _letters("D")
    return GPT(
        token_embedding=token,
        position_embedding=position,
        blocks=(_block_letters(),) * config.n_layers,
        norm=Norm(gain=vector, bias=vector),
    )


def _block_letters() -> Block:
    def affine(inputs: str, outputs: str) -> Linear:
        return Linear(weight=_letters(inputs + outputs), bias=_letters(outputs))

    norm = Norm(gain=_letters("D"), bias=_letters("D"))
    return Block(
        norm_1=norm,
        attention=Attention(qkv=affine("D", "3NH"), out=affine("NH", "D")),
        norm_2=norm,
        mlp=MLP(up=affine("D", "F"), down=affine("F", "D")),
    )


def cast(params: GPT, how: Plan) -> GPT:
    """The blocks' weights in the compute format, cast once per step rather than at every use.

    Embeddings stay float32: their gradient is the sum of a scatter and the head's, and both are made in float32.
    Biases and norms are small enough to cast where they are used.
    """

    def cast_matrix(x: Array, letters: str) -> Array:
        return x.astype(how.dtype) if "D" in letters and len(letters) > 1 else x

    letters = _block_letters()
    blocks = tuple(jax.tree.map(cast_matrix, block, letters) for block in params.blocks)
    return dataclasses.replace(params, blocks=blocks)


def empty_cache(config: GPTConfig, batch: int, length: int, dtype: jnp.dtype) -> kv.Cache:
    """A cache for `batch` rows of up to `length` tokens: 2·L·D·length·batch numbers."""
    return kv.empty(config.n_layers, config.n_heads, config.d_head, batch, length, dtype)


def forward(
    params: GPT,
    tokens_BT: Int[Array, "B T"],
    config: GPTConfig,
    how: Plan,
    cache: kv.Cache | None = None,
    noise: Dropout | None = None,
) -> tuple[Float[Array, "B T D"], kv.Cache | None]:
    """Tokens to the last hidden states (after the final norm); with a cache, from each row's own position on.

    Rows of a batch may be padded on the right: what comes after a row's end changes nothing before it. After a
    padded prefill, `cache.forget_padding` keeps the padding from being seen by what is decoded next. Raises ValueError
    for tokens of another shape, or more than there are positions (with a cache, padding may be: it is not counted).
    """
    longest = config.context_length if cache is None else math.inf
    if tokens_BT.ndim != 2 or not (tokens_BT.shape[0] and 0 < tokens_BT.shape[1] <= longest):
        raise ValueError(
            f"tokens must be rows of 1 to {config.context_length} ids, the model's context; got shape {tokens_BT.shape}"
        )
    window = None
    if cache is None:
        position = params.position_embedding[: tokens_BT.shape[1]]
    else:
        cache, window, positions_BT = kv.advance(cache, tokens_BT.shape[1])
        position = params.position_embedding.at[positions_BT].get(mode="clip")
    at_embedding, in_blocks = split(noise, 2)
    x_BTD = dropout((params.token_embedding[tokens_BT] + position).astype(how.dtype), at_embedding)
    x_BTD, layers = _blocks(params.blocks, x_BTD, config, how, cache, window, in_blocks)
    x_BTD = layer_norm(params.norm, x_BTD, config.norm_epsilon)
    if cache is not None:
        cache = dataclasses.replace(cache, layers=layers)
    return x_BTD, cache


def block(
    params: Block,
    x_BTD: Float[Array, "B T D"],
    config: GPTConfig,
    how: Plan,
    cache: kv.LayerCache | None = None,
    window: kv.Window | None = None,
    noise: Dropout | None = None,
) -> tuple[Float[Array, "B T D"], kv.LayerCache | None]:
    """One pre-norm Transformer block: x + attention(norm(x)), then x + mlp(norm(x))."""
    normal_BTD = layer_norm(params.norm_1, x_BTD, config.norm_epsilon)
    mixed_BTD, cache = attention(params.attention, normal_BTD, cache, window, how.kernel)
    after_attention, after_mlp = split(noise, 2)
    x_BTD = _constrain(how, x_BTD + dropout(mixed_BTD, after_attention))
    x_BTD += dropout(mlp(params.mlp, layer_norm(params.norm_2, x_BTD, config.norm_epsilon)), after_mlp)
    return _constrain(how, x_BTD), cache


def _blocks(blocks, x_BTD, config, how: Plan, cache: kv.Cache | None, window: kv.Window | None, noise: Dropout | None):
    """All blocks in turn, unrolled or scanned; returns the stream and the layers' caches."""
    one = partial(block, config=config, how=how, window=window)
    if how.execution.remat:
        one = jax.checkpoint(one)
    x_BTD = _constrain(how, x_BTD)
    noises = split(noise, len(blocks))
    if how.execution.scan_layers and cache is None:
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *zip(blocks, noises, strict=True))
        x_BTD, _ = jax.lax.scan(lambda x, layer: (one(layer[0], x, noise=layer[1])[0], None), x_BTD, stacked)
        return x_BTD, ()
    layers = []
    for index, layer in enumerate(blocks):
        x_BTD, layer_cache = one(layer, x_BTD, cache=cache.layers[index] if cache else None, noise=noises[index])
        layers.append(layer_cache)
    return x_BTD, tuple(layers)


def logits(params: GPT, hidden: Float[Array, "*rest D"], config: GPTConfig) -> Float[Array, "*rest V"]:
    """Next-token logits in float32, padding cut off: V is `config.vocab_size`."""
    return tied_logits(hidden, params.token_embedding, config.vocab_size)[..., : config.vocab_size]


def loss(
    params: GPT,
    tokens_BT: Int[Array, "B T"],
    targets_BT: Int[Array, "B T"],
    config: GPTConfig,
    how: Plan,
    weights_BT: Float[Array, "B T"] | None = None,
) -> Float[Array, ""]:
    """Mean next-token cross-entropy in nats (weighted by `weights_BT` where given)."""
    hidden_BTD, _ = forward(params, tokens_BT, config, how)
    if weights_BT is None:
        weights_BT = jnp.ones(targets_BT.shape, jnp.float32)
    return cross_entropy(
        hidden_BTD,
        params.token_embedding,
        targets_BT,
        weights_BT,
        config.vocab_size,
        how.execution.loss_chunks,
    )


def _letters(text: str) -> Any:
    """A string where a parameter's annotation expects an array: leaves of `dimension_letters` are strings."""
    return text


def _constrain(how: Plan, x_BTD: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
    if jax.default_backend() == "gpu":
        # A token's D numbers lie side by side. XLA would put the batch innermost, where the sum over it that makes the
        # positions' gradient wants it, and turn the stream around at every norm and back at every product.
        x_BTD = with_layout_constraint(x_BTD, Layout(major_to_minor=(0, 1, 2)))
    return how.constrain(x_BTD, "BTD") if how.constrain else x_BTD
