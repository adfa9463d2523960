"""Settings of `train sentences`."""

import math
from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class SentencesConfig:
    pairs: tyro.conf.Positional[Path]
    """CSV file of pairs without a header: sentence, sentence, similarity; as the STS benchmark's training set."""

    dev: Path | None = None
    """The same for choosing the best epoch. Default: a tenth of the pairs."""

    test: Path | None = None
    """The same for the last figure, which chooses nothing."""

    text: tuple[Path, ...] = ()
    """More text for the tokenizer and the first token vectors, a sentence a line."""

    out: Path = Path("encoders/sentences")
    """Folder for the encoder, a Hugging Face directory that `serve search --model` takes."""

    vocab_size: int = 8000
    """Tokens of the WordPiece vocabulary, which is learnt, too."""

    d_model: int = 256
    """Width of the encoder and of a sentence's vector."""

    n_layers: int = 1
    """Transformer blocks."""

    most_tokens: int = 48
    """Of a sentence; longer ones are cut."""

    epochs: int = 6
    """Passes over the pairs."""

    batch: int = 128
    """Pairs in a step; each is compared with all others."""

    rate: float = 1e-3
    """Learning rate at the beginning; it falls to 0 as half a cosine."""

    dropout: float = 0.2
    """Share of the numbers that are set to zero in training."""

    temperature: float = 0.05
    """Cosines are divided by it in the loss."""

    seed: int = 0

    def check(self) -> None:
        """Raises ValueError for a number out of range, FileNotFoundError or FileExistsError for a path."""
        for name in ("vocab_size", "d_model", "epochs", "batch"):
            if getattr(self, name) < 2 - (name == "epochs"):
                raise ValueError(f"--{name.replace('_', '-')} must be at least 2; got {getattr(self, name)}")
        if self.d_model % 32:
            raise ValueError(f"--d-model must be a multiple of 32, the width of a head; got {self.d_model}")
        if self.n_layers < 0 or not 4 <= self.most_tokens <= 512:
            raise ValueError(
                f"--n-layers must be at least 0 and --most-tokens from 4 to 512; got {self.n_layers} and "
                f"{self.most_tokens}"
            )
        if not (0 <= self.dropout < 1 and 0 < self.rate < 1 and 0 < self.temperature < math.inf):
            raise ValueError(
                "--dropout lies in [0, 1), --rate in (0, 1), --temperature is above 0; got "
                f"{self.dropout}, {self.rate} and {self.temperature}"
            )
        for path in (self.pairs, self.dev, self.test, *self.text):
            if path is not None and not path.is_file():
                raise FileNotFoundError(f"{path}: there is no such file")
        if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise FileExistsError(f"{self.out} is there already and would be lost: choose another --out, or remove it")
