"""A plan: the number format, and which function computes each formula on the machine at hand.

`make_plan` makes it once, from the device's platform and the flags; callers pass it down, and no function below asks
for the platform. A test or benchmark runs any kernel on any machine by
`plan._replace(kernels=plan.kernels._replace(…))`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from llm_jax.config import Execution
from llm_jax.kernels.attention.cached import attend_in_cache_layout
from llm_jax.kernels.attention.cudnn import attend_by_cudnn
from llm_jax.kernels.attention.in_pieces import (
    attend_branched_in_pieces,
    attend_in_pieces,
    attend_packed_in_pieces,
)
from llm_jax.kernels.gelu import gelu_tanh_from_x
from llm_jax.kernels.linear import linear_on_cpu, linear_on_gpu, output_first
from llm_jax.kernels.logits import logits_of_few
from llm_jax.kernels.loss import cross_entropy_on_cpu, cross_entropy_on_gpu
from llm_jax.kernels.norm import layer_norm_by_hand, rms_norm_by_hand
from llm_jax.kernels.projections_apart import projections_apart
from llm_jax.kernels.stream import width_innermost
from llm_jax.kernels.weighted import sums_of_weighted, total_of_weighted
from llm_jax.layers.attention import branched_attend, cached_attend, causal_attend, packed_attend
from llm_jax.layers.linear import Linear, linear
from llm_jax.layers.loss import cross_entropy, logits_of, of_all
from llm_jax.layers.mlp import gelu_tanh
from llm_jax.layers.norm import layer_norm, rms_norm
from llm_jax.shapes import Array

Kernel = Callable[..., Any]


class Kernels(NamedTuple):
    """The function that computes each formula. Defaults are the formulas; None means that there is no such step."""

    linear: Kernel = linear
    causal_attend: Kernel = causal_attend
    packed_attend: Kernel = packed_attend
    branched_attend: Kernel = branched_attend
    cached_attend: Kernel = cached_attend
    layer_norm: Kernel = layer_norm
    rms_norm: Kernel = rms_norm
    gelu_tanh: Kernel = gelu_tanh
    cross_entropy: Kernel = cross_entropy
    logits_of: Kernel = logits_of
    total_of: Kernel = of_all  # of a loss at positions, many of which may have no weight
    sums_of: Kernel = of_all  # the same for each row
    projections_apart: Kernel | None = None  # queries, keys and values from three products
    lay_out_stream: Callable[[Array], Array] | None = None  # the residual stream's layout in memory
    store: Callable[[Linear, int, str], Linear] | None = None  # how the blocks' weights are stored for decoding
    fewest_decode_rows: int = 1  # a decoding step's batch is padded to this many rows


FORMULAS = Kernels()
ON_CPU = Kernels(
    linear=linear_on_cpu,
    causal_attend=attend_in_pieces,
    packed_attend=attend_packed_in_pieces,
    branched_attend=attend_branched_in_pieces,
    cached_attend=attend_in_cache_layout,
    layer_norm=layer_norm_by_hand,
    rms_norm=rms_norm_by_hand,
    cross_entropy=cross_entropy_on_cpu,
    logits_of=logits_of_few,
    total_of=total_of_weighted,
    sums_of=sums_of_weighted,
    store=output_first,
)
ON_GPU = Kernels(
    linear=linear_on_gpu,
    causal_attend=attend_in_pieces,
    packed_attend=attend_packed_in_pieces,
    branched_attend=attend_branched_in_pieces,
    cached_attend=attend_in_cache_layout,
    layer_norm=layer_norm_by_hand,
    rms_norm=rms_norm_by_hand,
    gelu_tanh=gelu_tanh_from_x,
    cross_entropy=cross_entropy_on_gpu,
    logits_of=logits_of_few,
    total_of=total_of_weighted,
    sums_of=sums_of_weighted,
    lay_out_stream=width_innermost,
    fewest_decode_rows=2,  # XLA compiles a step of two rows to 10 GPU kernels per layer, a step of one row to 14
)
ATTENTION = {causal_attend: "plain", attend_in_pieces: "xla", attend_by_cudnn: "cudnn"}
PACKED_ATTENTION = {packed_attend: "plain", attend_packed_in_pieces: "xla"}


@runtime_checkable
class Constrain(Protocol):
    """Places an activation on a mesh by its dimension letters (`llm_jax.sharding`)."""

    def __call__(self, x: Array, letters: str, /) -> Array: ...

    def looked_up(self, table: Array, tokens: Array, /) -> Array:
        """The tokens' rows of a table."""
        ...

    def summed(self, function: Callable[..., tuple[Array, ...]], table: Array, /, *rows: Array) -> tuple[Array, ...]:
        """The numbers that `function(table, *rows)` returns, summed over the devices' rows; `table` is whole."""
        ...

    def on_each_device(self, function: Callable[[Array], Array], x: Array, letters: str, /) -> Array:
        """`function` of each device's part, for operations that XLA's partitioner cannot split."""
        ...


