"""What `train vision` trains, and how long."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from llm_jax.config import DecoderConfig, llama
from llm_jax.models.vision_language.config import VisionConfig

Fusion = Literal["pipeline", "early", "embedded", "cross", "contrastive"]


@dataclass(frozen=True)
class VisionRunConfig:
    """The models and their training. All ways get the same compute."""

    seeds: int = 3
    """Runs of each way, with seeds 0, 1, …; the tables show the mean and its 95 % interval."""
    petaflops: float = 0.016
    """Compute of each way and seed, in 10¹⁵ operations: training of every part, the pretrained ones included."""
    batch_size: int = 16
    """Pictures per step."""
    rate: float = 1e-3
    """Largest learning rate."""
    width: int = 96
    """Width of the tower and of the decoder; a multiple of 32, the width of a head."""
    layers: int = 3
    """Blocks of the tower and of the decoder."""
    patch: int = 8
    """Height and width of a patch of the tower, in pixels."""
    codes: int = 256
    """Early fusion: kinds of small patches, the picture's vocabulary."""
    code_patch: int = 4
    """Early fusion: height and width of such a patch, in pixels."""
    test_pictures: int = 500
    """Pictures of each test."""
    seed: int = 0
    """First of the seeds."""

    def __post_init__(self) -> None:
        least = {"seeds": 1, "batch_size": 2, "width": 32, "layers": 2, "patch": 1, "codes": 2, "code_patch": 1}
        for name, number in (least | {"test_pictures": 2, "seed": 0}).items():
            if getattr(self, name) < number:
                raise ValueError(f"{name} must be at least {number}; got {getattr(self, name)}")
        if self.width % 32:
            raise ValueError(f"width must be a multiple of 32, the width of a head; got {self.width}")
        for name in ("petaflops", "rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a number above 0; got {getattr(self, name)}")

    @property
    def all_seeds(self) -> range:
        """The seeds of the runs."""
        return range(self.seed, self.seed + self.seeds)

    @property
    def budget(self) -> float:
        """Operations of each way and seed."""
        return self.petaflops * 1e15

    def tower(self, image_size: int) -> VisionConfig:
        """The vision tower, for pictures of this size. Raises ValueError where patches do not fill them."""
        return VisionConfig(
            image_size=image_size,
            patch_size=self.patch,
            d_model=self.width,
            n_heads=self.width // 32,
            n_layers=self.layers,
            mlp_width=4 * self.width,
        )

    def decoder(self, vocab_size: int, length: int) -> DecoderConfig:
        """The decoder, for rows of at most `length` tokens."""
        sizes: dict[str, Any] = {"context_length": -(-length // 64) * 64, "vocab_size": vocab_size}
        width = {"d_model": self.width, "n_heads": self.width // 32, "mlp_width": -(-self.width * 8 // 96) * 32}
        return replace(llama(**sizes, **width, n_layers=self.layers), tied_head=False)
