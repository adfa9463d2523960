"""New lines: the next character is drawn from the model's probabilities, until it is the line's break."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from llm_jax.tokenizer.characters import CharacterTokenizer
from train.first_principles.makemore.dataset.lines import BREAK
from train.first_principles.makemore.models import Model

Predictor = Callable[[np.ndarray], np.ndarray]  # ids (B, T), a break first → log-probabilities of what follows (B, V)


def encode_prompt(alphabet: CharacterTokenizer, prompt: str, longest: int) -> list[int]:
    """The ids of the beginning of a line.

    Raises ValueError for a character that is not in the training text, a line break, or more than `longest` of them.
    """
    if "\n" in prompt or "\r" in prompt:
        raise ValueError(f"a prompt is the beginning of one line; got a line break in {prompt!r}")
    if len(prompt) > longest:
        raise ValueError(
            f"the prompt has {len(prompt)} characters; the longest line of the data has {longest}: shorten it"
        )
    try:
        return alphabet.encode(prompt)
    except ValueError as error:
        raise ValueError(f"--prompt {prompt!r} cannot begin a line: {error}") from None


def sample(
    predict: Predictor, prompt: list[int], count: int, longest: int, temperature: float, seed: int
) -> list[list[int]]:
    """`count` lines as ids, the prompt included and the break left out; none longer than `longest`."""
    rng = np.random.default_rng(seed)
    tokens_BT = np.tile(np.array([BREAK, *prompt], np.int32), (count, 1))
    while tokens_BT.shape[1] <= longest and not (tokens_BT[:, 1:] == BREAK).any(axis=1).all():
        scores_BV = predict(tokens_BT) / temperature
        # The largest of log p + Gumbel noise is a draw from p.
        drawn_B = (scores_BV + rng.gumbel(size=scores_BV.shape)).argmax(axis=1)
        tokens_BT = np.column_stack([tokens_BT, drawn_B.astype(np.int32)])
    return [_until_break(row[1:].tolist()) for row in tokens_BT]


def neural(model: Model, params: Any) -> Predictor:
    """The predictions of a trained network; `params` are calibrated."""

    @jax.jit
    def log_probabilities(tokens_BT, last):
        logits = model.logits(params, tokens_BT)
        return jax.nn.log_softmax(logits if model.reads == "windows" else logits[:, last])

    def predict(prefixes_BT: np.ndarray) -> np.ndarray:
        length = prefixes_BT.shape[1]
        if model.reads == "windows":
            padded = np.pad(prefixes_BT, ((0, 0), (model.length, 0)), constant_values=BREAK)[:, -model.length :]
        else:
            padded = np.pad(prefixes_BT, ((0, 0), (0, model.length - length)), constant_values=BREAK)
        return np.asarray(log_probabilities(padded, length - 1))

    return predict


def _until_break(ids: list[int]) -> list[int]:
    return ids[: ids.index(BREAK)] if BREAK in ids else ids
