"""Validation loss over the first tokens of the validation split, and what it means in bits per byte of text.

Loss per token depends on how much text a token stands for; bits per byte, (loss summed / ln 2) / bytes of text, does
not, so models with different tokenizers can be compared by it.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from llm_jax import sharding
from llm_jax.tokenizer import Tokenizer
from llm_jax.tokenizer.derived import byte_lengths
from train.cluster.devices import Job
from train.data.loader import TokenBatches
from train.data.manifest import Manifest
from train.pretrain.config import TrainConfig

ROWS_PER_TRAINING_ROW = 4  # without a backward pass, four times the sequences fit


class Validation(NamedTuple):
    loss: float  # nats per token
    bits_per_byte: float | None  # None where no tokenizer is at hand to tell the bytes

    def metrics(self) -> dict[str, float]:
        """Under the names of `train.record.metrics`."""
        bits = {"val_bits_per_byte": self.bits_per_byte} if self.bits_per_byte is not None else {}
        return {"val_loss": self.loss, **bits}


def validation_windows(manifest: Manifest, config: TrainConfig) -> int:
    """How many windows of the validation split a run is measured on: the first ones, at most its `eval_tokens`."""
    length = config.model.context_length
    there = TokenBatches(manifest, "val", length, 1, seed=None).windows
    return max(1, min(there, config.cadence.eval_tokens // length))


class Evaluator:
    """The compiled evaluation and the windows it runs over: the same ones every time, in the order of the text."""

    def __init__(
        self,
        eval_step: Callable[..., tuple[jax.Array, jax.Array]],
        manifest: Manifest,
        vocabulary: Tokenizer | None,
        config: TrainConfig,
        job: Job,
    ) -> None:
        length = config.model.context_length
        self._windows = TokenBatches(manifest, "val", length, 1, seed=None)
        self._count = validation_windows(manifest, config)
        rows = ROWS_PER_TRAINING_ROW * config.batch_size // config.micro_batches(job.batch_devices)
        self._rows = min(rows, -(-self._count // job.batch_devices) * job.batch_devices)
        self._mesh = job.mesh
        self._eval_step = jax.jit(eval_step)
        self._bytes_of_id = byte_lengths(vocabulary) if vocabulary else None

    @property
    def windows(self) -> TokenBatches:
        """All windows of the split; the first `count` are evaluated."""
        return self._windows

    @property
    def count(self) -> int:
        return self._count

    def __call__(self, params: Any, should_stop: Callable[[], bool]) -> Validation | None:
        """The validation loss of `params`; None when asked to stop on the way.

        Raises ValueError where no token of the windows is one that the model knows.
        """
        sums, n_bytes = [], 0
        for start in range(0, self._count, self._rows):
            if should_stop():
                return None
            # The last batch is filled up with windows that weigh nothing.
            index = np.arange(start, start + self._rows)
            tokens = np.concatenate([self._windows.batch(int(i) % self._windows.windows) for i in index])
            weights = (index < self._count).astype(np.float32)
            sums.append(self._eval_step(params, self._place(tokens, "BT"), self._place(weights, "B")))
            if self._bytes_of_id is not None:
                n_bytes += int(self._bytes_of_id[tokens[index < self._count, 1:]].sum())
        nats, weight = (math.fsum(map(float, parts)) for parts in zip(*sums, strict=True))
        if not weight:
            raise ValueError(
                f"the first {self._count} windows of the validation split have no target: none of their tokens is an "
                "id of the model's vocabulary: look at the data with `python -m train verify`"
            )
        return Validation(nats / weight, nats / math.log(2) / n_bytes if n_bytes else None)

    def _place(self, x: np.ndarray, letters: str) -> jax.Array:
        sharded = sharding.named(self._mesh, letters)
        return jax.make_array_from_callback(x.shape, sharded, lambda where: x[where])
