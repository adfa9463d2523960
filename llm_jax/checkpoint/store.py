"""Saves a run's state in the background and restores the newest intact one.

A checkpoint is a folder named by its step (see `layout`). It is written as `.partial-00000500`: each process writes and
hashes its share of the arrays (`shares`), all wait at a barrier, and the first process collects the hashes and renames
the folder. That rename is the commit: a folder without the prefix is complete, and if its files do not match their
hashes, it is damaged. A process that is killed at any instant leaves at most a `.partial-…`, which the next start
removes. `save` copies arrays to the host and returns; the rest happens in orbax's thread, whose `finalize` runs on the
first process after all have written.

A run has one history. Committing step s therefore removes older checkpoints of step s and later, which are left when a
run was resumed from an earlier step. orbax's CheckpointManager is not used, because it finds steps by the names of
their folders and does not check the files.
"""

import asyncio
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from llm_jax.checkpoint import arrays, integrity, layout, shares
from llm_jax.checkpoint.retention import Retention
from llm_jax.files.faults import CURES, found_in

PARTIAL_PREFIX = ".partial-"
WRITE_TIMEOUT_SECONDS = 3600  # for one checkpoint; a stuck file system is an error after that, not a hung run

PyTree = Any


@dataclass(frozen=True)
class Restored:
    """A checkpoint read back."""

    step: int
    state: PyTree
    metadata: dict[str, Any]
    passed_over: tuple[str, ...] = ()
    """Newer checkpoints that were damaged: one sentence for each, with the file and the damage."""


class Checkpoints:
    """The checkpoints of one run, for the job that writes them (see RunLock).

    Every process of a job calls every method; the directory must be on a file system they share. `keep_last`,
    `keep_every` and `keep_best` are explained in Retention.
    """

    def __init__(
        self, directory: Path, keep_last: int = 3, keep_every: int | None = None, keep_best: bool = True
    ) -> None:
        self.directory = Path(directory).absolute()  # orbax refuses relative paths
        self._retention = Retention(keep_last, keep_every, keep_best)
        self._newest: int | None = None  # the step that this object saved or restored last
        if jax.process_index() == 0:
            self.directory.mkdir(parents=True, exist_ok=True)
            for leftover in self.directory.glob(f"{PARTIAL_PREFIX}*"):
                _remove(leftover)
        self._checkpointer = ocp.AsyncCheckpointer(
            # Compression would save only 8 % of parameters and moments, and take cores from the training.
            shares.HashingHandler(use_compression=False),
            async_options=ocp.options.AsyncOptions(timeout_secs=WRITE_TIMEOUT_SECONDS),
            temporary_path_class=_then(self._commit),
        )

    def save(
        self,
        step: int,
        state: PyTree,
        metadata: dict[str, Any],
        val_loss: float | None = None,
        wait: bool = False,
    ) -> None:
        """Copies `state` to the host and returns; it is written and committed in the background.

        With `wait` the call returns after the commit.

        The caller may donate the state's buffers as soon as this returns. The step saved or restored last is not
        written again.

        Raises:
            ValueError: the step is not a whole number, 0 or more, or leaves or metadata cannot be stored.
            OSError: this save (with `wait`) or the one before it failed.
        """
        step = layout.refuse_no_step(step)
        self.wait()
        if step != self._newest:
            leaves = arrays.name_leaves(state)
            partial = self._folder(step, PARTIAL_PREFIX)
            record = layout.render_record(step, leaves, metadata, val_loss)
            if jax.process_index() == 0:
                _remove(partial)  # of a save that failed in this process
                partial.mkdir()
                (partial / layout.METADATA_FILE).write_text(record)
            self._checkpointer.save(partial / layout.STATE_FOLDER, args=shares.SaveShares(arrays.storable(leaves)))
            self._newest = step
        if wait:
            self.wait()

    def restore(self, template: PyTree, step: int | None = None) -> Restored:
        """The newest intact checkpoint, or that of `step`; `template` gives shapes, dtypes and shardings.

        The shardings may differ from those it was saved with. A damaged checkpoint is logged and listed in
        `Restored.passed_over`, and the one before it is restored.

        Raises:
            FileNotFoundError: there is no checkpoint.
            Damaged: none is intact, or that of `step` is not.
            ValueError: it holds another state than `template`.
        """
        self.wait()
        chosen, passed_over = _agree(lambda: layout.choose(self.directory, step))
        state = layout.read(self.directory, template, chosen)
        self._newest = chosen
        return Restored(chosen, state, self.metadata(chosen), passed_over)

    def steps(self) -> list[int]:
        """Committed steps, ascending; damage is found only when one is read."""
        return layout.committed_steps(self.directory)

    def latest_step(self) -> int | None:
        """The newest committed step, or None before the first."""
        return max(self.steps(), default=None)

    def metadata(self, step: int) -> dict[str, Any]:
        """The metadata that was given to `save`; reads no arrays.

        Raises:
            FileNotFoundError: there is no checkpoint of this step.
            Damaged: its metadata was changed.
        """
        return layout.read_record(self._folder(layout.refuse_unknown(self.directory, step)))["metadata"]

    def wait(self) -> None:
        """Waits until the save in the background, if any, is committed.

        Raises:
            OSError: it failed.
        """
        try:
            self._checkpointer.wait_until_finished()
        except Exception as error:
            step, self._newest = self._newest, None
            fault = found_in(error)
            why = f"{fault.strerror}; {CURES[fault.errno]}" if fault else error
            raise OSError(f"the checkpoint of step {step} was not written to {self.directory}: {why}") from error

    def close(self) -> None:
        """Waits for the save in the background and ends its threads."""
        try:
            self.wait()
        finally:
            self._checkpointer.close()

    def _folder(self, step: int, prefix: str = "") -> Path:
        return self.directory / f"{prefix}{layout.name_of(step)}"

    def _commit(self, partial: Path) -> None:
        """Commits a checkpoint. Runs only on the first process, in orbax's thread, when all processes have written."""
        integrity.seal(partial, shares.collect(partial))
        final = self.directory / partial.name.removeprefix(PARTIAL_PREFIX)
        step = int(final.name)
        for abandoned in self.steps():
            if abandoned >= step:
                self._delete(abandoned)
        partial.rename(final)
        val_losses = {saved: layout.val_loss(self._folder(saved)) for saved in self.steps()}
        for expired in self._retention.expired(val_losses):
            self._delete(expired)

    def _delete(self, step: int) -> None:
        # Renamed first, so that a half-deleted folder does not look like a damaged checkpoint.
        self._folder(step).rename(renamed := self._folder(step, f"{PARTIAL_PREFIX}deleted-"))
        _remove(renamed)


