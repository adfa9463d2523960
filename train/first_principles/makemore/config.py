"""One run of makemore as a value: model, data, training, samples. No JAX is imported here."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from train.first_principles.makemore.dataset.splits import Rule

ModelName = Literal["bigram", "ngram", "neural-bigram", "mlp", "mlp-batchnorm", "rnn", "gru", "wavenet", "transformer"]

ONLY_COUNTED, ONLY_TRAINED = ("order", "smoothing"), ("steps", "batch_size", "learning_rate", "weight_decay")


@dataclass(frozen=True)
class MakemoreConfig:
    model: ModelName = "mlp-batchnorm"
    """Which model; bigram and ngram are counted, the others are trained."""
    data: Path | None = None
    """Text file, one name or word per line. Default: the words of Python's Unicode character names."""
    split: Rule = "lectures"
    """lectures: 80/10/10 as in Karpathy's lectures; readme: 1,000 lines for the test, those of his makemore.py."""
    run: str = ""
    """Name of the run; its folder is RUNS/NAME. Default: makemore-MODEL. When it is done, it replaces an older one."""
    runs: Path = Path("runs")
    """Folder of all runs."""
    order: int | None = None
    """ngram: characters counted together. Default: 3, a trigram, which knows two characters of context."""
    smoothing: float | None = None
    """bigram, ngram: added to every count before probabilities are taken from them. Default: 0.1."""
    initialisation: Literal["kaiming", "original"] = "kaiming"
    """mlp, mlp-batchnorm: width of the first random weights; original: all from N(0, 1), as in the first lecture."""
    gradients: Literal["jax", "by-hand"] = "jax"
    """mlp-batchnorm: by-hand takes the derivatives worked out with pen and paper (llm_jax.autodiff.by_hand)."""
    steps: int | None = None
    """Optimizer steps. Default: the model's own."""
    batch_size: int | None = None
    """Windows (mlp, wavenet) or lines (the others) per step. Default: the model's own."""
    learning_rate: float | None = None
    """Peak learning rate. Default: the model's own."""
    weight_decay: float | None = None
    """Decoupled decay of matrices, per unit of learning rate. Default: the model's own."""
    dropout: float | None = None
    """transformer: part of the numbers that is left out at random while training. Default: the model's own."""
    seed: int = 42
    """Seed of initial parameters, order of the data, and samples; the split has its own."""
    prompt: str = ""
    """Beginning of the lines that are made at the end."""
    samples: int = 10
    """Lines made at the end."""
    temperature: float = 1.0
    """Logits are divided by it before a character is drawn; below 1 is more cautious."""

    @property
    def is_counted(self) -> bool:
        return self.model in ("bigram", "ngram")

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must not be negative; got {self.seed}")
        for name in ("order", "steps", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1; got {value}")
        if self.model == "bigram" and self.order not in (None, 2):
            raise ValueError(f"a bigram has order 2; got --order {self.order}: use --model ngram")
        for name in ONLY_TRAINED if self.is_counted else ONLY_COUNTED:
            if getattr(self, name) is not None:
                how = "counted, not trained" if self.is_counted else "trained, not counted"
                raise ValueError(f"{self.model} is {how}: --{name.replace('_', '-')} has no meaning for it")
        if self.smoothing is not None and not 0 <= self.smoothing < math.inf:
            raise ValueError(f"smoothing must be 0 or more; got {self.smoothing}")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature must be above 0; got {self.temperature}")
        if self.samples < 0:
            raise ValueError(f"samples must not be negative; got {self.samples}")
        if self.gradients == "by-hand" and self.model != "mlp-batchnorm":
            raise ValueError(f"gradients by hand are derived for mlp-batchnorm; got --model {self.model}")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1); got {self.dropout}")
        if self.dropout and self.model != "transformer":
            raise ValueError(f"only the transformer has dropout; got --model {self.model}")
        if self.initialisation == "original" and self.model not in ("mlp", "mlp-batchnorm"):
            raise ValueError(f"only mlp and mlp-batchnorm have an original initialisation; got --model {self.model}")
