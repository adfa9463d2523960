"""A baseline for the GPT's loss: an interpolated 5-gram model of the bytes that a run was trained on.

A loss alone says little. A simple model that was fitted to the same training bytes gives a comparison on the same
validation bytes. Both results are in bits per byte, so they do not depend on the GPT's tokenizer.
"""

from collections.abc import Iterator

import numpy as np

from llm_jax.models import ngram
from llm_jax.tokenizer import Tokenizer
from train.data.loader import TokenBatches
from train.data.manifest import Manifest
from train.pretrain.config import TrainConfig

ORDER = 5
BYTES = 256


def ngram_bits_per_byte(manifest: Manifest, vocabulary: Tokenizer, config: TrainConfig, val_windows: int) -> float:
    """Bits per byte of the first `val_windows` validation windows, under a 5-gram model (Witten & Bell).

    The model is fitted to the windows that `config.steps` steps train on.
    """
    length = config.model.context_length
    batches = TokenBatches(manifest, "train", length, config.batch_size, config.seed)
    trained_on = np.unique(np.concatenate([batches.windows_of(step) for step in range(config.steps)]))
    training = list(_texts(manifest, "train", trained_on, vocabulary, length))
    validation = list(_texts(manifest, "val", np.arange(val_windows), vocabulary, length))
    model = ngram.fit(training, ORDER, BYTES)
    bits = -sum(np.log2(ngram.interpolated(model, text)).sum() for text in validation)
    return float(bits / sum(map(len, validation)))


def _texts(
    manifest: Manifest, split: str, windows: np.ndarray, vocabulary: Tokenizer, length: int
) -> Iterator[np.ndarray]:
    """The bytes of these windows (sorted). A sequence ends where a document ends, or the next window is missing."""
    in_order = TokenBatches(manifest, split, length, 1, seed=None)
    borders = vocabulary.borders.between
    for run in np.split(windows, np.flatnonzero(np.diff(windows) != 1) + 1):
        tokens = np.concatenate(
            [in_order.batch(int(window))[0, :-1] for window in run] + [in_order.batch(int(run[-1]))[0, -1:]]
        )
        is_border = np.isin(tokens, borders)
        for document in np.split(np.arange(len(tokens)), np.flatnonzero(is_border)):
            ids = tokens[document[~is_border[document]]].tolist()
            if ids:
                yield np.frombuffer(vocabulary.decode_bytes(ids), np.uint8)
