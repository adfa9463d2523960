"""HellaSwag while a run trains: the accuracy of the items of a local file, under all four conventions.

The items and the scoring are `llm_jax.scoring.hellaswag`'s, so a figure here is the figure that `serve evaluate` and
lm-evaluation-harness give on the same items. Every process of a job takes part, for the parameters may be spread over
all of them.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from llm_jax import sharding
from llm_jax.models import decoder
from llm_jax.scoring import hellaswag
from llm_jax.scoring.likelihood import TokenScores, score, token_scores
from llm_jax.tokenizer import Tokenizer
from train.cluster.devices import Job
from train.pretrain.config import TrainConfig


class HellaSwag:
    """The items, as ids, and the compiled scoring; the same items every time."""

    def __init__(
        self, items: list[hellaswag.Item], vocabulary: Tokenizer, config: TrainConfig, plan: decoder.Plan, job: Job
    ) -> None:
        self._items, self._requests = items, hellaswag.encode(items, vocabulary)
        self._context_length, self._job, self._platform = config.model.context_length, job, plan.platform
        everywhere = sharding.named(job.mesh, "")
        compute = partial(token_scores, config=config.model, plan=plan)
        self._compiled = jax.jit(
            lambda params, ids: compute(decoder.cast(params, config.model, plan), ids), out_shardings=everywhere
        )

    def __call__(self, params: Any, should_stop: Callable[[], bool]) -> dict[str, float] | None:
        """Accuracies under the names of `train.record.metrics`; None when asked to stop on the way."""
        rows = self._job.batch_devices
        call = partial(self._scores, params)
        answers = score(self._requests, call, self._context_length, rows, should_stop, platform=self._platform)
        if answers is None:
            return None
        found = hellaswag.accuracies(self._items, self._requests, answers)
        return {f"hellaswag_{name.replace(' ', '_')}": estimate.value for name, estimate in found.items()}

    def _scores(self, params: Any, tokens_BU: np.ndarray) -> TokenScores:
        place = sharding.named(self._job.mesh, "BT")
        return self._compiled(
            params, jax.make_array_from_callback(tokens_BU.shape, place, lambda where: tokens_BU[where])
        )


def open_hellaswag(
    path: Path | None, vocabulary: Tokenizer | None, config: TrainConfig, plan: decoder.Plan, job: Job
) -> HellaSwag | None:
    """None where no file is given. Raises FileNotFoundError or ValueError for one that cannot be used."""
    if path is None:
        return None
    if vocabulary is None:
        raise ValueError(f"--hellaswag {path} needs the data's tokenizer, which is not at hand: prepare the data here")
    items = hellaswag.read_items(path, limit=config.cadence.hellaswag_items or None)
    return HellaSwag(items, vocabulary, config, plan, job)
