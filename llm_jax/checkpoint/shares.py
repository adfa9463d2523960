"""Each process hashes the files that it wrote; the first process collects the hashes and reads none of these files.

orbax lets every process write its arrays to a folder of its own, `state/ocdbt.process_N`. Process N then hashes its
files and writes the list to `.share-N.json` beside the state. So hashing takes as long as for the largest share,
however many hosts there are, and no file is sent over the network to be hashed. At the commit the first process merges
the lists, and hashes only the files that it wrote after that: the index that joins the shares, and the metadata.
"""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.future import ChainedFuture

from llm_jax.checkpoint import integrity

LIST = ".share-{}.json"
STATE_FOLDER = "state"


class HashingHandler(ocp.PyTreeCheckpointHandler):
    """orbax's handler, extended: a save counts as written only when this process has hashed its own files."""

    async def async_save(self, directory: Any, *arguments: Any, **named: Any) -> list[Any]:
        futures = await super().async_save(directory, *arguments, **named)
        path = Path(getattr(directory, "path", directory))  # orbax may create the folder later than this call
        return [ChainedFuture(futures or [], partial(_list_own_files, path))]


@ocp.args.register_with_handler(HashingHandler, for_save=True, for_restore=True)
@dataclass
class SaveShares(ocp.args.PyTreeSave):
    """Arguments of a save; orbax finds the handler by this class. It requires one for restoring too, unused here."""


def _list_own_files(state: Path) -> None:
    folder = f"ocdbt.process_{jax.process_index()}"
    hashed = integrity.hash_files(state / folder)
    names = {f"{STATE_FOLDER}/{folder}/{name}": measured for name, measured in hashed.items()}
    (state.parent / LIST.format(jax.process_index())).write_text(json.dumps(names))


def collect(checkpoint: Path) -> dict[str, integrity.FileHash]:
    """All hashes of the processes, by name relative to `checkpoint`. Removes the lists."""
    hashed: dict[str, integrity.FileHash] = {}
    for path in sorted(checkpoint.glob(LIST.format("*"))):
        hashed |= json.loads(path.read_text())
        path.unlink()
    return hashed
