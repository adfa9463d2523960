"""Causal attention by cuDNN's fused kernel: on a GPU in bfloat16 the scores are never in memory.

With no pass over scores, attention's products need at least 35 ms of a step of 524,288 tokens of GPT-2 124M on an H200
(a bound, from `benchmarks/gpu_compiled.py`); against pieces it was not measured on a GPU.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from llm_jax.kernels.attention_in_pieces import attend_in_pieces
from llm_jax.shapes import Array, Float

WIDEST = 128  # head of cuDNN's kernels on every GPU that has them


def attend_by_cudnn(
    q_BTNH: Float[Array, "B T N H"],
    k_BTNH: Float[Array, "B T N H"],
    v_BTNH: Float[Array, "B T N H"],
    implementation: Literal["cudnn", "xla"] = "cudnn",
) -> Float[Array, "B T N H"]:
    """softmax(q·kᵀ/√H)·v, each position over itself and those before it; heads that cuDNN does not take, in pieces.

    `implementation` is JAX's: "xla" computes the same call on a machine without cuDNN.
    """
    length, d_head = q_BTNH.shape[1], q_BTNH.shape[3]
    if d_head % 8 or d_head > WIDEST:
        return attend_in_pieces(q_BTNH, k_BTNH, v_BTNH)
    # Its lengths are even: one more token at the end is seen by none of those before it.
    q_BTNH, k_BTNH, v_BTNH = (jnp.pad(x, ((0, 0), (0, length % 2), (0, 0), (0, 0))) for x in (q_BTNH, k_BTNH, v_BTNH))
    # is_causal, not a mask: cuDNN has no training kernel for a mask alone (jax#28974).
    mixed_BTNH = jax.nn.dot_product_attention(q_BTNH, k_BTNH, v_BTNH, is_causal=True, implementation=implementation)
    return mixed_BTNH[:, :length]
