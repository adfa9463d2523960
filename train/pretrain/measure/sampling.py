"""Samples of text while a run trains, appended to `samples.txt`: what the loss means, for a reader."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from llm_jax import sharding
from llm_jax.decode.loop import generate, prepare
from llm_jax.decode.options import Sampling
from llm_jax.decode.prompts import encode_prompt
from llm_jax.models import decoder
from llm_jax.runs import SAMPLES
from llm_jax.tokenizer import Tokenizer
from train.cluster.devices import Job
from train.pretrain.config import TrainConfig

COUNT = 2  # samples each time
TEMPERATURE, TOP_K = 0.8, 200  # as nanoGPT shows its samples


class Sampler:
    """Writes the beginning of a document, as the parameters have it; the same step and seed give the same text."""

    def __init__(
        self,
        config: TrainConfig,
        vocabulary: Tokenizer | None,
        folder: Path,
        job: Job,
        say: Callable[[str], None],
    ) -> None:
        self._model, self._vocabulary, self._is_first, self._say = config.model, vocabulary, job.is_first, say
        self._path = folder / SAMPLES
        self._plan = decoder.make_plan(config.execution)  # on one device: nothing to place
        self._sampling = Sampling(temperature=TEMPERATURE, top_k=TOP_K, seed=config.seed)
        self._gather = jax.jit(lambda params: prepare(params, self._plan), out_shardings=sharding.named(job.mesh, ""))
        if vocabulary:
            self._prompt = _beginning(vocabulary)
            self._n_tokens = min(config.cadence.sample_tokens, self._model.context_length - len(self._prompt))

    def __call__(self, params: Any, step: int, should_stop: Callable[[], bool]) -> bool:
        """Samples and writes; False when asked to stop on the way. Every process takes part, the first one writes.

        Nothing happens where there is no tokenizer, no token is wanted, or the context has no room for one.
        """
        if not self._vocabulary or self._n_tokens < 1:
            return True
        here = jax.tree.map(lambda x: x.addressable_data(0), self._gather(params))
        if self._is_first:
            stop = self._vocabulary.borders.stops
            continuations = generate(
                here, [self._prompt] * COUNT, self._model, self._plan, self._sampling, self._n_tokens, stop
            )
            texts = [self._vocabulary.decode(ids) for ids in continuations]
            with self._path.open("a", encoding="utf8") as file:
                file.writelines(f"── step {step:,}, sample {i} ──\n{text}\n\n" for i, text in enumerate(texts, 1))
            self._say(f"step {step:,} writes: {' '.join(texts[0].split())[:160]!r}")
        return not should_stop()


def _beginning(vocabulary: Tokenizer) -> list[int]:
    """The start of a document, or the first id where the vocabulary can write none."""
    try:
        return encode_prompt(vocabulary, "")
    except ValueError:
        return [0]
