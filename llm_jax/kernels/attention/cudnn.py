"""Causal attention by cuDNN's fused kernel, for GPUs in bfloat16: the scores are never written to memory.

Without passes over the scores, the products of attention need at least 35 ms of a GPT-2 124M step of 524,288 tokens on
an H200 (a bound from `benchmarks/gpu_compiled.py`). It was not compared with `in_pieces` on a GPU.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from llm_jax.kernels.attention.in_pieces import attend_in_pieces
from llm_jax.shapes import Array, Float

MOST_D_HEAD = 128  # the widest head that cuDNN's kernels support on every GPU


def attend_by_cudnn(
    q_BTNH: Float[Array, "B T N H"],
    k_BTKH: Float[Array, "B T K H"],
    v_BTKH: Float[Array, "B T K H"],
    implementation: Literal["cudnn", "xla"] = "cudnn",
    attend: Callable[..., Array] = jax.nn.dot_product_attention,
) -> Float[Array, "B T N H"]:
    """softmax(q·kᵀ/√H)·v, causal; cuDNN takes grouped heads as they are.

    A head width that cuDNN does not support is computed in pieces.

    Args:
        implementation: is passed to `attend`; "xla" computes the same call on a machine without cuDNN.
        attend: JAX's function, or a test's that takes the same arguments.
    """
    length, d_head = q_BTNH.shape[1], q_BTNH.shape[3]
    if d_head % 8 or d_head > MOST_D_HEAD:
        return attend_in_pieces(q_BTNH, k_BTKH, v_BTKH)
    # cuDNN needs an even length. No earlier token attends to the token added at the end.
    q_BTNH, k_BTKH, v_BTKH = (jnp.pad(x, ((0, 0), (0, length % 2), (0, 0), (0, 0))) for x in (q_BTNH, k_BTKH, v_BTKH))
    # is_causal, not a mask: cuDNN has no training kernel for a mask alone (jax#28974).
    mixed_BTNH = attend(q_BTNH, k_BTKH, v_BTKH, is_causal=True, implementation=implementation)
    return mixed_BTNH[:, :length]
