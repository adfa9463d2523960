"""What a model is and how it is executed, as frozen dataclasses that refuse nonsense when they are built.

`GPTConfig` defines the function: equal `GPTConfig` and equal parameters give equal logits. `Execution` defines how it
is computed: number format, kernels, unrolled or scanned layers, rematerialisation. It changes speed, memory and
rounding, never the function. Neither imports JAX, so a command line reads them at once.

Sizes follow Radford et al. 2019 ("GPT-2"), table 2; counts of FLOPs follow Chowdhery et al. 2022 ("PaLM"), appendix B.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

VOCAB_MULTIPLE = 128  # a matrix product's tile on GPUs and TPUs; 50,257 → 50,304


def _added(default: Any) -> Any:
    """A field that older files lack; where it is missing, its default applies."""
    return dataclasses.field(default=default, metadata={"added": True})


@dataclass(frozen=True)
class GPTConfig:
    """A GPT-2: pre-norm Transformer decoder with learned positions. Its relatives differ from `mlp_width` on."""

    vocab_size: int = 50257
    """Token ids the tokenizer knows. The embedding is padded to a multiple of 128 rows, which no id uses."""
    context_length: int = 1024
    """Positions: the longest sequence, in tokens."""
    d_model: int = 768
    """Width of the residual stream."""
    n_heads: int = 12
    """Attention heads; must divide d_model."""
    n_layers: int = 12
    """Transformer blocks."""
    norm_epsilon: float = 1e-5
    """Added to the variance in layer norm."""
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

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context_length", "d_model", "n_heads", "n_layers"):
            _refuse_no_count(name, getattr(self, name))
        if self.d_model % self.n_heads:
            raise ValueError(
                f"n_heads must divide d_model; got d_model={self.d_model}, n_heads={self.n_heads}: "
                f"try n_heads={_nearest_divisor(self.d_model, self.n_heads)}"
            )
        if not (isinstance(self.norm_epsilon, float) and 0 < self.norm_epsilon < 1):
            raise ValueError(f"norm_epsilon must lie between 0 and 1; got {self.norm_epsilon!r}")
        if self.mlp_width is not None:
            _refuse_no_count("mlp_width", self.mlp_width)
        _refuse_unknown(self, "activation")
        for name in ("tied_head", "scale_scores", "scale_scores_by_layer"):
            if type(getattr(self, name)) is not bool:
                raise ValueError(f"{name} must be true or false; got {getattr(self, name)!r}")

    @property
    def d_head(self) -> int:
        """Width of one attention head."""
        return self.d_model // self.n_heads

    @property
    def d_hidden(self) -> int:
        """Hidden width of the MLP: `mlp_width`, or four times the model's, as in GPT-2."""
        return self.mlp_width or 4 * self.d_model

    @property
    def padded_vocab_size(self) -> int:
        """Rows in the stored embedding: `vocab_size` rounded up to a multiple of 128."""
        return -(-self.vocab_size // VOCAB_MULTIPLE) * VOCAB_MULTIPLE

    @property
    def n_parameters(self) -> int:
        """Trainable parameters, position embeddings included and vocabulary padding left out: 124,439,808 for GPT-2."""
        d, f = self.d_model, self.d_hidden
        attention = d * 3 * d + 3 * d + d * d + d
        mlp = d * f + f + f * d + d
        embeddings = (self.vocab_size * (1 if self.tied_head else 2) + self.context_length) * d
        return embeddings + self.n_layers * (attention + mlp + 4 * d) + 2 * d

    def flops_per_token(self, convention: Literal["nanogpt", "llm.c"] = "nanogpt") -> int:
        """Training FLOPs (forward and backward) per token at full context.

        `nanogpt`: 6(N − positions) + 12·L·D·T, every attention score counted (PaLM, appendix B);
        `llm.c`: 6N + 6·L·D·T, only the scores a causal mask keeps. N counts the padded vocabulary, as both do, and
        counts it once: of an embedding that is not the head as well, rows are only read. GPT-2 124M: 855.4 and 803.5
        MFLOP. An MFU must say which one it uses.
        """
        attention = self.n_layers * self.d_model * self.context_length
        stored = self.n_parameters + (self.padded_vocab_size - self.vocab_size) * self.d_model
        stored -= 0 if self.tied_head else self.vocab_size * self.d_model
        if convention == "llm.c":
            return 6 * stored + 6 * attention
        return 6 * (stored - self.context_length * self.d_model) + 12 * attention


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


def _refuse_unknown(config: Any, name: str) -> None:
    value, known = getattr(config, name), get_args(get_type_hints(type(config))[name])
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")


def _nearest_divisor(number: int, wanted: int) -> int:
    return min((n for n in range(1, number + 1) if number % n == 0), key=lambda n: abs(n - wanted))


def gpt2(size: str) -> GPTConfig:
    """The named model's config. Raises ValueError with the known names."""
    if size not in PRESETS:
        raise ValueError(f"unknown model preset {size!r}; one of: {', '.join(PRESETS)}")
    return PRESETS[size]


ModelName = Literal["gpt2-nano", "gpt2-124m", "gpt2-350m", "gpt2-774m", "gpt2-1558m"]

PRESETS: dict[ModelName, GPTConfig] = {
    "gpt2-nano": GPTConfig(context_length=256, d_model=128, n_heads=4, n_layers=4),  # for CPUs and tests
    "gpt2-124m": GPTConfig(d_model=768, n_heads=12, n_layers=12),
    "gpt2-350m": GPTConfig(d_model=1024, n_heads=16, n_layers=24),
    "gpt2-774m": GPTConfig(d_model=1280, n_heads=20, n_layers=36),
    "gpt2-1558m": GPTConfig(d_model=1600, n_heads=25, n_layers=48),
}


def from_dict(cls: type, values: dict[str, Any], fill: bool = False) -> Any:
    """Builds a dataclass from JSON values; an unknown or missing key is a ValueError that names it.

    With `fill`, what is missing takes its default: for settings that may have been added since the values were written.
    A field marked as added does so always.
    """
    known = {field.name for field in dataclasses.fields(cls)}
    needed = {field.name for field in dataclasses.fields(cls) if not field.metadata.get("added")}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"{cls.__name__} has no field {unknown[0]!r}; it has {', '.join(sorted(known))}")
    if not fill and (missing := sorted(needed - set(values))):
        raise ValueError(f"{cls.__name__} needs a {missing[0]!r}, which is missing: restore it from a copy")
    return cls(**values)
