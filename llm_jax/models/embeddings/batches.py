"""A text → arrays of equal shape for `skip_gram.train_chunk`.

An epoch leaves out frequent words by chance, then draws a window for each position. The rest is cut into chunks. A
chunk is some streams of `SPAN` consecutive positions, each divided into blocks. One update of the vectors takes one
block of every stream: so its products are large enough for the processor, and its words come from several places.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from llm_jax.models.embeddings.config import SkipGramConfig
from llm_jax.models.embeddings.vocabulary import Text, Vocabulary

SPAN, MOST_STREAMS = 2048, 8  # positions of a stream in a chunk
BLOCKS = (32, 16, 8, 4)
# An update adds up the gradients of all its pairs. Where rate × pairs of one word is larger, it would overshoot.
LARGEST_STEP = 4.0
NOWHERE = -1  # the sentence of padding


class Chunk(NamedTuple):
    """Blocks of text: what stands where, which sentence it belongs to, how far its window reaches, and negatives.

    G streams, T blocks, C positions a block, W the window, M negatives of a block.
    """

    ids: np.ndarray  # int32 [G, W + T·C + W]
    sentences: np.ndarray  # int32, the same
    windows: np.ndarray  # int32 [T, G, C]; 0 for padding
    drawn: np.ndarray  # int32 [T, G, M]; draw="each": [T, G, C, 2W, K]
    rates: np.ndarray  # float32 [T]


def shape(vocabulary: Vocabulary, config: SkipGramConfig) -> tuple[int, int]:
    """Blocks in one update, and positions in a block: fewer where one word is a large part of the text."""
    kept = vocabulary.counts * vocabulary.kept(config.subsample)
    pairs_a_position = (kept.max() / kept.sum()) * (config.window + 1) * (config.negatives + 1)
    positions = LARGEST_STEP / (config.rate * pairs_a_position)
    block = next((size for size in BLOCKS if size <= positions), BLOCKS[-1])
    return int(np.clip(positions / block, 1, MOST_STREAMS)), block


def thinned(text: Text, kept: np.ndarray, random: np.random.Generator) -> Text:
    """The text with each occurrence kept by its word's probability."""
    chosen = random.random(len(text.ids), np.float32) < kept[text.ids]
    return Text(text.ids[chosen], text.sentences[chosen])


def epoch(
    text: Text, vocabulary: Vocabulary, config: SkipGramConfig, number: int, table: np.ndarray
) -> Iterator[tuple[Chunk, float]]:
    """The chunks of epoch `number`, and the share of it that is done after each. The same seed gives the same ones."""
    random = np.random.default_rng((config.seed, number))
    thin = thinned(text, vocabulary.kept(config.subsample), random)
    (streams, block), halo = shape(vocabulary, config), config.window
    steps, size, total = SPAN // block, streams * SPAN, len(thin.ids)
    for start in range(0, total, size):
        ids, sentences = (np.full(size + 2 * halo, fill, np.int32) for fill in (0, NOWHERE))
        first, last = max(start - halo, 0), min(start + size + halo, total)
        into = slice(first - start + halo, last - start + halo)
        ids[into], sentences[into] = thin.ids[first:last], thin.sentences[first:last]
        windows = random.integers(1, config.window + 1, size, np.int32)
        windows[max(total - start, 0) :] = 0
        done = (start + np.arange(steps) * (size / steps)) / total
        progress = np.minimum((number + np.minimum(done, 1.0)) / config.epochs, 1.0)
        drawn = (block,) if config.draw == "shared" else (block, 2 * halo, config.negatives)
        yield (
            Chunk(
                ids=_overlapping(ids, streams, halo),
                sentences=_overlapping(sentences, streams, halo),
                windows=np.ascontiguousarray(windows.reshape(streams, steps, block).swapaxes(0, 1)),
                drawn=table[random.integers(0, len(table), (steps, streams, *drawn), np.int32)],
                rates=(config.rate * np.maximum(1 - progress, 1e-4)).astype(np.float32),
            ),
            min((start + size) / total, 1.0),
        )


def _overlapping(row: np.ndarray, streams: int, halo: int) -> np.ndarray:
    """The parts of each stream, with the positions beside them that its windows reach."""
    return np.stack([row[i * SPAN : (i + 1) * SPAN + 2 * halo] for i in range(streams)])
