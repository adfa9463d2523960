"""What a vision tower and a decoder that sees are, as frozen dataclasses that refuse nonsense. Imports no JAX."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from llm_jax.config import DecoderConfig

Activation = Literal["quick_gelu", "gelu", "gelu_tanh", "relu", "silu"]
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class VisionConfig:
    """CLIP's vision tower. The defaults are ViT-B/32's (Radford et al. 2021, table 20)."""

    image_size: int = 224
    """Height and width of a picture in pixels."""
    patch_size: int = 32
    """Height and width of a patch; must divide image_size."""
    d_model: int = 768
    """Width of the residual stream."""
    n_heads: int = 12
    """Attention heads; must divide d_model."""
    n_layers: int = 12
    """Transformer blocks."""
    mlp_width: int = 3072
    """Hidden width of the MLP."""
    activation: Activation = "quick_gelu"
    """Of the MLP; quick_gelu is x·σ(1.702·x)."""
    norm_epsilon: float = 1e-5
    """Added to the variance in a norm."""
    mean: tuple[float, float, float] = CLIP_MEAN
    """Mean of red, green and blue between 0 and 1, which is subtracted from the pixels."""
    std: tuple[float, float, float] = CLIP_STD
    """What the pixels are then divided by."""

    def __post_init__(self) -> None:
        for name in ("image_size", "patch_size", "d_model", "n_heads", "n_layers", "mlp_width"):
            _refuse_no_count(name, getattr(self, name))
        for whole, part in (("image_size", "patch_size"), ("d_model", "n_heads")):
            if getattr(self, whole) % getattr(self, part):
                raise ValueError(
                    f"{part} must divide {whole}; got {whole}={getattr(self, whole)}, {part}={getattr(self, part)}: "
                    "choose a divisor"
                )
        if self.activation not in get_args(Activation):
            raise ValueError(f"activation must be one of {', '.join(get_args(Activation))}; got {self.activation!r}")
        if not (isinstance(self.norm_epsilon, float) and 0 < self.norm_epsilon < 1):
            raise ValueError(f"norm_epsilon must lie between 0 and 1; got {self.norm_epsilon!r}")
        for name in ("mean", "std"):
            values = tuple(getattr(self, name))  # from a JSON file it is a list
            is_wrong = any(type(v) not in (int, float) or v < 0 or (name == "std" and not v) for v in values)
            if len(values) != 3 or is_wrong:
                raise ValueError(f"{name} must be three numbers, one a colour, not negative; got {getattr(self, name)}")
            object.__setattr__(self, name, values)

    @property
    def d_head(self) -> int:
        """Width of one attention head."""
        return self.d_model // self.n_heads

    @property
    def n_patches(self) -> int:
        """Patches of a picture: the vectors that it takes in the decoder's positions."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def patch_pixels(self) -> int:
        """Numbers in a patch: its pixels times three colours."""
        return 3 * self.patch_size**2


@dataclass(frozen=True)
class VisionLanguageConfig:
    """A tower, a projector and a decoder."""

    vision: VisionConfig
    text: DecoderConfig
    image_token: int
    """Id of the placeholder in whose positions the patches' vectors stand: one placeholder a patch."""
    feature_layer: int = -2
    """The layer of the tower whose output is taken: −1 is the last, −2 (LLaVA's) the one before it."""

    def __post_init__(self) -> None:
        if type(self.image_token) is not int or not 0 <= self.image_token < self.text.vocab_size:
            raise ValueError(
                f"image_token must be an id below the vocabulary's size, {self.text.vocab_size}; got "
                f"{self.image_token!r}"
            )
        if type(self.feature_layer) is not int or not -self.vision.n_layers <= self.feature_layer <= -1:
            raise ValueError(
                f"feature_layer must lie between −{self.vision.n_layers}, the first of the tower's layers, and −1, "
                f"the last; got {self.feature_layer!r}"
            )

    @property
    def feature_depth(self) -> int:
        """Layers of the tower that are computed."""
        return self.vision.n_layers + self.feature_layer + 1


def _refuse_no_count(name: str, value: Any) -> None:
    if type(value) is not int or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1; got {value!r}")
