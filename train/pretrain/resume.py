"""The state a run starts from: fresh parameters or the newest checkpoint. A resume prints how exact it will be.

On the same devices a resumed run is bit-equal to one that never stopped. On other devices it sees the same tokens, and
its losses agree up to the order of summation. With other settings it resumes, and prints that this is no longer the
same run. With another batch, data, tokenizer or seed it is refused, unless the user allows it
(`run_folder.refuse_another_run`).
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax

from llm_jax.checkpoint import Checkpoints, Restored
from llm_jax.checkpoint.layout import committed_steps
from llm_jax.runs import CHECKPOINTS
from train.cluster.devices import Job
from train.pretrain.run_folder import UNCHANGED, Changes
from train.pretrain.step import TrainState

TOLERANCE = "1e-4 relative in float32"  # over the next hundred steps; tests/resume/test_resume.py holds it


class Start(NamedTuple):
    """Where the loop begins."""

    state: TrainState
    seconds: float = 0.0  # that the run has taken so far
    tokens: int = 0  # that it has seen so far
    unfinished: dict[str, Any] | None = None  # numbers of the state's step, if it was not evaluated when it was due

    @property
    def steps_on_record(self) -> int:
        """Lines of the metrics to keep; the line of an unfinished step is written again."""
        return int(self.state.step) - bool(self.unfinished)


def begin_or_resume(
    resume: bool,
    checkpoints: Checkpoints,
    initialise: Callable[..., TrainState],
    seed: int,
    job: Job,
    changes: Changes = UNCHANGED,
) -> Start:
    """Fresh parameters, or the newest intact checkpoint; then prints which tier of exactness the resume meets."""
    key = jax.random.key(seed)
    if not resume:
        return Start(initialise(key))
    # A compiled function's own `eval_shape` also knows on which devices the arrays lie.
    shapes_of = getattr(initialise, "eval_shape", None) or partial(jax.eval_shape, initialise)
    restored = checkpoints.restore(shapes_of(key)) if checkpoints.latest_step() is not None else None
    if job.is_first:
        print(describe(restored, job.layout, changes.numbers), flush=True)
        if changes.rest:
            print(f"resume: {', '.join(changes.rest)}", flush=True)
    if restored is None:
        return Start(initialise(key))
    said = restored.metadata
    return Start(restored.state, said["seconds"], _tokens(restored), said["unfinished"])


def refuse_fewer_steps(run: Path, steps: int) -> None:
    """Raises ValueError for a resume that would end before the step that the run has reached."""
    if (done := max(committed_steps(run / CHECKPOINTS), default=0)) > steps:
        raise ValueError(f"{run} is at step {done:,} already; --steps {steps:,} is fewer: leave it out, or say more")


def describe(restored: Restored | None, layout: dict[str, Any], changes: Sequence[str] = ()) -> str:
    """Which tier this resume meets, in one line."""
    if restored is None:
        return "resume: no checkpoint yet: begins at step 0" + (f", with {', '.join(changes)}" if changes else "")
    was = restored.metadata["layout"]
    moves = ", ".join(f"{key} {was.get(key)} → {layout[key]}" for key in layout if was.get(key) != layout[key])
    devices = f"other devices ({moves})" if was != layout else "same devices"
    begun = f"resume: from step {restored.step}, {devices}"
    if changes:
        return f"{begun}, other settings ({', '.join(changes)}): another run from here on"
    if was != layout:
        return f"{begun}: same tokens in the same order, losses equal within {TOLERANCE}"
    return f"{begun}: bit-equal to a run that never stopped"


def _tokens(restored: Restored) -> int:
    """A checkpoint of an older version does not say; its run had one batch all along."""
    said = restored.metadata
    if "tokens" in said:
        return said["tokens"]
    return restored.step * said["identity"]["global_batch"] * said["identity"]["context_length"]
