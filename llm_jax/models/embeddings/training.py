"""A whole training run: text → vectors, with progress after each chunk."""

from collections.abc import Callable

import jax
import numpy as np

from llm_jax.models.embeddings import batches
from llm_jax.models.embeddings.config import SkipGramConfig
from llm_jax.models.embeddings.skip_gram import SkipGram, init, train_chunk
from llm_jax.models.embeddings.vocabulary import Text, Vocabulary


def train(
    text: Text, vocabulary: Vocabulary, config: SkipGramConfig, progress: Callable[[float], None] = lambda _: None
) -> SkipGram:
    """Both tables after `config.epochs` passes. `progress` is called with the share that is done.

    Raises:
        ValueError: the vectors grew without bound; the message names the cure.
    """
    params = init(jax.random.key(config.seed), len(vocabulary), config.width)
    table = vocabulary.table()
    for number in range(config.epochs):
        for chunk, done in batches.epoch(text, vocabulary, config, number, table):
            params = train_chunk(params, chunk, config.negatives)
            progress((number + done) / config.epochs)
    if not np.isfinite(np.asarray(params.neighbour)).all():
        raise ValueError(f"the vectors are no longer finite at a rate of {config.rate}: lower --rate")
    return params
