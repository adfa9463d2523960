"""The API key of a server: from the environment, or from a file that only its owner can read.

The key is never an argument: every user of the machine can see those in the process list.
"""

import os
import secrets
import stat
from pathlib import Path

from llm_jax import backend

VARIABLE = "LLM_JAX_API_KEY"


def default_file() -> Path:
    """A file in the cache folder, where server and client of one user find the same key."""
    return backend.cache_folder() / "api-key"


def for_server(file: Path | None) -> tuple[str, str]:
    """The key, and its source for messages. A missing file is created with mode 0600 and 256 random bits.

    Raises:
        ValueError: the key is too short or has other characters than printable ASCII.
        PermissionError: the file belongs to another user, or others can read it.
    """
    if file is None and (key := os.environ.get(VARIABLE)):
        return _checked(key, f"the environment variable {VARIABLE}"), f"${VARIABLE}"
    path = file or default_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # The file is created with this mode, so that another user can never open it.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read(path), str(path)
    with os.fdopen(descriptor, "w") as new:
        new.write(secrets.token_urlsafe(32) + "\n")
    return _read(path), str(path)


def for_client(file: Path | None) -> str:
    """The key to send.

    Raises:
        FileNotFoundError: there is none.
        ValueError, PermissionError: as `for_server`.
    """
    if file is None and (key := os.environ.get(VARIABLE)):
        return _checked(key, f"the environment variable {VARIABLE}")
    path = file or default_file()
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no API key: {VARIABLE} is not set and {path} does not exist; the server printed where its key is"
        )
    return _read(path)


def _read(path: Path) -> str:
    status = path.stat()
    if status.st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to another user: choose another --key-file")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise PermissionError(f"{path} can be read by others (mode {stat.S_IMODE(status.st_mode):o}): chmod 600 {path}")
    return _checked(path.read_text(errors="replace").strip(), str(path))


def _checked(key: str, source: str) -> str:
    if not (key.isascii() and key.isprintable() and " " not in key and len(key) >= 8):
        raise ValueError(f"{source} holds no usable key: at least 8 printable ASCII characters without spaces")
    return key
