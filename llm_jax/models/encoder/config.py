"""What an encoder is, as a frozen dataclass that refuses nonsense when it is built. Imports no JAX."""

from dataclasses import dataclass
from typing import Literal, get_args

NormPlace = Literal["post", "pre"]
Activation = Literal["gelu_tanh", "gelu", "relu", "silu"]


@dataclass(frozen=True)
class EncoderConfig:
    """The defaults are bert-base-uncased (Devlin et al. 2019, §3)."""

    vocab_size: int = 30522
    """Token ids the tokenizer knows."""
    context_length: int = 512
    """Positions: the longest sequence, in tokens."""
    d_model: int = 768
    """Width of the residual stream."""
    n_heads: int = 12
    """Attention heads; must divide d_model."""
    n_layers: int = 12
    """Transformer blocks."""
    mlp_width: int = 3072
    """Hidden width of the MLP."""
    n_segments: int = 2
    """Kinds of segment, whose embedding is added to every token: BERT's first and second sentence. 0: none."""
    norm: NormPlace = "post"
    """post: norm(x + f(x)), as in BERT; pre: x + f(norm(x)), as in GPT-2, with one more norm at the end."""
    norm_epsilon: float = 1e-12
    """Added to the variance in a norm."""
    activation: Activation = "gelu"
    """Of the MLP."""
    has_masked_head: bool = False
    """The model predicts masked tokens: a layer, a norm, the token embedding and a bias."""

    def __post_init__(self) -> None:
        least = {"n_segments": 0, "n_layers": 0}
        for name in ("vocab_size", "context_length", "d_model", "n_heads", "n_layers", "mlp_width", "n_segments"):
            value = getattr(self, name)
            if type(value) is not int or value < least.get(name, 1):
                raise ValueError(f"{name} must be a whole number of at least {least.get(name, 1)}; got {value!r}")
        if self.d_model % self.n_heads:
            raise ValueError(
                f"n_heads must divide d_model; got d_model={self.d_model}, n_heads={self.n_heads}: choose a divisor"
            )
        if not (isinstance(self.norm_epsilon, float) and 0 < self.norm_epsilon < 1):
            raise ValueError(f"norm_epsilon must lie between 0 and 1; got {self.norm_epsilon!r}")
        for name, known in (("norm", get_args(NormPlace)), ("activation", get_args(Activation))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}; got {getattr(self, name)!r}")
        if type(self.has_masked_head) is not bool:
            raise ValueError(f"has_masked_head must be true or false; got {self.has_masked_head!r}")

    @property
    def d_head(self) -> int:
        """Width of one attention head."""
        return self.d_model // self.n_heads
