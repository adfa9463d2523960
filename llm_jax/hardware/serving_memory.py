"""What a server needs in memory, and how many tokens its KV-cache holds: the account that vLLM keeps.

    cache = utilisation · memory − (weights + workspace) − outside PyTorch − CUDA graphs

vLLM measures the second and third term when it starts, with a batch of as many tokens as one step may have, and gives
the rest to the KV-cache, in blocks of 16 tokens (Kwon et al. 2023, "PagedAttention", §4.1). Here they are computed:

    weights      every parameter, in the format they are served in, and the tables of rotary angles; of fp8 the
                 embedding and the head stay in bfloat16, as vLLM quantises linear layers alone
    workspace    per token of the largest step: the MLP's gate, up and product, and three streams, 2 bytes each
    a token      2·L·K·H numbers: keys and values of every layer, of the heads of keys and values only

Checked against vLLM's own log for Llama-3.1-8B on a 24 GB card (tests/hardware/test_serving_memory.py). Units: bytes.
"""

from dataclasses import dataclass

from llm_jax.config import DecoderConfig

BLOCK_TOKENS = 16
OUTSIDE_PYTORCH = 0.35 * 2**30  # CUDA's context and NCCL, as vLLM's log says for one card
FORMAT_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "fp8": 1}


@dataclass(frozen=True)
class ServingMemory:
    """Bytes of one device; a model over n devices has a share of weights and heads on each."""

    weights: int
    workspace: int
    outside_pytorch: int
    graphs: int
    cache: int
    """What is left for the KV-cache; negative where the model does not fit."""
    token: int
    """Of the KV-cache, for one token of one sequence."""

    @property
    def blocks(self) -> int:
        """Blocks of 16 tokens that the cache has."""
        return max(0, self.cache // (self.token * BLOCK_TOKENS))

    @property
    def tokens(self) -> int:
        """Tokens of all sequences together that the cache holds."""
        return self.blocks * BLOCK_TOKENS


def can_share(config: DecoderConfig, devices: int) -> bool:
    """Whether vLLM splits the heads: those of keys and values evenly, or each of them on the same number of devices."""
    of_keys = config.kv_heads
    return config.n_heads % devices == 0 and (of_keys % devices == 0 or devices % of_keys == 0)


def wide_parameters(config: DecoderConfig, dtype: str) -> int:
    """Parameters that stay in bfloat16 where weights are served in fp8: tables of tokens and positions, the head."""
    tables = config.vocab_size * (1 if config.tied_head else 2) + config.n_positions
    return tables * config.d_model if dtype == "fp8" else 0


def weight_bytes(config: DecoderConfig, dtype: str = "bfloat16") -> int:
    """Parameters, and, with rotary positions, a cosine and a sine for each of half a head's numbers and position."""
    angles = config.context_length * config.d_head if config.positions == "rotary" else 0
    return FORMAT_BYTES[dtype] * config.n_parameters + wide_parameters(config, dtype) + 2 * angles


def cache_bytes(config: DecoderConfig, dtype: str = "bfloat16", devices: int = 1) -> int:
    """Of one token, on one of `devices` that share the heads of keys and values; each has at least one head."""
    heads = max(1, config.kv_heads // devices)
    return 2 * config.n_layers * heads * config.d_head * FORMAT_BYTES[dtype]


def serving_memory(
    config: DecoderConfig,
    memory: float,
    batched_tokens: int,
    utilisation: float = 0.9,
    devices: int = 1,
    dtype: str = "bfloat16",
    cache_dtype: str | None = None,
    outside_pytorch: float = OUTSIDE_PYTORCH,
    graphs: float = 0.0,
) -> ServingMemory:
    """The account of one device.

    Args:
        memory: of the device, bytes, as the driver reports it.
        batched_tokens: the most tokens that one step computes (`max_num_batched_tokens`; without chunked prefill, the
            context).
        utilisation: share of the memory that the server may take (`gpu_memory_utilization`).
        devices: that split every layer (tensor parallel).
        dtype: of the weights; `cache_dtype`: of keys and values, by default the same, in fp8 bfloat16.
        graphs: CUDA graphs, which vLLM counts since 0.21.

    Raises:
        ValueError: a share outside of 0 to 1, an unknown format, or devices that cannot split the heads.
    """
    if not 0 < utilisation <= 1:
        raise ValueError(f"utilisation must be above 0 and at most 1; got {utilisation}")
    for name in (dtype, cache_dtype or dtype):
        if name not in FORMAT_BYTES:
            raise ValueError(f"unknown format {name!r}; one of: {', '.join(FORMAT_BYTES)}")
    if not can_share(config, devices):
        raise ValueError(
            f"{devices} devices cannot split {config.n_heads} heads, {config.kv_heads} of keys and values: choose a "
            "divisor of both"
        )
    weights = weight_bytes(config, dtype) // devices
    hidden = config.d_hidden * (3 if config.gated_mlp else 2)
    workspace = 2 * (hidden + 3 * config.d_model) * batched_tokens // devices
    token = cache_bytes(config, cache_dtype or ("bfloat16" if dtype == "fp8" else dtype), devices)
    cache = utilisation * memory - weights - workspace - outside_pytorch - graphs
    return ServingMemory(weights, workspace, int(outside_pytorch), int(graphs), int(cache), token)
