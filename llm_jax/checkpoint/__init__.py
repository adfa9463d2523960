"""Checkpoints: the whole state of a run is saved to disk and restored bit by bit.

    arrays      a pytree as named arrays; what a template must agree with before anything is read
    integrity   a hash of every file, written last: any changed byte is found and named
    shares      each process hashes what it wrote; the first one collects the lists
    retention   which checkpoints stay: the last, the best, every so many steps
    layout      the folder: which steps it has, what each says, which one is intact
    store       `Checkpoints`: saves in the background, commits by one rename, restores the newest intact one
    run         `load_run`: model, tokenizer and parameters of a run's folder, for serving
    lock        `RunLock`: one job at a time writes to a run

orbax moves the arrays between devices and disk. This package decides what a checkpoint holds, when it is committed, and
what happens when one is damaged.
"""

from llm_jax.checkpoint.integrity import Damaged
from llm_jax.checkpoint.lock import RunLock
from llm_jax.checkpoint.run import LoadedRun, load_run
from llm_jax.checkpoint.store import Checkpoints, Restored

__all__ = ["Checkpoints", "Damaged", "LoadedRun", "Restored", "RunLock", "load_run"]
