"""What a fine-tuning run will cost, in numbers printed before anything is allocated.

As `train.pretrain.estimate`, with the parts that differ: a frozen base is held once in the compute format (4 bytes a
number in float32), and only what is trained has gradients (4 bytes) and AdamW's moments (8) beside itself (4).
"""

import jax

from train.finetune.config import FinetuneConfig
from train.finetune.trained import Trainable
from train.pretrain.estimate import Memory, describe_devices, describe_model, gathered, of_activations, size


def memory(
    config: FinetuneConfig,
    trainable: Trainable,
    mesh: dict[str, int],
    rows: int,
    length: int,
    dtype_bytes: int,
    fused_attention: bool,
) -> Memory:
    """Bytes on one device, for `rows` rows of `length` tokens at once."""
    shards = mesh["fsdp"] * mesh["tensor"]
    state = 16 * trainable.n_trained() // shards
    if trainable.lora or dtype_bytes < 4:
        state += trainable.model.n_parameters * dtype_bytes // shards
    state += gathered(trainable.model, mesh, dtype_bytes)
    activations, logits = of_activations(
        trainable.model, config.execution, mesh, rows, length, dtype_bytes, fused_attention
    )
    return Memory(state, activations, 0 if trainable.n_classes else logits)


def describe(
    config: FinetuneConfig,
    trainable: Trainable,
    what: str,
    mesh: dict[str, int],
    rows: int,
    length: int,
    dtype_bytes: int,
    fused_attention: bool,
) -> list[tuple[str, str]]:
    """Rows of the table that is printed before a run starts. `what`: the examples and the task, in words."""
    trained, total = trainable.n_trained(), trainable.model.n_parameters
    need = memory(config, trainable, mesh, rows, length, dtype_bytes, fused_attention)
    how = f"LoRA of rank {trainable.lora.rank}" if trainable.lora else "all parameters"
    return [
        ("model", describe_model(trainable.model)),
        ("trained", f"{trained:,} numbers, {trained / total:.2%} of the model's: {how}"),
        ("examples", what),
        ("length", f"{config.steps:,} steps of {config.batch_size} examples"),
        (
            "memory per device",
            f"about {size(need.total)}: state {size(need.state)}, activations {size(need.activations)}, "
            f"logits {size(need.logits)}, at the longest length of {length:,} tokens",
        ),
        ("devices", describe_devices(mesh, jax.device_count(), jax.devices()[0].device_kind)),
    ]
