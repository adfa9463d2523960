"""The state a run starts from: fresh parameters, or the newest checkpoint, with a word on how exact going on will be.

Three tiers. On the same devices a resumed run is bit-equal to one that never stopped. On others it sees the same
tokens, and its losses agree up to the order of summation. With another batch, data, tokenizer or seed it is another
run, and refused unless allowed (`run_folder.refuse_another_run`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from llm_jax.checkpoint import Checkpoints, Restored
from train.devices import Job
from train.step import TrainState

TOLERANCE = "1e-4 relative in float32"  # over the next hundred steps; tests/resume/test_resume.py holds it


class Start(NamedTuple):
    """Where the loop begins."""

    state: TrainState
    seconds: float = 0.0  # that the run has taken so far
    unfinished: dict[str, Any] | None = None  # numbers of the state's step, if it was not evaluated when it was due

    @property
    def steps_on_record(self) -> int:
        """Lines of the metrics to keep; the line of an unfinished step is written again."""
        return int(self.state.step) - bool(self.unfinished)


def begin_or_resume(
    resume: bool, checkpoints: Checkpoints, initialise: Callable[..., TrainState], seed: int, job: Job
) -> Start:
    """Fresh parameters, or the newest intact checkpoint; then prints which tier of exactness the resume meets."""
    key = jax.random.key(seed)
    if not resume or checkpoints.latest_step() is None:
        return Start(initialise(key))
    restored = checkpoints.restore(jax.eval_shape(initialise, key))
    if job.is_first:
        print(describe(restored, job.layout), flush=True)
    return Start(restored.state, restored.metadata["seconds"], restored.metadata["unfinished"])


def describe(restored: Restored, layout: dict[str, Any]) -> str:
    """Which tier this resume meets, in one line."""
    was = restored.metadata["layout"]
    if was == layout:
        return f"resume: from step {restored.step}, same devices: bit-equal to a run that never stopped"
    changes = ", ".join(f"{key} {was.get(key)} → {layout[key]}" for key in layout if was.get(key) != layout[key])
    return (
        f"resume: from step {restored.step}, other devices ({changes}): same tokens in the same order, losses equal "
        f"within {TOLERANCE}"
    )
