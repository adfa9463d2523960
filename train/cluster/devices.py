"""Joins the processes of a multi-host job, makes the mesh, and looks up the devices' peak FLOP/s."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from llm_jax import sharding
from llm_jax.command_line import place as places
from llm_jax.command_line.place import Place
from llm_jax.config import DecoderConfig
from llm_jax.hardware import catalogue
from train.cluster import rendezvous
from train.cluster.mesh import MeshConfig


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


HEARTBEAT_SECONDS = 100  # a process that is silent for so long counts as dead, and the others end


def join_processes(place: Place | None, shared: Path) -> None:
    """Joins the other processes of the job: by JAX's own variables where they are set, else as SLURM says.

    `place` is this process's place in a SLURM step, or None; `shared` a folder that all processes see. Raises
    ValueError when the devices are not those that SLURM gave, RuntimeError when process 0 failed, TimeoutError.
    """
    # JAX's preemption service would replace our handler of SIGTERM (train.cluster.signals).
    jax.config.update("jax_enable_preemption_service", False)
    heartbeat = _heartbeat_seconds(os.environ)
    if "JAX_COORDINATOR_ADDRESS" in os.environ and place is None:
        jax.distributed.initialize(heartbeat_timeout_seconds=heartbeat)
    if place is None:
        return
    gpus = places.local_gpus(place, places.visible_gpus(os.environ))
    if place.processes > 1:
        coordinator = _find_coordinator(place, shared)
        jax.distributed.initialize(
            coordinator.address,
            place.processes,
            place.process,
            gpus,
            cluster_detection_method="deactivate",  # else one task per node would get the first GPU alone
            coordinator_bind_address=coordinator.bind,
            heartbeat_timeout_seconds=heartbeat,
        )
        if place.is_first:
            rendezvous.clear(shared, place)
    if os.environ.get("JAX_PLATFORMS") != "cpu":
        places.check_devices(place, jax.local_devices()[0].platform, jax.local_device_count())


def _heartbeat_seconds(environment: Mapping[str, str]) -> int:
    value = environment.get("LLM_JAX_HEARTBEAT_SECONDS") or str(HEARTBEAT_SECONDS)
    if not (value.isascii() and value.isdigit() and int(value)):
        raise ValueError(f"LLM_JAX_HEARTBEAT_SECONDS is {value!r}; expected a whole number of seconds, at least 1")
    return int(value)


def _find_coordinator(place: Place, shared: Path) -> rendezvous.Coordinator:
    if address := os.environ.get("JAX_COORDINATOR_ADDRESS"):
        return rendezvous.Coordinator(address)
    return rendezvous.announce(shared, place) if place.is_first else rendezvous.find(shared, place)


def open_job(config: MeshConfig, model: DecoderConfig) -> Job:
    """The mesh of a run. Raises ValueError, before anything is allocated, when the devices are not those asked for."""
    mesh = sharding.make_mesh(config.data_parallel, config.fsdp, config.tensor_parallel)
    sharding.check_divides(model, mesh)
    return Job(mesh, mesh.shape["data"] * mesh.shape["fsdp"], jax.process_index() == 0)


def peak_flops(devices: Sequence[Any] | None = None) -> float | None:
    """Dense 16-bit peak FLOP/s of `devices` together, by default all of the job.

    None where the catalogue has no device of this exact name.
    """
    devices = devices or jax.devices()
    found = catalogue.find(devices[0].device_kind)
    peak = found.training_peak if found else None
    return 1e12 * peak.value * len(devices) if peak else None
