"""How a model is computed: number format, kernels, unrolled or scanned layers, rematerialisation.

These settings change speed, memory and rounding, never the function.
"""

from dataclasses import dataclass
from typing import Literal

from llm_jax.config.values import refuse_no_count, refuse_unknown

Weights = Literal["auto", "float32", "bf16", "int8"]
NUMBERS = {"float32": "float32", "bf16": "bfloat16", "int8": "int8"}  # a format of `Weights` → its name in NumPy


@dataclass(frozen=True)
class Execution:
    """How a model is computed; never what it computes."""

    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Compute format of matrix products and the residual stream; auto: bfloat16 on a GPU, float32 on a CPU."""
    attention: Literal["auto", "xla", "cudnn"] = "auto"
    """Attention kernel; auto: cuDNN on a GPU in bfloat16, XLA elsewhere."""
    scan_layers: bool = False
    """One compiled block, scanned over the layers: compiles faster, runs slower than the unrolled default."""
    remat: bool = False
    """Recompute each block's activations in the backward pass: memory O(1) in depth for a third more FLOPs."""
    loss_chunks: int = 1
    """Cross-entropy is computed in this many slices of the sequence: only one slice's logits exist at a time."""
    kernels: Literal["auto", "plain"] = "auto"
    """auto: the fast kernels for this machine; plain: every formula as a textbook writes it, to step through."""

    def __post_init__(self) -> None:
        for name in ("dtype", "attention", "kernels"):
            refuse_unknown(self, name)
        refuse_no_count("loss_chunks", self.loss_chunks)
