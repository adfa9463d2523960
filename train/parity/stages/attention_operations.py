"""Attention in section 1: the rotation of rotary positions, and attention without and with a KV-cache.

Attention is built as the model's config says: one projection to queries, keys and values or three, with or without
biases, norms of queries and keys, rotation, and shared heads of keys and values. The inputs give scores of standard
deviation 1, so a missing 1/√H visibly sharpens the softmax.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.nn import functional as F
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from llm_jax.config import DecoderConfig
from llm_jax.kernels.attention.in_pieces import attend_in_pieces
from llm_jax.layers import cache as kv
from llm_jax.layers.linear import Linear
from llm_jax.layers.norm import RMSNorm
from llm_jax.layers.projections import Attention, Projections
from llm_jax.models import decoder
from train.parity.stages.models_compared import ModelsCompared
from train.parity.stages.operation import Draw, Operation


def rotary(models: ModelsCompared, draw: Draw, batch: int, length: int) -> Operation:
    """The rotation alone. Attention depends on relative positions only, so it cannot show a shift of all positions."""
    config, plan = models.ours.config, models.ours.plan

    def rotate(x: jax.Array) -> jax.Array:
        return decoder.rotate(x.astype(plan.dtype), decoder.rotation(config, jnp.arange(length)))

    def torch_rotate(x: torch.Tensor) -> torch.Tensor:
        return _torch_rotation(models, x)(x.transpose(1, 2)).transpose(1, 2)

    return Operation(
        "rotary positions", {"x": draw(batch, length, config.n_heads, config.d_head)}, rotate, torch_rotate
    )


def attention_operations(models: ModelsCompared, draw: Draw, batch: int, length: int) -> Iterator[Operation]:
    """Attention as training computes it and, with a cache, as decoding does."""
    config, plan = models.ours.config, models.ours.plan

    def theirs(x: torch.Tensor, **weights: torch.Tensor) -> torch.Tensor:
        return _torch_attention(models, x, **weights)

    def ours(x: jax.Array, plan: decoder.Plan = plan, **weights: jax.Array) -> jax.Array:
        rotation = decoder.rotation(config, jnp.arange(length)) if config.positions == "rotary" else None
        return decoder.attention(_layer(**weights), x.astype(plan.dtype), config, plan, by=rotation)[0]

    def by_xla(x: jax.Array, **weights: jax.Array) -> jax.Array:
        kernels = plan.kernels._replace(causal_attend=attend_in_pieces, projections_apart=None)
        return ours(x, plan=plan._replace(kernels=kernels), **weights)

    def cached(x: jax.Array, **weights: jax.Array) -> jax.Array:
        return _cached_attention(config, plan, x, _layer(**weights))

    inputs = {"x": draw(batch, length, config.d_model)} | _weights(config, draw)
    yield Operation("attention", inputs, ours, theirs)
    if plan.attention == "cudnn":
        yield Operation("attention by XLA", inputs, by_xla, theirs)
    yield Operation("attention with cache", inputs, cached, theirs)


def _weights(config: DecoderConfig, draw: Draw) -> dict[str, np.ndarray]:
    """Random weights, under the names that `_layer` and `_torch_attention` expect."""
    width, heads, kv_heads = config.d_model, (config.n_heads, config.d_head), (config.kv_heads, config.d_head)
    outputs = {"qkv": (3, *heads)} if config.is_qkv_fused else {"q": heads, "k": kv_heads, "v": kv_heads}
    weights = {}
    for name, shape in outputs.items():
        weights[name] = draw(width, *shape, spread=width**-0.5)
        if config.attention_bias != "none":
            weights[f"{name}_bias"] = draw(*shape, spread=0.2)
    if config.query_key_norm:
        weights |= {f"{name}_gain": 1 + draw(config.d_head, spread=0.2) for name in "qk"}
    weights["out"] = draw(*heads, width, spread=width**-0.5)
    return weights | ({"out_bias": draw(width, spread=0.2)} if config.attention_bias == "all" else {})


def _layer(**weights: jax.Array) -> Attention:
    def linear(name: str) -> Linear:
        return Linear(weights[name], weights.get(f"{name}_bias"))

    def norm(name: str) -> RMSNorm | None:
        return RMSNorm(weights[name]) if name in weights else None

    qkv = linear("qkv") if "qkv" in weights else Projections(linear("q"), linear("k"), linear("v"))
    return Attention(qkv=qkv, out=linear("out"), q_norm=norm("q_gain"), k_norm=norm("k_gain"))


def _cached_attention(config: DecoderConfig, plan: decoder.Plan, x: jax.Array, layer: Attention) -> jax.Array:
    """Attention over half of the sequence, then one token, then the rest: prefill, decoding, chunked prefill."""
    batch, length = x.shape[:2]
    cache = kv.empty(1, config.kv_heads, config.d_head, batch, length, plan.dtype)
    pieces, start = [], 0
    for end in (length // 2, length // 2 + 1, length):
        cache, window, positions = kv.advance(cache, end - start)
        rotation = decoder.rotation(config, positions) if config.positions == "rotary" else None
        piece, layer_cache = decoder.attention(
            layer, x[:, start:end].astype(plan.dtype), config, plan, cache.layers[0], window, rotation
        )
        cache, start = dataclasses.replace(cache, layers=(layer_cache,)), end
        pieces.append(piece)
    return jnp.concatenate(pieces, axis=1)


def _torch_attention(models: ModelsCompared, x: torch.Tensor, **weights: torch.Tensor) -> torch.Tensor:
    """PyTorch's attention, with the MATH backend: `Rounding` sees each product and the softmax as its own operation."""
    config = models.ours.config
    q, k, v = _torch_queries_keys_values(x, weights)
    if "q_gain" in weights:
        q = torch_rms_norm(q, weights["q_gain"], models.their_epsilon)
        k = torch_rms_norm(k, weights["k_gain"], models.their_epsilon)
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    if config.positions == "rotary":
        rotate = _torch_rotation(models, x)
        q, k = rotate(q), rotate(k)
    k, v = (part.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for part in (k, v))
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        scale = None if config.scale_scores else 1.0
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
    product = mixed.transpose(1, 2).flatten(2) @ weights["out"].flatten(0, 1)
    return product + weights["out_bias"] if "out_bias" in weights else product


def _torch_queries_keys_values(x: torch.Tensor, weights: dict[str, torch.Tensor]) -> Iterator[torch.Tensor]:
    """Queries, keys and values, each (B, T, heads, H)."""
    for i, name in enumerate("qkv"):
        weight, bias = (
            weights[f"qkv{suffix}"].select(-3, i) if "qkv" in weights else weights.get(f"{name}{suffix}")
            for suffix in ("", "_bias")
        )
        assert weight is not None
        product = x @ weight.flatten(1)
        product = product if bias is None else product + bias.flatten()
        yield product.unflatten(-1, weight.shape[1:])


def _torch_rotation(models: ModelsCompared, like: torch.Tensor) -> Any:
    """transformers' rotation of a tensor (B, heads, T, H), at positions 0 to T − 1; `like` is (B, T, …)."""
    cos, sin = models.theirs.model.rotary_emb(like, torch.arange(like.shape[1], device=like.device)[None])
    return lambda x: apply_rotary_pos_emb(x, x, cos, sin)[0]


def torch_rms_norm(x: torch.Tensor, gain: torch.Tensor, epsilon: float) -> torch.Tensor:
    """RMS norm as transformers computes it. A function instead of its module, because here the gain is an input."""
    wide = x.to(torch.float32)
    return gain * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)).to(x.dtype)
