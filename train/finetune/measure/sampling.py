"""Answers to a few held-out prompts, before the first step and whenever samples are due, appended to `samples.txt`.

The most likely tokens are written (greedy), so two samples differ only by the parameters.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from llm_jax import adapters, sharding
from llm_jax.backend import release_memory
from llm_jax.config import Execution
from llm_jax.decode.loop import generate, prepare
from llm_jax.decode.options import Sampling
from llm_jax.models import decoder
from llm_jax.runs import SAMPLES
from llm_jax.tokenizer import Tokenizer
from train.cluster.devices import Job
from train.finetune.trained import Trainable

COUNT = 3  # prompts


class Sampler:
    """Writes what the model answers to the prompts; the same parameters give the same text."""

    def __init__(
        self,
        prompts: Sequence[Sequence[int]],
        n_tokens: int,
        trainable: Trainable,
        base: decoder.Decoder | None,
        execution: Execution,
        tokenizer: Tokenizer,
        folder: Path,
        job: Job,
        say: Callable[[str], None],
    ) -> None:
        n_tokens = min(n_tokens, trainable.model.context_length // 2)
        longest = trainable.model.context_length - n_tokens
        self._prompts = [list(prompt)[-longest:] for prompt in prompts] if n_tokens else []
        self._n_tokens, self._model, self._base = n_tokens, trainable.model, base
        self._tokenizer, self._is_first, self._say = tokenizer, job.is_first, say
        self._path = folder / SAMPLES
        self._plan = decoder.make_plan(execution)  # on one device: nothing to place

        def ready(trained: Any, base: decoder.Decoder | None) -> decoder.Decoder:
            if trainable.lora:
                assert base is not None
                trained = adapters.merge(base, trained, trainable.model, trainable.lora)
            return prepare(trained, self._plan)

        self._gather = jax.jit(ready, out_shardings=sharding.named(job.mesh, ""))

    def __call__(self, trained: Any, step: int, should_stop: Callable[[], bool]) -> bool:
        """Samples and writes; False when asked to stop on the way. Every process takes part, the first one writes."""
        if not self._prompts:
            return True
        here = jax.tree.map(lambda x: x.addressable_data(0), self._gather(trained, self._base))
        if self._is_first:
            stop = self._tokenizer.borders.stops
            answers = generate(
                here, self._prompts, self._model, self._plan, Sampling(temperature=0.0), self._n_tokens, stop
            )
            texts = [self._tokenizer.decode(ids) for ids in answers]
            with self._path.open("a" if step else "w", encoding="utf8") as file:
                for number, (prompt, text) in enumerate(zip(self._prompts, texts, strict=True), 1):
                    asked = self._tokenizer.decode(prompt)
                    file.write(f"── step {step:,}, prompt {number} ──\n{asked}\n── answer ──\n{text}\n\n")
            self._say(f"step {step:,} answers: {' '.join(texts[0].split())[:160]!r}")
        del here
        release_memory()  # the merged model and its cache, which the steps have no use for
        return not should_stop()
