"""How fast a decoder can be served and trained: a roofline (Williams et al. 2009) with two stated efficiencies.

    prefill       (2·P·T + attention) / (η_c · peak)
    decode step   max(P·b / (η_b · bandwidth), 2·P·B / (η_c · peak)) + cache / (η_b · bandwidth) + host
    training      (6·P·T + 3 · attention) / (η_t · peak)

P are the parameters that are multiplied (all but the rows an embedding looks up), b their bytes, B the sequences in a
step, T the tokens. Reading the cache overlaps with nothing: attention is bound by bandwidth while the products may be
bound by arithmetic. The efficiencies are fitted on half of the published measurements in
`benchmarks/published_speeds.toml`; docs/hardware.md has the errors on the other half. Left out: partly filled
waves and tiles of a kernel, imbalance between devices, sampling, and the scheduler, except for a constant per step.
"""

from dataclasses import dataclass
from typing import NamedTuple

from llm_jax.config import DecoderConfig
from llm_jax.hardware.catalogue import Accelerator
from llm_jax.hardware.serving_memory import FORMAT_BYTES, cache_bytes


class Efficiency(NamedTuple):
    compute: float = 0.74  # of the dense peak, in prefill and in large batches
    bandwidth: float = 0.78  # of the memory's, in decoding
    training: float = 0.44  # of the dense peak
    host: float = 0.0005  # seconds a decoding step


FITTED = Efficiency()


@dataclass(frozen=True)
class Device:
    """What the roofline needs to know of one accelerator. Units: FLOP/s and bytes/s."""

    name: str
    peak: float
    bandwidth: float
    link: float = 0.0  # bytes/s to the other devices, one way; 0: it works alone

    @classmethod
    def of(cls, entry: Accelerator, dtype: str = "bfloat16", link: float = 0.0) -> "Device":
        """Raises ValueError where the catalogue has no peak of this format for the device."""
        figure = {"fp8": entry.fp8, "float16": entry.fp16}.get(dtype, entry.bf16)
        if figure is None:
            raise ValueError(f"{entry.name} has no tensor units for {dtype}")
        return cls(entry.name, 1e12 * figure.value, 1e9 * entry.bandwidth.value, link)


def multiplied_parameters(config: DecoderConfig) -> int:
    """Parameters of the products of one token: all but the embedding's rows, the head's matrix included."""
    looked_up = config.n_positions * config.d_model + (0 if config.tied_head else config.vocab_size * config.d_model)
    return config.n_parameters - looked_up


def multiplied_bytes(config: DecoderConfig, dtype: str) -> int:
    """Bytes of the weights that a step reads; where they are served in fp8, the head stays in bfloat16."""
    head = config.vocab_size * config.d_model if dtype == "fp8" else 0
    return FORMAT_BYTES[dtype] * multiplied_parameters(config) + head


def attention_flops(config: DecoderConfig, tokens: float, context: float) -> float:
    """Forward, of `tokens` that each attend to `context` others on average: scores and mixing, 4·L·N·H a pair."""
    return 4 * config.n_layers * config.n_heads * config.d_head * tokens * context


def prefill_seconds(
    config: DecoderConfig,
    device: Device,
    rows: float,
    length: float,
    devices: int = 1,
    dtype: str = "bfloat16",
    efficiency: Efficiency = FITTED,
) -> float:
    """Of `rows` prompts of `length` tokens, on `devices` that split every layer; at least the weights are read."""
    tokens = rows * length
    flops = 2 * multiplied_parameters(config) * tokens + attention_flops(config, tokens, length / 2)
    read = multiplied_bytes(config, dtype) / (efficiency.bandwidth * device.bandwidth)
    seconds = max(flops / (efficiency.compute * device.peak), read) / devices
    return seconds + exchange_seconds(config, device, tokens, devices) + efficiency.host


def decode_seconds(
    config: DecoderConfig,
    device: Device,
    rows: float,
    context: float,
    devices: int = 1,
    dtype: str = "bfloat16",
    cache_dtype: str | None = None,
    efficiency: Efficiency = FITTED,
) -> float:
    """Of one step, in which `rows` sequences with `context` tokens in the cache get a token each."""
    multiplied = multiplied_parameters(config)
    read = multiplied_bytes(config, dtype) / (efficiency.bandwidth * device.bandwidth)
    compute = 2 * multiplied * rows / (efficiency.compute * device.peak)
    token = cache_bytes(config, cache_dtype or ("bfloat16" if dtype == "fp8" else dtype), devices)
    cache = token * rows * context / (efficiency.bandwidth * device.bandwidth)
    return max(read, compute) / devices + cache + exchange_seconds(config, device, rows, devices) + efficiency.host


def exchange_seconds(config: DecoderConfig, device: Device, tokens: float, devices: int) -> float:
    """Two sums over all devices a layer, of a bfloat16 stream: each device sends and receives 2·(n − 1)/n of it.

    A sum takes at least ten microseconds. Raises ValueError where several devices have no link.
    """
    if devices == 1:
        return 0.0
    if not device.link:
        raise ValueError(f"{devices} × {device.name}: the bandwidth between them is not given")
    sent = 2 * (devices - 1) / devices * 2 * config.d_model * tokens
    return 2 * config.n_layers * max(sent / device.link, 10e-6)


def training_seconds(config: DecoderConfig, device: Device, tokens: float, efficiency: Efficiency = FITTED) -> float:
    """Of `tokens` at full context on one device: forward and backward, without recomputation (Narayanan et al. 2021,
    §5.1; only the scores that a causal mask keeps are counted).
    """
    flops = 6 * multiplied_parameters(config) * tokens + 3 * attention_flops(config, tokens, config.context_length / 2)
    return flops / (efficiency.training * device.peak)


def batch_seconds(
    config: DecoderConfig, device: Device, rows: float, prompt: float, answer: float, **settings
) -> float:
    """Of a whole batch that starts and ends together: prefill, then `answer` steps with a growing cache."""
    decoding = answer * decode_seconds(config, device, rows, prompt + answer / 2, **settings)
    settings = {name: value for name, value in settings.items() if name != "cache_dtype"}
    return prefill_seconds(config, device, rows, prompt, **settings) + decoding
