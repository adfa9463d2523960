"""GPUs that are only described: XLA compiles for them on any machine whose JAX has CUDA (`--extra cuda12`).

So what a program needs of a GPU, and what many of them say to each other, is known before one is bought. Programs that
import this module set `JAX_PLATFORMS=cpu` before JAX is imported.
"""

import sys
from typing import Any

import jax
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from llm_jax import sharding
from llm_jax.hardware import catalogue
from llm_jax.models import decoder
from train.pretrain.config import TrainConfig

CARDS = {
    name: next(entry for entry in catalogue.accelerators() if entry.name == listed)
    for name, listed in {"H100": "H100 SXM", "H200": "H200"}.items()
}
(PEAK,) = {1e12 * card.bf16.value for card in CARDS.values() if card.bf16}  # FLOP/s, dense bfloat16, of both
MACHINES = {
    name: (1e9 * card.bandwidth.value, 1e9 * card.memory.value) for name, card in CARDS.items()
}  # bytes/s, bytes
# XLA's own description of an H100, with bandwidth and memory left open (openxla/xla,
# xla/backends/gpu/target_config/specs/h100_sxm.txtpb).
DESCRIPTION = """
gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: {bandwidth:.0f} l2_cache_size: 52428800 clock_rate_ghz: 1.98 device_memory_size: {memory:.0f}
  shared_memory_per_block_optin: 232448 cuda_compute_capability {{ major: 9 }}
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}}
platform_name: "CUDA"
runtime_version {{ major: 12 minor: 9 }}
dnn_version_info {{ major: 9 minor: 10 }}
device_description_str: "NVIDIA {name}"
"""


def gpus(name: str, count: int) -> list[Any]:
    """`count` GPUs, eight in a machine. Ends with the cure where JAX has no CUDA."""
    bandwidth, memory = MACHINES[name]
    jax.devices()  # finds the plugins
    topology = f"1x1x{count}" if count <= 8 else f"1x{count // 8}x8"
    try:
        text = DESCRIPTION.format(name=name, bandwidth=bandwidth, memory=memory)
        return topologies.get_topology_desc(name, "cuda", target_config=text, topology=topology).devices
    except NotImplementedError:
        sys.exit("error: this JAX cannot compile for CUDA: run it with `uv run --extra cuda12 python …`")


def one(name: str) -> NamedSharding:
    """A place on one GPU."""
    return NamedSharding(Mesh(gpus(name, 1), ("gpu",)), PartitionSpec())


def step(config: TrainConfig, name: str, data: int = 1, fsdp: int = 1, tensor: int = 1) -> tuple[Any, decoder.Plan]:
    """The compiled training step of a run on a mesh of such GPUs, and its plan."""
    from train.cluster.devices import Job
    from train.optim.optimizer import make_optimizer
    from train.pretrain.build import compile_step

    mesh = sharding.make_mesh(data, fsdp, tensor, gpus(name, data * fsdp * tensor))
    sharding.check_divides(config.model, mesh)
    plan = decoder.make_plan(config.execution, sharding.Constrain(mesh), platform="gpu")
    optimizer = make_optimizer(config.optimizer, decoder.dimension_letters(config.model))
    return compile_step(config, plan, optimizer, Job(mesh, data * fsdp, is_first=False))[0], plan


def needed(compiled: Any) -> int:
    """Bytes of memory that a compiled program needs on a device."""
    found = compiled.memory_analysis()
    total = found.argument_size_in_bytes + found.output_size_in_bytes + found.temp_size_in_bytes
    return total - found.alias_size_in_bytes
