"""The count models on lines: bigram, trigram and so on."""

import math
from dataclasses import dataclass

import numpy as np

from llm_jax.models import ngram
from llm_jax.tokenizer.characters import CharacterTokenizer
from train.first_principles.makemore.dataset.lines import BREAK, Lines

ORDER, SMOOTHING = 3, 0.1  # where nothing is said


@dataclass(frozen=True)
class Counted:
    """A count model and what it gives each split, in nats per character; infinite where a count of 0 met the line."""

    model: ngram.NGram
    alphabet: CharacterTokenizer
    smoothing: float
    losses: dict[str, float]  # train, dev, test, and `all`: every line, counted and measured on itself

    def log_probabilities(self, prefixes_BT: np.ndarray) -> np.ndarray:
        """log p(next character) after each row of ids, (B, V).

        Raises ValueError, with the characters, where without smoothing nothing can follow.
        """
        context = self.model.order - 1
        padded = np.pad(prefixes_BT, ((0, 0), (context, 0)), constant_values=BREAK)
        with np.errstate(divide="ignore"):
            return np.log(np.stack([self._probabilities(row[len(row) - context :]) for row in padded]))

    def _probabilities(self, context: np.ndarray) -> np.ndarray:
        try:
            return ngram.next_symbol(self.model, context, self.smoothing)
        except ValueError:
            text = self.alphabet.decode(context.tolist())
            raise ValueError(
                f"{text!r} was never seen in the training lines, so nothing follows it: choose a --smoothing above 0, "
                f"another --prompt, or an --order below {self.model.order}"
            ) from None


def fit(lines: Lines, order: int, smoothing: float) -> Counted:
    """Counts n-grams of `order` in the training split; adds `smoothing` to every count when probabilities are taken."""
    model = ngram.fit(framed(lines.splits["train"], order), order, lines.vocab_size)
    losses = {name: loss(model, part, smoothing) for name, part in lines.splits.items()}
    everything = ngram.fit(framed(lines.all, order), order, lines.vocab_size)
    return Counted(model, lines.alphabet, smoothing, losses | {"all": loss(everything, lines.all, smoothing=0.0)})


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
