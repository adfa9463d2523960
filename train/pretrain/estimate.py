"""What a run will cost, in numbers printed before anything is allocated: parameters, FLOPs, memory.

The memory estimate counts what must be held at the fullest moment of a step, on one device:

    parameters (4 bytes) + optimizer (AdamW 8, Muon's matrices 4) + gradients (4), shared out by fsdp and tensor
    + weights in the compute format, where it is not float32; with fsdp all of them, gathered
    + activations kept for the backward pass, for a token and a block: norms, residual stream and attention (about 4·D
      and twice queries and keys), 2·F of the MLP or 3·F with a gate, and N·T scores where attention is not fused (five
      eighths of them: the pieces leave out most that are masked); with remat 1·D
    + for a token once: the gradient of the stream in float32, and the hidden states before and after the last norm
    + the loss or, with remat, one recomputed block, whichever is more. The loss: logits of one slice of the
      sequence, twice in the compute format (three times where it is float32), and, where there are several slices, the
      head's gradient in float32, to which each slice adds

`benchmarks/training_memory.py` compares it with XLA's own account; the true figure of the compiled step is printed when
it is known.
"""

from dataclasses import dataclass

import jax

from llm_jax.config import DecoderConfig, Execution
from llm_jax.hardware import catalogue
from llm_jax.kernels.attention.in_pieces import LEAST_LENGTH, PIECES
from train.pretrain.config import TrainConfig


@dataclass(frozen=True)
class Memory:
    """Bytes on one device."""

    state: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        return self.state + self.activations + self.logits


def memory(config: TrainConfig, mesh: dict[str, int], dtype_bytes: int, fused_attention: bool) -> Memory:
    """The estimate above, for a mesh given as axis → size."""
    model, execution = config.model, config.execution
    shards = mesh["fsdp"] * mesh["tensor"]
    matrices = in_blocks(model)
    moments = 8 * model.n_parameters - (4 * matrices if config.optimizer.optimizer == "muon" else 0)
    state = (8 * model.n_parameters + moments) // shards
    if dtype_bytes < 4:
        state += matrices * dtype_bytes // shards
    state += gathered(model, mesh, dtype_bytes)

    batch_devices = mesh["data"] * mesh["fsdp"]
    rows = config.batch_size // batch_devices // config.micro_batches(batch_devices)
    return Memory(
        state, *of_activations(model, execution, mesh, rows, model.context_length, dtype_bytes, fused_attention)
    )


def in_blocks(model: DecoderConfig) -> int:
    """Numbers in the matrices of all blocks."""
    queries, keys = model.n_heads * model.d_head, model.kv_heads * model.d_head
    in_mlp = (3 if model.gated_mlp else 2) * model.d_hidden
    return model.n_layers * model.d_model * (2 * queries + 2 * keys + in_mlp)


def gathered(model: DecoderConfig, mesh: dict[str, int], dtype_bytes: int) -> int:
    """Bytes of the matrices that fsdp splits and a step gathers; XLA keeps them for the backward pass."""
    head = model.padded_vocab_size * model.d_model
    return (in_blocks(model) + head) * dtype_bytes // mesh["tensor"] if mesh["fsdp"] > 1 else 0