class _RaisedByWait(logging.Filter):
    """Drops the traceback that orbax logs in its thread, because `wait` raises the same error."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.exc_info or bool(os.environ.get("LLM_JAX_DEBUG"))


logging.getLogger("absl").addFilter(_RaisedByWait())


def _remove(path: Path) -> None:
    """Removes a folder and its content, a file or a link. Does nothing if there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _then(commit: Callable[[Path], None]) -> type[ocp.path.atomicity.AtomicRenameTemporaryPath]:
    """orbax's commit of its folder, followed by `commit` of the parent folder in the same thread and process."""

    class ThenCommit(ocp.path.atomicity.AtomicRenameTemporaryPath):
        async def finalize(self) -> None:
            await super().finalize()
            await asyncio.to_thread(commit, Path(self.get_final()).parent)

    return ThenCommit


def _agree(choice: Callable[[], tuple[int, tuple[str, ...]]]) -> tuple[int, tuple[str, ...]]:
    """The first process chooses and broadcasts its choice, so all read the same checkpoint and only one hashes it."""
    if jax.process_count() == 1:
        return choice()
    chosen, passed_over, error = -1, (), None
    if jax.process_index() == 0:
        try:
            chosen, passed_over = choice()
        except (OSError, ValueError) as raised:  # raised after the broadcast, because the other processes wait for it
            error = raised
    chosen = int(multihost_utils.broadcast_one_to_all(np.int32(chosen)))
    if error is not None:
        raise error
    if chosen < 0:
        raise ValueError("no checkpoint to restore: see the message of process 0")
    return chosen, passed_over
