"""The token stream both sides train on: step → B × (T + 1) ids, from prepared data or drawn.

Drawn ids follow Zipf's law, as words do (a few common, most rare): so a loss has something to learn and falls, which it
would not on uniform ids, and no file is needed.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from train.data.integrity import open_data
from train.data.loader import TokenBatches

Stream = Callable[[int], np.ndarray]


def drawn(vocab_size: int, batch: int, length: int, seed: int) -> Stream:
    """Ids with probability proportional to 1/rank; step s is a function of (seed, s)."""
    totals = np.cumsum(1 / np.arange(1, vocab_size + 1))

    def load(step: int) -> np.ndarray:
        uniform = np.random.default_rng((seed, step)).random((batch, length + 1))
        return np.searchsorted(totals / totals[-1], uniform).astype(np.int32)

    return load


def prepared(data: Path, vocab_size: int, batch: int, length: int, steps: int) -> Stream:
    """The training split of a prepared folder, in the order of the text.

    Raises ValueError when its tokenizer knows more ids than the model, and when `steps` batches are more than it has.
    """
    manifest = open_data(data)
    if manifest.tokenizer.vocab_size > vocab_size:
        raise ValueError(
            f"{data} was tokenised with {manifest.tokenizer.name} ({manifest.tokenizer.vocab_size:,} ids), but the "
            f"model has a vocabulary of {vocab_size:,}: compare a model with the data's tokenizer"
        )
    batches = TokenBatches(manifest, "train", length, batch, seed=None)
    if steps > batches.batches_per_epoch:
        raise ValueError(
            f"{data} has {batches.batches_per_epoch:,} batches of {batch} × {length} tokens, but --steps is {steps:,}: "
            f"lower --steps, --batch or --length"
        )
    return batches.batch
