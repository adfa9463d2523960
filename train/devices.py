"""Devices: joining the processes of a multi-host job, the mesh, and what the hardware can do at best."""

import os
from dataclasses import dataclass

import jax

from llm_jax import sharding
from train.config import TrainConfig

# Dense bfloat16 peak of one device in FLOP/s, from the vendors' data sheets (without sparsity).
PEAK_FLOPS = {
    "H200": 989e12,
    "H100": 989e12,
    "H20": 148e12,
    "B200": 2250e12,
    "A100": 312e12,
    "L40S": 362e12,
    "RTX 4090": 165e12,
    "V100": 125e12,
}


@dataclass(frozen=True)
class Job:
    """Where this process stands among the processes of the job."""

    mesh: jax.sharding.Mesh
    batch_devices: int  # data × fsdp
    is_first: bool

    @property
    def layout(self) -> dict[str, object]:
        """What must be equal for a resume to be bit-equal: kind and number of devices, mesh and processes."""
        return {
            "device": jax.devices()[0].device_kind,
            "mesh": dict(self.mesh.shape),
            "processes": jax.process_count(),
            "jax": jax.__version__,
        }


def join_processes() -> None:
    """Joins the other processes of the job, if the environment says so (SLURM, or JAX's variables)."""
    if int(os.environ.get("SLURM_NTASKS", "1")) > 1 or "JAX_COORDINATOR_ADDRESS" in os.environ:
        jax.distributed.initialize()


def open_job(config: TrainConfig) -> Job:
    """The mesh of a run. Raises ValueError, before anything is allocated, when the devices are not those asked for."""
    mesh = sharding.make_mesh(config.mesh.data_parallel, config.mesh.fsdp, config.mesh.tensor_parallel)
    sharding.check_divides(config.model, mesh)
    return Job(mesh, mesh.shape["data"] * mesh.shape["fsdp"], jax.process_index() == 0)


def peak_flops() -> float | None:
    """Peak FLOP/s of all devices of the job in bfloat16; None where the data sheet is not known (CPUs)."""
    kind = jax.devices()[0].device_kind
    per_device = next((peak for name, peak in PEAK_FLOPS.items() if name in kind), None)
    return per_device and per_device * jax.device_count()
