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
