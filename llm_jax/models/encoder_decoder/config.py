"""What an encoder–decoder is, as a frozen dataclass that refuses nonsense when it is built. Imports no JAX."""

import dataclasses
from dataclasses import dataclass

from llm_jax.models.encoder.config import Activation, EncoderConfig, NormPlace


@dataclass(frozen=True)
class EncoderDecoderConfig:
    """The defaults are the base model of Vaswani et al. 2017, table 3."""

    vocab_size: int = 37000
    """Token ids of both languages; source, target and head share one embedding (§3.4)."""
    context_length: int = 512
    """Positions: the longest source, and the longest target."""
    d_model: int = 512
    """Width of the residual stream; even, because half of a position is sines and half cosines."""
    n_heads: int = 8
    """Attention heads; must divide d_model."""
    n_encoder_layers: int = 6
    """Blocks of the encoder: attention and MLP."""
    n_decoder_layers: int = 6
    """Blocks of the decoder: causal attention, attention to the source, and MLP."""
    mlp_width: int = 2048
    """Hidden width of the MLP."""
    norm: NormPlace = "post"
    """post: norm(x + f(x)), as in the paper; pre: x + f(norm(x)), with one more norm at the end of each half."""
    norm_epsilon: float = 1e-5
    """Added to the variance in a norm."""
    activation: Activation = "relu"
    """Of the MLP."""

    def __post_init__(self) -> None:
        if type(self.n_decoder_layers) is not int or self.n_decoder_layers < 1:
            raise ValueError(f"n_decoder_layers must be a whole number of at least 1; got {self.n_decoder_layers!r}")
        try:
            _ = self.encoder
        except ValueError as error:
            raise ValueError(str(error).replace("n_layers", "n_encoder_layers")) from None
        if self.d_model % 2:
            raise ValueError(f"d_model must be even, half sines and half cosines; got {self.d_model}")

    @property
    def encoder(self) -> EncoderConfig:
        """The same settings as those of an encoder's blocks."""
        shared = {field.name for field in dataclasses.fields(EncoderConfig)}
        same = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name in shared}
        return EncoderConfig(**same, n_layers=self.n_encoder_layers, n_segments=0)

    @property
    def d_head(self) -> int:
        """Width of one attention head."""
        return self.d_model // self.n_heads
