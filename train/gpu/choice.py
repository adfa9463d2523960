"""For each accelerator and number of them: does the run fit, and how long does it take?

The mesh is the one with the least communication: parameters are split (fsdp) over as few devices of one machine as
memory allows, and the batch over all. A step takes as long as its arithmetic or its communication, whichever is longer,
because XLA overlaps them: with fsdp every micro-batch gathers the weights twice and scatters the gradients once;
between copies of the parameters, gradients are summed once a step.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from llm_jax.hardware.catalogue import Accelerator, accelerators
from llm_jax.hardware.prices import Price, prices
from llm_jax.hardware.speed import FITTED, Device, training_seconds
from train.gpu.config import GpuConfig
from train.pretrain import estimate
from train.pretrain.config import TrainConfig

MACHINE = 8  # devices
NETWORK = 50e9  # bytes/s of one device to other machines, one way: 400 Gbit/s InfiniBand each, as in DGX H100
USABLE = 0.92  # of a memory: the rest is CUDA's context, NCCL's buffers and what the estimate leaves out
MIB = 2**20


@dataclass(frozen=True)
class Choice:
    accelerator: str
    devices: int
    fsdp: int
    """Devices that share one copy of the parameters."""
    micro_batch: int
    """Sequences that one device computes at once."""
    memory: int
    """Bytes on one device, by the estimate of `train pretrain`."""
    tokens_per_second: float
    """Of all devices together."""
    utilisation: float
    """FLOPs of the model to the devices' dense peak (MFU)."""
    days: float
    price: Price | None
    """Of the whole training, dollars."""
    kilowatt_hours: float | None
    """Of the accelerators at full power."""


@dataclass(frozen=True)
class Refusal:
    accelerator: str
    devices: int
    reason: str


def choose(config: TrainConfig, asked: GpuConfig) -> list[Choice | Refusal]:
    """Choices first, the cheapest before the others, then refusals. Raises ValueError for a wrong file of prices."""
    known = prices(asked.prices)
    found = [
        _with(devices, entry, config, asked, known.get(entry.name))
        for entry in accelerators()
        for devices in sorted(set(asked.devices))
    ]
    choices = [one for one in found if isinstance(one, Choice)]
    choices.sort(key=lambda one: (one.price.low if one.price else math.inf, one.days))
    return [*choices, *_once(one for one in found if isinstance(one, Refusal))]


def _once(refusals: Iterator[Refusal]) -> list[Refusal]:
    """One line for an accelerator that is refused for the same reason at every number."""
    lines: dict[tuple[str, str], Refusal] = {}
    for one in refusals:
        lines.setdefault((one.accelerator, one.reason), one)
    return list(lines.values())


def _with(
    devices: int, entry: Accelerator, config: TrainConfig, asked: GpuConfig, price: Price | None
) -> Choice | Refusal:
    """The choice with this number of one accelerator, or why it is refused."""

    def refuse(reason: str) -> Refusal:
        return Refusal(entry.name, devices, reason)

    try:
        device = Device.of(entry, "bfloat16", 1e9 * entry.link.value if entry.link else 0.0)
    except ValueError:
        return refuse("no tensor units for bfloat16")
    if config.batch_size % devices:
        return refuse(f"the batch of {config.batch_size} sequences cannot be split over {devices} devices")
    if asked.budget < math.inf and price is None:
        return refuse("no price is known, and --budget is given")
    usable = USABLE * entry.reported_memory.value * MIB
    fitting = _fit(config, devices, usable)
    if fitting is None:
        least = _memory(replace(config, micro_batch=1), devices, min(devices, MACHINE))
        return refuse(f"{devices} ×: {_gb(least)} needed on each with one sequence at a time, {_gb(usable)} usable")
    fsdp, micro_batch = fitting
    seconds = _step_seconds(config, device, devices, fsdp, micro_batch)
    days = asked.tokens / config.batch_tokens * seconds / 86_400
    if days > asked.days:
        return refuse(f"{devices} ×: {days:,.1f} days; {asked.days:g} are allowed")
    total = None
    if price:
        hours = 24 * days * devices
        total = Price(hours * price.low, hours * price.high, price.date)
        if total.low > asked.budget:
            return refuse(f"{devices} ×: ${total.low:,.0f} is above the budget of ${asked.budget:,.0f}")
    arithmetic = training_seconds(config.model, device, config.batch_tokens) / devices * FITTED.training
    return Choice(
        entry.name,
        devices,
        fsdp,
        micro_batch,
        _memory(replace(config, micro_batch=micro_batch), devices, fsdp),
        config.batch_tokens / seconds,
        arithmetic / seconds,
        days,
        total,
        24 * days * devices * entry.power.value / 1000 if entry.power else None,
    )


def _fit(config: TrainConfig, devices: int, usable: float) -> tuple[int, int] | None:
    """The fewest devices that must share the parameters, and the most sequences that then fit at once."""
    share = config.batch_size // devices
    for fsdp in (n for n in (1, 2, 4, MACHINE) if devices % n == 0):
        for micro_batch in (n for n in range(min(share, 64), 0, -1) if share % n == 0):
            if _memory(replace(config, micro_batch=micro_batch), devices, fsdp) <= usable:
                return fsdp, micro_batch
    return None


def _memory(config: TrainConfig, devices: int, fsdp: int) -> int:
    mesh = {"data": devices // fsdp, "fsdp": fsdp, "tensor": 1}
    return estimate.memory(config, mesh, dtype_bytes=2, fused_attention=True).total


def _step_seconds(config: TrainConfig, device: Device, devices: int, fsdp: int, micro_batch: int) -> float:
    model = config.model
    arithmetic = training_seconds(model, device, config.batch_tokens) / devices
    if config.execution.remat:
        arithmetic *= 4 / 3  # the forward pass once more
    sending, copies = 0.0, devices // fsdp
    if fsdp > 1:
        turns = config.batch_size // devices // micro_batch
        sending += turns * 3 * 2 * model.n_parameters * (fsdp - 1) / fsdp / device.link
    if copies > 1:
        rate = device.link if devices <= MACHINE else NETWORK
        sending += 2 * 4 * (model.n_parameters / fsdp) * (copies - 1) / copies / rate
    return max(arithmetic, sending)


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
