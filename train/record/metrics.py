"""The record of a run: `metrics.jsonl`, one line a step, and the same numbers for TensorBoard.

A line is written after its step is done and before a checkpoint of that step is committed. So the file holds every step
up to a checkpoint. A resume removes the lines after the checkpoint, so no step is missing or written twice. JSON has no
infinity and no NaN: the loss of a skipped step is null.

Training does not depend on this file. Readers skip damaged lines, and a resume repairs the file (`mend`): a step whose
numbers are lost gets a line with the step alone.
"""

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from llm_jax import files
from llm_jax.files.faults import naming
from llm_jax.files.json_files import parse_json, read_log
from llm_jax.runs import METRICS, TENSORBOARD

KEYS = (
    "step",  # optimizer steps done
    "tokens",  # tokens seen in training so far
    "seconds",  # since the run began, without the pauses between resumes
    "train_loss",  # nats per token, of this step's batch before the update
    "val_loss",  # nats per token, after the update; only where measured
    "val_bits_per_byte",  # only where measured
    # Accuracies under different conventions (llm_jax.scoring.conventions); only where measured.
    "hellaswag_sum",
    "hellaswag_token_mean",
    "hellaswag_character",
    "hellaswag_byte",
    "lr",
    "grad_norm",  # before clipping
    "tokens_per_second",
    "mfu",  # fraction of the devices' peak FLOP/s, by nanoGPT's convention; null if the peak is not known
)

FINETUNE_KEYS = (  # only of fine-tuning, and of these only what the task has; val_…: over the held-out examples
    *(f"{split}{name}" for split in ("", "val_") for name in (
        "reward_chosen",  # preferences: β·(log π − log π_ref) of the chosen answers, mean over pairs
        "reward_rejected",
        "reward_margin",  # chosen − rejected
        "reward_accuracy",  # share of pairs whose chosen answer has the larger reward
        "accuracy",  # classes: share of examples sorted rightly
        "f1",  # classes: mean over classes (macro); only over the held-out examples
    )),
)  # fmt: skip
ALL_KEYS = KEYS + FINETUNE_KEYS


class Metrics:
    """Appends to a run's metrics; only process 0 does. A resumed run passes `keep_steps`: later lines are removed."""

    def __init__(self, run: Path, keep_steps: int = 0) -> None:
        self.path = run / METRICS
        _truncate_after(self.path, keep_steps)
        self._file = self.path.open(
            "a", buffering=1, encoding="utf8"
        )  # line-buffered, because others read it meanwhile
        self._board = _open_board(run / TENSORBOARD, keep_steps)

    def write(self, values: dict[str, Any]) -> None:
        """Appends one step.

        Raises:
            ValueError: a key is not in `ALL_KEYS`.
        """
        if unknown := set(values) - set(ALL_KEYS):
            raise ValueError(f"unknown metric {sorted(unknown)[0]!r}; metrics are {', '.join(ALL_KEYS)}")
        line = plain({key: values[key] for key in ALL_KEYS if key in values})
        with naming(self.path):
            self._file.write(json.dumps(line, allow_nan=False) + "\n")
        if self._board:
            for key, value in line.items():
                if key not in ("step", "tokens") and value is not None:
                    self._board.add_scalar(key, value, values["step"])

    def flush(self) -> None:
        """Writes everything to the disk before it returns. The loop calls it before it saves a checkpoint."""
        with naming(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())
        if self._board:
            self._board.flush()

    def close(self) -> None:
        self.flush()
        self._file.close()
        if self._board:
            self._board.close()

    def __enter__(self) -> "Metrics":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """The values for JSON: None in place of a number that is not finite."""
    return {key: None if isinstance(x, float) and not math.isfinite(x) else x for key, x in values.items()}


def read(run: Path) -> Iterator[dict[str, Any]]:
    """The lines of a run's metrics. Damaged and unfinished lines are left out with a warning.

    A line may hold its step alone: see `mend`.
    """
    return read_log(run / METRICS, _is_line)


def mend(run: Path, steps: int) -> list[int]:
    """Rewrites the metrics of a run that is resumed, so that each step up to `steps` has exactly one line.

    The file may have been damaged, cut, doubled or removed while the checkpoint is whole. A step whose numbers are lost
    gets a line with the step alone.

    Returns:
        The steps whose numbers are lost.
    """
    path = run / METRICS
    known = {line["step"]: line for line in read_log(path, _is_line, said=False)} if path.exists() else {}
    repaired = "".join(json.dumps(known.get(step, {"step": step})) + "\n" for step in range(1, steps + 1)).encode()
    if path.exists() and path.read_bytes().startswith(repaired):
        return []
    files.write(path, repaired)
    return [step for step in range(1, steps + 1) if step not in known]


def mend_and_say(run: Path, steps: int) -> None:
    """`mend`; prints which numbers are lost, if any are."""
    if lost := mend(run, steps):
        print(
            f"resume: {run / METRICS} was damaged and is mended: the numbers of {len(lost):,} steps, from step "
            f"{lost[0]:,} on, are lost; the training goes on as if they were there",
            flush=True,
        )


def _is_line(line: dict[str, Any]) -> bool:
    numbers = (line[key] for key in ALL_KEYS if key in line)
    is_number = all(x is None or (isinstance(x, int | float) and not isinstance(x, bool)) for x in numbers)
    return is_number and type(line.get("step")) is int


def _truncate_after(path: Path, step: int) -> None:
    """Removes the lines after that of `step`. Raises ValueError when lines up to `step` are missing."""
    if not path.exists():
        if step:
            raise ValueError(
                f"{path} is missing, but the checkpoint is of step {step}: put the file back, or start a new run"
            )
        return
    offset, last = 0, 0  # bytes to keep, and the step of their last line
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n") or last == step:
                break
            last = parse_json(line, f"{path}, line {number}:", "resume the run, which repairs it", dict).get("step")
            offset += len(line)
    if last != step:
        raise ValueError(
            f"{path} ends at step {last}, but the checkpoint is of step {step}: the file was cut or changed"
        )
    os.truncate(path, offset)


def _open_board(folder: Path, keep_steps: int):
    """TensorBoard's writer, or None if it is not installed. A resumed run purges its events after `keep_steps`."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=keep_steps + 1 if keep_steps else None)
