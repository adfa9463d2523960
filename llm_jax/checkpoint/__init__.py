"""Checkpoints: the whole state of a run is saved to disk and restored exactly, bit for bit.

    arrays      a pytree as named arrays; the template is compared with the stored index before anything is read
    integrity   a hash of every file, written last: any changed byte is found, and the file is named
    shares      each process hashes the files that it wrote; the first one collects the lists
    retention   decides which checkpoints are kept: the last ones, the best, every N steps
    layout      reads the folder: its steps, their metadata, and which one is intact
    store       `Checkpoints`: saves in the background, commits by one rename, restores the newest intact one
    run         `load_run`: model, tokenizer and parameters of a run's folder, for serving
    lock        `RunLock`: one job at a time writes to a run

orbax moves the arrays between devices and disk. This package decides what a checkpoint holds, when it is committed, and
what happens when one is damaged.
"""

from llm_jax.checkpoint.integrity import Damaged
from llm_jax.checkpoint.lock import RunLock
from llm_jax.checkpoint.run import LoadedRun, load_run, model_config
from llm_jax.checkpoint.store import Checkpoints, Restored

__all__ = ["Checkpoints", "Damaged", "LoadedRun", "Restored", "RunLock", "load_run", "model_config"]
