"""What a model is and how it is executed, as frozen dataclasses that refuse nonsense when they are built.

`DecoderConfig` defines the function: equal configs and equal parameters give equal logits. `Execution` defines how it
is computed: number format, kernels, unrolled or scanned layers, rematerialisation. It changes speed, memory and
rounding, never the function. Neither imports JAX, so a command line reads them at once.

Sizes follow Radford et al. 2019 ("GPT-2"), table 2; counts of FLOPs follow Chowdhery et al. 2022 ("PaLM"), appendix B.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

VOCAB_MULTIPLE = 128  # a matrix product's tile on GPUs and TPUs; 50,257 → 50,304


def _added(default: Any) -> Any:
    """A field that older files lack; where it is missing, its default applies."""
    return dataclasses.field(default=default, metadata={"added": True})


@dataclass(frozen=True)
class RotaryScaling:
    """How rotary frequencies are changed to reach beyond the context that a model was trained with.

    `linear`: all positions are divided by the factor (Chen et al. 2023). `llama3`: low frequencies are divided, high
    ones stay (Llama 3.1). `yarn`: the same with a ramp between two numbers of turns, and scaled queries and keys (Peng
    et al. 2023, YaRN, §3).
    """

    kind: Literal["linear", "llama3", "yarn"]
    factor: float
    """Longest context over the original one."""
    original_context_length: int
    """Positions that the model was trained with before."""
    low_freq_factor: float = 1.0
    """llama3: a frequency that turns fewer times than this over the original context is divided by the factor."""
    high_freq_factor: float = 4.0
    """llama3: a frequency that turns more often than this stays."""
    beta_fast: float = 32.0
    """yarn: a frequency that turns more often than this over the original context stays."""
    beta_slow: float = 1.0
    """yarn: a frequency that turns fewer times than this is divided by the factor."""
    attention_factor: float | None = None
    """yarn: multiplies queries and keys after the rotation; none: 0.1·ln(factor) + 1 (eq. 22)."""
    truncate: bool = True
    """yarn: the ends of the ramp are rounded to whole dimensions."""

    def __post_init__(self) -> None:
        _refuse_unknown(self, "kind")
        _refuse_no_count("original_context_length", self.original_context_length)
        for name in ("factor", "low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow", "attention_factor"):
            value: Any = getattr(self, name)
            is_number = type(value) in (int, float) and 0 < value < math.inf
            if not is_number and not (value is None and name == "attention_factor"):
                raise ValueError(f"{name} of the rotary scaling must be a number above 0; got {value!r}")
        if self.factor < 1:
            raise ValueError(f"factor of the rotary scaling must be at least 1; got {self.factor}")
        if self.kind == "llama3" and self.low_freq_factor >= self.high_freq_factor:
            raise ValueError(
                f"low_freq_factor must be below high_freq_factor; got {self.low_freq_factor} and "
                f"{self.high_freq_factor}"
            )
        if self.kind == "yarn" and self.beta_slow >= self.beta_fast:
            raise ValueError(f"beta_slow must be below beta_fast; got {self.beta_slow} and {self.beta_fast}")
        _refuse_no_switch("truncate", self.truncate)


@dataclass(frozen=True)
class DecoderConfig:
    """A pre-norm Transformer decoder. The defaults are GPT-2; others differ in the fields from `mlp_width` on."""

    vocab_size: int = 50257
    """Token ids the tokenizer knows. The embedding is padded to a multiple of 128 rows, which no id uses."""
    context_length: int = 1024
    """Positions: the longest sequence, in tokens."""
    d_model: int = 768
    """Width of the residual stream."""
    n_heads: int = 12
    """Attention heads; must divide d_model, unless `head_width` is given."""
    n_layers: int = 12
    """Transformer blocks."""
    norm_epsilon: float = 1e-5
    """Added to the variance, or to the mean square, in a norm."""
    mlp_width: int | None = _added(None)
    """Hidden width of the MLP; none: four times d_model."""
    activation: Literal["gelu_tanh", "gelu", "relu", "silu"] = _added("gelu_tanh")
    """Of the MLP: GPT-2's tanh form of GELU, GELU itself (x·Φ(x)), or another."""
    tied_head: bool = _added(True)
    """The token embedding is the head as well; otherwise the head is a matrix of its own."""
    scale_scores: bool = _added(True)
    """Attention scores are divided by √(head width)."""
    scale_scores_by_layer: bool = _added(False)
    """Attention scores are divided by the layer's number, counted from 1 (Mistral's GPT-2, stanford-crfm)."""
    norm: Literal["layer", "rms"] = _added("layer")
    """Layer norm, or RMS norm, which subtracts no mean and has no bias."""
    positions: Literal["learned", "rotary"] = _added("learned")
    """A table added to the embedding, or a rotation of queries and keys."""
    rotary_theta: float = _added(10000.0)
    """Rotary: frequency i is θ^(−2i/head width)."""
    rotary_scaling: RotaryScaling | None = _added(None)
    """Rotary: how the frequencies are changed for a longer context."""
    gated_mlp: bool = _added(False)
    """down(activation(gate(x))·up(x)); with `silu` this is SwiGLU."""
    n_kv_heads: int | None = _added(None)
    """Heads of keys and values, each shared by n_heads/n_kv_heads heads of queries; none: n_heads."""
    head_width: int | None = _added(None)
    """Width of one head; none: d_model/n_heads."""
    attention_bias: Literal["all", "qkv", "none"] = _added("all")
    """Which projections of attention have a bias: all, those to queries, keys and values, or none."""
    mlp_bias: bool = _added(True)
    """The MLP's projections have a bias."""
    query_key_norm: bool = _added(False)
    """RMS norm of every query and key over the head's width, before the rotation (Qwen3)."""

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context_length", "d_model", "n_heads", "n_layers"):
            _refuse_no_count(name, getattr(self, name))
        for name in ("mlp_width", "n_kv_heads", "head_width"):
            if getattr(self, name) is not None:
                _refuse_no_count(name, getattr(self, name))
        if self.head_width is None and self.d_model % self.n_heads:
            raise ValueError(
                f"n_heads must divide d_model; got d_model={self.d_model}, n_heads={self.n_heads}: "
                f"try n_heads={_nearest_divisor(self.d_model, self.n_heads)}"
            )
        if self.n_heads % self.kv_heads:
            raise ValueError(
                f"n_kv_heads must divide n_heads; got n_heads={self.n_heads}, n_kv_heads={self.n_kv_heads}: "
                f"try n_kv_heads={_nearest_divisor(self.n_heads, self.kv_heads)}"
            )
        if not (isinstance(self.norm_epsilon, float) and 0 < self.norm_epsilon < 1):
            raise ValueError(f"norm_epsilon must lie between 0 and 1; got {self.norm_epsilon!r}")
        for name in ("activation", "norm", "positions", "attention_bias"):
            _refuse_unknown(self, name)
        for name in (
            "tied_head", "scale_scores", "scale_scores_by_layer", "gated_mlp", "mlp_bias", "query_key_norm",
        ):  # fmt: skip
            _refuse_no_switch(name, getattr(self, name))
        self._check_rotation()

    def _check_rotation(self) -> None:
        if isinstance(self.rotary_scaling, dict):  # from a JSON file
            object.__setattr__(self, "rotary_scaling", from_dict(RotaryScaling, self.rotary_scaling, fill=True))
        if self.positions == "learned":
            if self.rotary_scaling is not None:
                raise ValueError("rotary_scaling needs rotary positions; got learned ones: leave one out")
            return
        if type(self.rotary_theta) not in (int, float) or not 0 < self.rotary_theta < math.inf:
            raise ValueError(f"rotary_theta must be a number above 0; got {self.rotary_theta!r}")
        if self.d_head % 2:
            raise ValueError(f"rotary positions need an even head width; got {self.d_head}")

    @property
    def d_head(self) -> int:
        """Width of one attention head."""
        return self.head_width or self.d_model // self.n_heads

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.n_kv_heads or self.n_heads

    @property
    def is_qkv_fused(self) -> bool:
        """One matrix projects to queries, keys and values, as in GPT-2; rotary or grouped heads have three."""
        return self.positions == "learned" and self.kv_heads == self.n_heads

    @property
    def d_hidden(self) -> int:
        """Hidden width of the MLP: `mlp_width`, or four times the model's, as in GPT-2."""
        return self.mlp_width or 4 * self.d_model

    @property
    def padded_vocab_size(self) -> int:
        """Rows in the stored embedding: `vocab_size` rounded up to a multiple of 128."""
        return -(-self.vocab_size // VOCAB_MULTIPLE) * VOCAB_MULTIPLE

    @property
    def n_positions(self) -> int:
        """Rows in the table of learned positions; 0 with rotary positions."""
        return self.context_length if self.positions == "learned" else 0

    @property
    def n_parameters(self) -> int:
        """Trainable parameters, position embeddings included and vocabulary padding left out: 124,439,808 for GPT-2."""
        d, f, queries, keys = self.d_model, self.d_hidden, self.n_heads * self.d_head, self.kv_heads * self.d_head
        attention = d * (queries + 2 * keys) + queries * d
        attention += queries + 2 * keys if self.attention_bias != "none" else 0
        attention += d if self.attention_bias == "all" else 0
        attention += 2 * self.d_head if self.query_key_norm else 0
        n_projections = 3 if self.gated_mlp else 2
        mlp = n_projections * d * f + (((n_projections - 1) * f + d) if self.mlp_bias else 0)
        norm = 2 * d if self.norm == "layer" else d
        embeddings = (self.vocab_size * (1 if self.tied_head else 2) + self.n_positions) * d
        return embeddings + self.n_layers * (attention + mlp + 2 * norm) + norm

    def flops_per_token(self, convention: Literal["nanogpt", "llm.c"] = "nanogpt") -> int:
        """Training FLOPs (forward and backward) per token at full context.

        `nanogpt`: 6(N − positions) + 12·L·D·T, every attention score counted (PaLM, appendix B);
        `llm.c`: 6N + 6·L·D·T, only the scores a causal mask keeps. D is the width of all heads together. N counts the
        padded vocabulary, as both do, and counts it once: of an embedding that is not the head as well, rows are only
        read. GPT-2 124M: 855.4 and 803.5 MFLOP. An MFU must say which one it uses.
        """
        attention = self.n_layers * self.n_heads * self.d_head * self.context_length
        stored = self.n_parameters + (self.padded_vocab_size - self.vocab_size) * self.d_model
        stored -= 0 if self.tied_head else self.vocab_size * self.d_model
        if convention == "llm.c":
            return 6 * stored + 6 * attention
        return 6 * (stored - self.n_positions * self.d_model) + 12 * attention


Weights = Literal["auto", "float32", "bf16", "int8"]
NUMBERS = {"float32": "float32", "bf16": "bfloat16", "int8": "int8"}  # a format of `Weights` → its name in NumPy


@dataclass(frozen=True)
class Execution:
    """How a model is computed; never what it computes."""

    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Compute format of matrix products and the residual stream; auto: bfloat16 on a GPU, float32 on a CPU."""
    attention: Literal["auto", "xla", "cudnn"] = "auto"
    """Attention kernel; auto: cuDNN on a GPU in bfloat16, XLA elsewhere."""
    scan_layers: bool = False
    """One compiled block, scanned over the layers: compiles faster, runs slower than the unrolled default."""
    remat: bool = False
    """Recompute each block's activations in the backward pass: memory O(1) in depth for a third more FLOPs."""
    loss_chunks: int = 1
    """Cross-entropy is computed in this many slices of the sequence: only one slice's logits exist at a time."""
    kernels: Literal["auto", "plain"] = "auto"
    """auto: the fast kernels for this machine; plain: every formula as a textbook writes it, to step through."""

    def __post_init__(self) -> None:
        for name in ("dtype", "attention", "kernels"):
            _refuse_unknown(self, name)
        _refuse_no_count("loss_chunks", self.loss_chunks)


def _refuse_no_count(name: str, value: Any) -> None:
    if type(value) is not int:  # from a JSON file it may be anything: 2.0, "2", true, null
        raise ValueError(f"{name} must be a whole number; got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1; got {value}")


def _refuse_no_switch(name: str, value: Any) -> None:
    if type(value) is not bool:
        raise ValueError(f"{name} must be true or false; got {value!r}")


def _refuse_unknown(config: Any, name: str) -> None:
    value, known = getattr(config, name), get_args(get_type_hints(type(config))[name])
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")


def _nearest_divisor(number: int, wanted: int) -> int:
    return min((n for n in range(1, number + 1) if number % n == 0), key=lambda n: abs(n - wanted))


def model_preset(name: str) -> DecoderConfig:
    """The named model's config. Raises ValueError with the known names."""
    if name not in PRESETS:
        raise ValueError(f"unknown model preset {name!r}; one of: {', '.join(PRESETS)}")
    return PRESETS[name]


ModelName = Literal[
    "gpt2-nano",
    "gpt2-124m",
    "gpt2-350m",
    "gpt2-774m",
    "gpt2-1558m",
    "llama-nano",
    "smollm2-135m",
    "llama-160m",
    "qwen3-0.6b",
    "llama-1b",
]


def llama(**sizes: Any) -> DecoderConfig:
    """A config with Llama's choices (Touvron et al. 2023): RMS norm, rotary positions, SwiGLU, no biases."""
    choices = {"norm": "rms", "positions": "rotary", "gated_mlp": True, "activation": "silu"}
    return DecoderConfig(**choices, attention_bias="none", mlp_bias=False, **sizes)


PRESETS: dict[ModelName, DecoderConfig] = {
    "gpt2-nano": DecoderConfig(context_length=256, d_model=128, n_heads=4, n_layers=4),  # for CPUs and tests
    "gpt2-124m": DecoderConfig(d_model=768, n_heads=12, n_layers=12),
    "gpt2-350m": DecoderConfig(d_model=1024, n_heads=16, n_layers=24),
    "gpt2-774m": DecoderConfig(d_model=1280, n_heads=20, n_layers=36),
    "gpt2-1558m": DecoderConfig(d_model=1600, n_heads=25, n_layers=48),
    # Llama's hidden width: two thirds of 4·d_model, so that three matrices cost what GPT-2's two do.
    "llama-nano": llama(context_length=256, d_model=128, n_heads=4, n_kv_heads=2, n_layers=4, mlp_width=384),
    # Shapes of published models, with the context of their pretraining: SmolLM2-135M, Qwen3-0.6B, Llama-3.2-1B.
    "smollm2-135m": llama(
        vocab_size=49152,
        context_length=2048,
        d_model=576,
        n_heads=9,
        n_kv_heads=3,
        n_layers=30,
        mlp_width=1536,
        rotary_theta=100000.0,
    ),
    # GPT-2 124M's tokenizer, depth, width and compute per token.
    "llama-160m": llama(d_model=768, n_heads=12, n_kv_heads=4, n_layers=12, mlp_width=2304, tied_head=False),
    "qwen3-0.6b": llama(
        vocab_size=151936,
        context_length=4096,
        d_model=1024,
        n_heads=16,
        n_kv_heads=8,
        n_layers=28,
        mlp_width=3072,
        head_width=128,
        norm_epsilon=1e-6,
        rotary_theta=1000000.0,
        query_key_norm=True,
    ),
    "llama-1b": llama(
        vocab_size=128256,
        context_length=8192,
        d_model=2048,
        n_heads=32,
        n_kv_heads=8,
        n_layers=16,
        mlp_width=8192,
        rotary_theta=500000.0,
    ),
}


def from_dict(cls: type, values: dict[str, Any], fill: bool = False) -> Any:
    """Builds a dataclass from JSON values; an unknown or missing key is a ValueError that names it.

    With `fill`, what is missing takes its default: for settings that may have been added since the values were written.
    A field marked as added does so always.
    """
    known = {field.name for field in dataclasses.fields(cls)}
    needed = {field.name for field in dataclasses.fields(cls) if not field.metadata.get("added")}
    if not isinstance(values, dict):
        raise ValueError(f"{cls.__name__} must be an object of fields; got {values!r}")
    if unknown := sorted(set(values) - known):
        raise ValueError(f"{cls.__name__} has no field {unknown[0]!r}; it has {', '.join(sorted(known))}")
    if not fill and (missing := sorted(needed - set(values))):
        raise ValueError(f"{cls.__name__} needs a {missing[0]!r}, which is missing: restore it from a copy")
    return cls(**values)
