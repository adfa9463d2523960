"""How the devices of a run are shared out among data, fully sharded and tensor parallelism."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MeshConfig:
    """How the devices are shared out; the product must be their number."""

    data_parallel: int = 0
    """Devices along the batch, each with all parameters; 0: as many as the other two leave."""
    fsdp: int = 1
    """Devices along the batch that also share out parameters, gradients and optimizer state."""
    tensor_parallel: int = 1
    """Devices that split heads, MLP width and vocabulary."""

    def __post_init__(self) -> None:
        if self.data_parallel < 0 or self.fsdp < 1 or self.tensor_parallel < 1:
            raise ValueError(
                f"mesh axes must be at least 1 (data_parallel may be 0: the rest); got data_parallel="
                f"{self.data_parallel}, fsdp={self.fsdp}, tensor_parallel={self.tensor_parallel}"
            )


def micro_batches(batch_size: int, batch_devices: int, micro_batch: int, unit: str, cure: str) -> int:
    """Accumulation: micro-batches per step when `batch_devices` (data × fsdp) share the batch.

    Args:
        micro_batch: rows that one device computes at once; 0: all of its share.
        unit: what a row is, for messages.
        cure: what to do if the devices do not divide the batch.

    Raises:
        ValueError: the batch, or a device's share of it, does not divide evenly.
    """
    if batch_size % batch_devices:
        raise ValueError(f"{batch_devices} devices (data × fsdp) must divide the batch of {batch_size} {unit}{cure}")
    share = batch_size // batch_devices
    micro_batch = micro_batch or share
    if share % micro_batch:
        fitting = max(n for n in range(1, min(micro_batch, share) + 1) if share % n == 0)
        raise ValueError(f"micro_batch must divide each device's {share} {unit}; got {micro_batch}: try {fitting}")
    return share // micro_batch
