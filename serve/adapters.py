"""Adapters on the command line: `NAME=FOLDER`, where a folder is a LoRA run or a directory in PEFT's format.

JAX is imported inside functions, because command lines import this module.
"""

import re
from collections.abc import Iterable
from pathlib import Path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


def named(given: Iterable[str], base: str | None = None) -> dict[str, Path]:
    """Name in requests → folder, in the order given.

    Args:
        given: texts of the form NAME=FOLDER.
        base: the base's own name in requests, which no adapter may have.

    Raises:
        ValueError: another form, a name twice, or the base's.
    """
    folders: dict[str, Path] = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not (equals and folder and NAME.fullmatch(name)):
            raise ValueError(f"--adapter must be NAME=FOLDER, such as pirate=runs/pirate; got {text!r}")
        if name in folders:
            raise ValueError(f"two adapters are called {name!r}: give one of them another name")
        if name == base:
            raise ValueError(f"an adapter is called {name!r}, which is the model's own name: choose another, or --name")
        folders[name] = Path(folder)
    return folders
