"""What counting alone would reach: an interpolated 5-gram model of the bytes that a run has seen.

A loss means little by itself. The same training bytes, the same validation bytes, and a model anybody can follow give
it a scale. Both are in bits per byte, so the GPT's tokenizer plays no part.
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
    """Bits per byte of the first `val_windows` windows of the validation split, under a 5-gram model (Witten & Bell)
    fitted to the windows that `config.steps` steps train on.
    """
    length = config.model.context_length
    batches = TokenBatches(manifest, "train", length, config.batch_size, config.seed)
    seen = np.unique(np.concatenate([batches.windows_of(step) for step in range(config.steps)]))
    training = list(_texts(manifest, "train", seen, vocabulary, length))
    validation = list(_texts(manifest, "val", np.arange(val_windows), vocabulary, length))
    model = ngram.fit(training, ORDER, BYTES)
    bits = -sum(np.log2(ngram.interpolated(model, text)).sum() for text in validation)
    return float(bits / sum(map(len, validation)))


def _texts(
    manifest: Manifest, split: str, windows: np.ndarray, vocabulary: Tokenizer, length: int
) -> Iterator[np.ndarray]:
    """The bytes of these windows (sorted), each run of neighbouring windows and each document a sequence of its own."""
    plain = TokenBatches(manifest, split, length, 1, seed=None)
    borders = vocabulary.borders.between
    for run in np.split(windows, np.flatnonzero(np.diff(windows) != 1) + 1):
        tokens = np.concatenate(
            [plain.batch(int(window))[0, :-1] for window in run] + [plain.batch(int(run[-1]))[0, -1:]]
        )
        is_border = np.isin(tokens, borders)
        for document in np.split(np.arange(len(tokens)), np.flatnonzero(is_border)):
            ids = tokens[document[~is_border[document]]].tolist()
            if ids:
                yield np.frombuffer(vocabulary.decode_bytes(ids), np.uint8)
