"""Checkpoints: the whole state of a run on disk, and back, to the bit.

    arrays      a pytree as named arrays; what a template must agree with before anything is read
    integrity   a hash of every file, written last: any changed byte is found and named
    shares      each process hashes what it wrote; the first one collects the lists
    retention   which checkpoints stay: the last, the best, every so many steps
    layout      the folder: which steps it has, what each says, which one is intact
    store       `Checkpoints`: saves in the background, commits by one rename, restores the newest intact one
    run         `load_run`: model, tokenizer and parameters of a run's folder, for serving
    lock        `RunLock`: one job at a time writes to a run

orbax moves the arrays between devices and disk; what a checkpoint is, when it counts and what happens when it is
damaged is decided here.
"""

from llm_jax.checkpoint.integrity import Damaged
from llm_jax.checkpoint.lock import RunLock
from llm_jax.checkpoint.run import LoadedRun, load_run
from llm_jax.checkpoint.store import Checkpoints, Restored

__all__ = ["Checkpoints", "Damaged", "LoadedRun", "Restored", "RunLock", "load_run"]
