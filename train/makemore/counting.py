"""The count models on lines: bigram, trigram and so on."""

import math
from dataclasses import dataclass

import numpy as np

from llm_jax.models import ngram
from train.makemore.lines import BREAK, Lines


@dataclass(frozen=True)
class Counted:
    """A count model and what it gives each split, in nats per character; infinite where a count of 0 met the line."""

    model: ngram.NGram
    smoothing: float
    losses: dict[str, float]  # train, dev, test, and `all`: every line, counted and measured on itself

    def log_probabilities(self, prefixes_BT: np.ndarray) -> np.ndarray:
        """log p(next character) after each row of ids, (B, V)."""
        context = self.model.order - 1
        padded = np.pad(prefixes_BT, ((0, 0), (context, 0)), constant_values=BREAK)
        rows = [
            ngram.next_symbol(self.model, row[len(row) - context :] if context else row[:0], self.smoothing)
            for row in padded
        ]
        with np.errstate(divide="ignore"):
            return np.log(np.stack(rows))


def fit(lines: Lines, order: int, smoothing: float) -> Counted:
    """Counts n-grams of `order` in the training split; adds `smoothing` to every count when probabilities are taken."""
    model = ngram.fit(framed(lines.splits["train"], order), order, lines.vocab_size)
    losses = {name: loss(model, part, smoothing) for name, part in lines.splits.items()}
    everything = ngram.fit(framed(lines.all, order), order, lines.vocab_size)
    return Counted(model, smoothing, losses | {"all": loss(everything, lines.all, smoothing=0.0)})


def framed(lines: list[np.ndarray], order: int) -> list[np.ndarray]:
    """Each line with as many breaks before it as the first character's context needs, and one after it."""
    before, after = np.full(order - 1, BREAK), np.full(1, BREAK)
    return [np.concatenate([before, line, after]) for line in lines]


def loss(model: ngram.NGram, lines: list[np.ndarray], smoothing: float) -> float:
    """Mean −log p over every character and break."""
    before = model.order - 1
    text = np.concatenate(framed(lines, model.order))
    is_predicted = np.concatenate([np.arange(before + len(line) + 1) >= before for line in lines])
    probabilities = ngram.additive(model, text, smoothing)[is_predicted[before:]]
    with np.errstate(divide="ignore"):
        mean = -np.log(probabilities).mean()
    return math.inf if np.isnan(mean) else float(mean)
