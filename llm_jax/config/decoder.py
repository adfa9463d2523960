"""What a decoder computes: equal configs and equal parameters give equal logits.

Sizes follow Radford et al. 2019 ("GPT-2"), table 2; counts of FLOPs follow Chowdhery et al. 2022 ("PaLM"), appendix B.
"""

import math
from dataclasses import dataclass
from typing import Literal

from llm_jax.config.rotary import RotaryScaling
from llm_jax.config.values import added, from_dict, refuse_no_count, refuse_no_switch, refuse_unknown

VOCAB_MULTIPLE = 128  # a matrix product's tile on GPUs and TPUs; 50,257 → 50,304


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
    mlp_width: int | None = added(None)
    """Hidden width of the MLP; none: four times d_model."""
    activation: Literal["gelu_tanh", "gelu", "relu", "silu"] = added("gelu_tanh")
    """Of the MLP: GPT-2's tanh form of GELU, GELU itself (x·Φ(x)), or another."""
    tied_head: bool = added(True)
    """The token embedding is the head as well; otherwise the head is a matrix of its own."""
    scale_scores: bool = added(True)
    """Attention scores are divided by √(head width)."""
    scale_scores_by_layer: bool = added(False)
    """Attention scores are divided by the layer's number, counted from 1 (Mistral's GPT-2, stanford-crfm)."""
    norm: Literal["layer", "rms"] = added("layer")
    """Layer norm, or RMS norm, which subtracts no mean and has no bias."""
    positions: Literal["learned", "rotary"] = added("learned")
    """A table added to the embedding, or a rotation of queries and keys."""
    rotary_theta: float = added(10000.0)
    """Rotary: frequency i is θ^(−2i/head width)."""
    rotary_scaling: RotaryScaling | None = added(None)
    """Rotary: how the frequencies are changed for a longer context."""
    gated_mlp: bool = added(False)
    """down(activation(gate(x))·up(x)); with `silu` this is SwiGLU."""
    n_kv_heads: int | None = added(None)
    """Heads of keys and values, each shared by n_heads/n_kv_heads heads of queries; none: n_heads."""
    head_width: int | None = added(None)
    """Width of one head; none: d_model/n_heads."""
    attention_bias: Literal["all", "qkv", "none"] = added("all")
    """Which projections of attention have a bias: all, those to queries, keys and values, or none."""
    mlp_bias: bool = added(True)
    """The MLP's projections have a bias."""
    query_key_norm: bool = added(False)
    """RMS norm of every query and key over the head's width, before the rotation (Qwen3)."""

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context_length", "d_model", "n_heads", "n_layers"):
            refuse_no_count(name, getattr(self, name))
        for name in ("mlp_width", "n_kv_heads", "head_width"):
            if getattr(self, name) is not None:
                refuse_no_count(name, getattr(self, name))
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
            refuse_unknown(self, name)
        for name in (
            "tied_head", "scale_scores", "scale_scores_by_layer", "gated_mlp", "mlp_bias", "query_key_norm",
        ):  # fmt: skip
            refuse_no_switch(name, getattr(self, name))
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
    def sizes(self) -> dict[str, int]:
        """Letter of `llm_jax.shapes` → size; vocabulary without padding, and 3 for the 3 of GPT-2's qkv."""
        return {
            "V": self.vocab_size,
            "P": self.context_length,
            "D": self.d_model,
            "N": self.n_heads,
            "K": self.kv_heads,
            "H": self.d_head,
            "F": self.d_hidden,
            "3": 3,
        }

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


def _nearest_divisor(number: int, wanted: int) -> int:
    return min((n for n in range(1, number + 1) if number % n == 0), key=lambda n: abs(n - wanted))