class Plan(NamedTuple):
    """An Execution with every `auto` decided for one machine. It is hashable: `jit` takes it as a static argument."""

    dtype: jnp.dtype
    kernels: Kernels
    execution: Execution
    constrain: Constrain | None  # None: on one device
    platform: str = "cpu"  # JAX's name of the kind of device: cpu, gpu, tpu

    @property
    def attention(self) -> str:
        """The name of the causal attention, as the flag has it; "plain" is the formula."""
        return ATTENTION.get(self.kernels.causal_attend, self.kernels.causal_attend.__name__)

    @property
    def packed_attention(self) -> str:
        """The name of the attention within the texts of a packed row; cuDNN's is not among them."""
        return PACKED_ATTENTION.get(self.kernels.packed_attend, self.kernels.packed_attend.__name__)

    def packed(self, starts_BT: Array) -> "Plan":
        """The plan for rows of several texts, each of which attends within itself from `starts_BT` on.

        It is not hashable: make it inside of `jit`. Raises ValueError where the flag asks for cuDNN.
        """
        if self.execution.attention == "cudnn":
            raise ValueError("attention=cudnn does not keep the texts of a packed row apart: use attention=auto or xla")
        attend = partial(self.kernels.packed_attend, starts_BT=starts_BT)
        return self._replace(kernels=self.kernels._replace(causal_attend=attend))

    def branched(self, branches_BT: Array) -> "Plan":
        """The plan for rows of texts with a common beginning (`llm_jax.layers.packing`); not hashable either."""
        attend = partial(self.kernels.branched_attend, branches_BT=branches_BT)
        return self._replace(kernels=self.kernels._replace(causal_attend=attend))


def make_plan(
    execution: Execution,
    constrain: Constrain | None = None,
    platform: str | None = None,
) -> Plan:
    """Decides number format and kernels for `platform`, by default that of JAX's default device.

    Raises:
        ValueError: the flags ask for cuDNN attention where it cannot run, or for an attention kernel together with
            `kernels=plain`.
    """
    platform = platform or jax.default_backend()
    on_gpu = platform == "gpu"
    name = execution.dtype if execution.dtype != "auto" else "bfloat16" if on_gpu else "float32"
    if execution.kernels == "plain":
        if execution.attention != "auto":
            raise ValueError(f"attention={execution.attention} is a kernel and kernels=plain has none: leave one out")
        return Plan(jnp.dtype(name), FORMULAS, execution, constrain, platform)
    can_fuse = on_gpu and name == "bfloat16"
    if execution.attention == "cudnn" and not can_fuse:
        raise ValueError(f"attention=cudnn needs a GPU and bfloat16; got {platform} and {name}: use attention=xla")
    kernels = ON_CPU if platform == "cpu" else ON_GPU
    if can_fuse and execution.attention != "xla":
        kernels = kernels._replace(causal_attend=attend_by_cudnn, projections_apart=projections_apart)
    return Plan(jnp.dtype(name), kernels, execution, constrain, platform)