def of_activations(
    model: DecoderConfig,
    execution: Execution,
    mesh: dict[str, int],
    rows: int,
    length: int,
    dtype_bytes: int,
    fused_attention: bool,
) -> tuple[int, int]:
    """Bytes of activations and of logits on one device that computes `rows` sequences of `length` tokens at once."""
    tokens, queries, keys = rows * length, model.n_heads * model.d_head, model.kv_heads * model.d_head
    computed = (PIECES + 1) / (2 * PIECES) if length >= LEAST_LENGTH else 1.0  # of a head's scores
    scores = 0 if fused_attention else computed * model.n_heads * length * _score_bytes(dtype_bytes) / mesh["tensor"]
    # In a GPT-2, where queries are as wide as the model: 8·D + 2·F.
    hidden = (3 if model.gated_mlp else 2) * model.d_hidden // mesh["tensor"]
    block = (4 * model.d_model + 2 * (queries + keys) // mesh["tensor"] + hidden) * dtype_bytes + scores
    streams = model.d_model * (4 + 2 * dtype_bytes)
    kept = model.d_model * dtype_bytes * model.n_layers if execution.remat else block * model.n_layers
    per_logit = 12 if dtype_bytes == 4 else 2 * dtype_bytes  # logit and residual; in float32 the exponential too
    head = model.padded_vocab_size // mesh["tensor"]
    loss = tokens * head * per_logit // execution.loss_chunks + 4 * model.d_model * head * (execution.loss_chunks > 1)
    anew = max(0, tokens * block - loss) if execution.remat else 0
    return int(tokens * (kept + streams) + anew), loss


def _score_bytes(dtype_bytes: int) -> int:
    """Of a score's probability, which is kept in float32 and in the compute format."""
    return 4 if dtype_bytes == 4 else 4 + dtype_bytes


def describe(
    config: TrainConfig, mesh: dict[str, int], dtype_bytes: int, fused_attention: bool
) -> list[tuple[str, str]]:
    """Rows of the table that is printed before a run starts."""
    model = config.model
    need = memory(config, mesh, dtype_bytes, fused_attention)
    batch_devices = mesh["data"] * mesh["fsdp"]
    chunks = config.micro_batches(batch_devices)
    total_tokens = config.steps * config.batch_tokens
    flops = model.flops_per_token("nanogpt")
    return [
        (
            "model",
            describe_model(model),
        ),
        (
            "FLOPs per token",
            f"{flops / 1e6:,.1f} M (6N + 12LDT, as nanoGPT) · "
            f"{model.flops_per_token('llm.c') / 1e6:,.1f} M (causal, as llm.c)",
        ),
        (
            "batch",
            f"{config.batch_tokens:,} tokens = {config.batch_size} sequences × {model.context_length}, "
            f"{chunks} micro-batch{'es' if chunks > 1 else ''}",
        ),
        (
            "length",
            f"{config.steps:,} steps · {total_tokens / 1e6:,.1f} M tokens · {total_tokens * flops:.3g} FLOPs in all",
        ),
        (
            "memory per device",
            f"about {size(need.total)}: state {size(need.state)}, activations {size(need.activations)}, "
            f"logits {size(need.logits)}",
        ),
        ("devices", describe_devices(mesh, jax.device_count(), jax.devices()[0].device_kind)),
        ("MFU", utilisation(jax.devices()[0].device_kind)),
    ]


def describe_model(model: DecoderConfig) -> str:
    """Its size and shape."""
    return (
        f"{model.n_parameters:,} parameters · {model.n_layers} layers × {model.d_model} wide · {_heads(model)} · "
        f"context {model.context_length} · vocabulary {model.vocab_size:,}"
    )


def describe_devices(mesh: dict[str, int], count: int, kind: str) -> str:
    """How many, of which kind, and how they are shared out."""
    return f"{count} × {kind} · {_mesh(mesh)}"


def _heads(model: DecoderConfig) -> str:
    shared = "" if model.kv_heads == model.n_heads else f" over {model.kv_heads} of keys and values"
    return f"{model.n_heads} heads{shared}"


def utilisation(device_kind: str) -> str:
    """What MFU is a part of on this device, or why it is not shown."""
    found = catalogue.find(device_kind)
    peak = found.training_peak if found else None
    if peak is None:
        return f"not shown: {catalogue.why_unknown(device_kind)}"
    return f"of {peak.value:g} TFLOP/s a device, dense ({peak.source.title}, {peak.source.date})"


def size(bytes_: float) -> str:
    """Bytes for people: 1.5 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if bytes_ < 1024 or unit == "GiB":
            return f"{bytes_:.3g} {unit}"
        bytes_ /= 1024
    raise AssertionError


def _mesh(mesh: dict[str, int]) -> str:
    return " × ".join(f"{axis}={size}" for axis, size in mesh.items())
