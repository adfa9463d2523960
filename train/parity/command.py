"""Compare our GPT-2 with PyTorch's, number by number: `python -m train parity`.

From one set of weights and one batch: operations, activations, loss, every gradient, an AdamW step, a loss curve, and
greedy decoding, each against transformers' GPT2LMHeadModel in the same number format and in float64. The exit status is
1 when a row is wrong or a promise broken. docs/numerics.md explains the table.
"""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Options:
    """What to compare, and on what."""

    preset: Literal["gpt2-nano", "gpt2-124m", "gpt2-350m", "gpt2-774m", "gpt2-1558m"] = "gpt2-nano"
    """Model whose shapes are compared, with random weights."""
    hf: str = ""
    """Instead of a preset: a Hugging Face directory or model name, whose weights are compared."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Compute format; bfloat16 is mixed precision on both sides (PyTorch: autocast)."""
    device: Literal["cpu", "gpu"] = "cpu"
    """Where both sides run; the float64 reference of a single batch is always on the CPU."""
    steps: int = 100
    """Training steps of the loss curve."""
    learning_rate: float = 6e-4
    """Peak learning rate of the curve, reached after a tenth of its steps."""
    batch: int = 2
    """Sequences in a batch; even, for gradients are accumulated over two halves."""
    length: int = 64
    """Tokens in a sequence."""
    new_tokens: int = 256
    """Tokens to decode, or as many as the model's context holds."""
    data: Path | None = None
    """Prepared folder of token shards to train on; without one, ids are drawn by Zipf's law."""
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


def main(options: Options) -> int:
    """Compares, shows the table, writes the files; 0, or 1 when something is wrong."""
    missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"parity compares with PyTorch, and {' and '.join(missing)} cannot be found: install the group `test` "
            "(uv sync --group test)"
        )
    if options.device == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from llm_jax import backend

    backend.configure()
    from train.parity import page, terminal
    from train.parity.run import run

    report = run(options)
    options.out.mkdir(parents=True, exist_ok=True)
    report.write(options.out / "parity.json")
    page.write(report, options.out / "parity.html")
    terminal.show(report)
    print(f"{options.out / 'parity.html'} and parity.json are written")
    return 0 if report.passed else 1
