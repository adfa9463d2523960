"""The token stream that both models train on: step → ids (B, T + 1), from prepared data or drawn at random.

Random ids follow Zipf's law, as words do: a few are common, most are rare. So there is something to learn and the loss
falls, which it would not on uniform ids. They need no file.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from train.data.integrity import open_data
from train.data.loader import TokenBatches

Stream = Callable[[int], np.ndarray]


def drawn(vocab_size: int, batch: int, length: int, seed: int) -> Stream:
    """Ids with probability proportional to 1/rank. The batch of a step depends on `seed` and the step alone."""
    totals = np.cumsum(1 / np.arange(1, vocab_size + 1))

    def load(step: int) -> np.ndarray:
        uniform = np.random.default_rng((seed, step)).random((batch, length + 1))
        return np.searchsorted(totals / totals[-1], uniform).astype(np.int32)

    return load


def prepared(data: Path, vocab_size: int, batch: int, length: int, steps: int) -> Stream:
    """The training split of a prepared folder, in the order of the text.

    Raises:
        ValueError: its tokenizer has more ids than the model, or it holds fewer than `steps` batches.
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
