"""Cross-attention to a picture (Flamingo, Alayrac et al. 2022): the third way beside early and embedded fusion.

The picture takes no positions. Before each block of the decoder stands a further layer, x + tanh(α)·attention(norm(x),
vectors), whose queries are the text's and whose keys and values are the patches'. α is 0 at first, so the decoder
begins as it was. The patches' vectors are normalised, and positions are added to them: a vector says what is there,
and, where the tower did not need it, not which patch it is. Left out: Flamingo's resampler, which makes many patches
few, and its gated MLP.
"""

import jax
import jax.numpy as jnp

from llm_jax.config import DecoderConfig
from llm_jax.kernels.plan import Plan
from llm_jax.layers.attention import attend
from llm_jax.layers.linear import init_linear
from llm_jax.layers.norm import RMSNorm, init_rms_norm
from llm_jax.layers.projections import Attention, Projections
from llm_jax.models import decoder
from llm_jax.shapes import Array, Float, Int, Key, pytree


@pytree
class Gated:
    """One layer; `gate` is α."""

    norm: RMSNorm
    norm_seen: RMSNorm
    position_PE: Float[Array, "P E"]  # of the patches
    attention: Attention
    gate: Float[Array, ""]


def init(key: Key[Array, ""], config: DecoderConfig, n_patches: int, seen: int) -> tuple[Gated, ...]:
    """One layer for each block; `seen` is the width of the patches' vectors."""

    def one(key: Key[Array, ""]) -> Gated:
        q, k, v, out, positions = jax.random.split(key, 5)
        width, heads, deviation = (config.d_model,), (config.n_heads, config.d_head), config.d_model**-0.5
        projections = Projections(
            init_linear(q, width, heads, deviation, has_bias=False),
            init_linear(k, (seen,), heads, seen**-0.5, has_bias=False),
            init_linear(v, (seen,), heads, seen**-0.5, has_bias=False),
        )
        attention = Attention(qkv=projections, out=init_linear(out, heads, width, deviation, has_bias=False))
        position_PE = jax.random.normal(positions, (n_patches, seen))
        return Gated(init_rms_norm(config.d_model), init_rms_norm(seen), position_PE, attention, jnp.zeros(()))

    return tuple(map(one, jax.random.split(key, config.n_layers)))


def look(
    layer: Gated, x_BTD: Float[Array, "B T D"], vectors_BPE: Float[Array, "B P E"], config: DecoderConfig, plan: Plan
) -> Float[Array, "B T D"]:
    """x + tanh(α)·attention(norm(x), vectors); every position sees every patch."""
    linear, projections = plan.kernels.linear, layer.attention.qkv
    assert isinstance(projections, Projections)
    normal_BTD = plan.kernels.rms_norm(layer.norm, x_BTD, config.norm_epsilon)
    q_BTNH = linear(projections.q, normal_BTD)
    seen_BPE = plan.kernels.rms_norm(layer.norm_seen, vectors_BPE, config.norm_epsilon) + layer.position_PE
    k_BPNH, v_BPNH = linear(projections.k, seen_BPE), linear(projections.v, seen_BPE)
    everything = jnp.ones((1, x_BTD.shape[1], vectors_BPE.shape[1]), bool)
    mixed_BTD = linear(layer.attention.out, attend(q_BTNH, k_BPNH, v_BPNH, everything), n_inputs=2)
    return x_BTD + jnp.tanh(layer.gate) * mixed_BTD


def forward(
    text: decoder.Decoder,
    layers: tuple[Gated, ...],
    tokens_BT: Int[Array, "B T"],
    vectors_BPE: Float[Array, "B P E"],
    config: DecoderConfig,
    plan: Plan,
    branches_BT: Int[Array, "B T"] | None = None,
) -> Float[Array, "B T D"]:
    """The decoder's hidden states, with a layer of cross-attention before each block.

    `branches_BT` keeps apart several texts about one picture (`llm_jax.layers.packing`).
    """
    before = {"embedding": 0} | {f"block {number}, after MLP": number for number in range(1, config.n_layers)}

    def watch(place: str, x_BTD: Array) -> Array:
        return look(layers[before[place]], x_BTD, vectors_BPE, config, plan) if place in before else x_BTD

    return decoder.forward(text, tokens_BT, config, plan, watch=watch, branches_BT=branches_BT)[0]
