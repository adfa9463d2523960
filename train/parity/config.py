"""Options of `train parity`: the model, the number format and the sizes of the comparison."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from llm_jax.config import ModelName

SequenceName = Literal["bert-nano", "marian-nano"]


@dataclass(frozen=True)
class ParityConfig:
    """What to compare, and on which device."""

    preset: ModelName | SequenceName = "gpt2-nano"
    """Model whose shapes are compared, with random weights. bert-nano is an encoder with its head for masked tokens,
    marian-nano an encoder–decoder."""
    hf: str = ""
    """Instead of a preset: a Hugging Face directory or model name, whose weights are compared."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Compute format; bfloat16 is mixed precision on both sides (PyTorch: autocast)."""
    device: Literal["cpu", "gpu"] = "cpu"
    """Device of both models. The float64 reference of a single batch always runs on the CPU."""
    steps: int = 100
    """Training steps of the loss curve."""
    learning_rate: float = 6e-4
    """Peak learning rate of the loss curve, reached after a tenth of its steps."""
    batch: int = 2
    """Sequences in a batch. Must be even, because gradients are also accumulated over two halves."""
    length: int = 64
    """Tokens in a sequence."""
    new_tokens: int = 256
    """Tokens to decode; fewer if the model's context holds fewer."""
    data: Path | None = None
    """Prepared folder of token shards to train on. Without one, token ids are drawn by Zipf's law."""
    seed: int = 0
    """Seed of weights, ids and inputs."""
    out: Path = Path("parity")
    """Folder for parity.json and parity.html."""

    def __post_init__(self) -> None:
        if self.batch < 2 or self.batch % 2:
            raise ValueError(f"--batch must be even and at least 2 (two micro-batches); got {self.batch}")
        for name in ("steps", "length", "new_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be at least 1; got {getattr(self, name)}")
        if self.is_sequence and not self.hf and (self.data or self.length < 6):
            raise ValueError(
                f"{self.preset} is compared on ids drawn at random, at least 6 a row: leave out --data; --length is "
                f"{self.length}"
            )

    @property
    def is_sequence(self) -> bool:
        """Whether the preset is an encoder or an encoder–decoder."""
        return self.preset in get_args(SequenceName)
