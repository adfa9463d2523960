"""The files that a path, a folder or a glob matches. Everything else that it matches is left out with a warning.

Links are followed, but each file is read once and each folder is entered once, whatever the number of names that links
give it. Of several names of a file in one folder or glob, one without a link is preferred.
"""

import contextlib
import glob
import logging
import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

logger = logging.getLogger(__name__)

EXAMPLES = 3  # files that a warning names
OTHERS = {"--source": "stdlib, "}  # what else a flag takes


def matches(patterns: Sequence[str], flag: str = "--source") -> tuple[list[Path], set[Path]]:
    """The files of all patterns, each once, in order; and the set of those that were named by their own paths.

    `flag` is what the user gave them with, for messages.

    Raises:
        FileNotFoundError: nothing matches a pattern.
        PermissionError: a folder may not be read; names it.
    """
    files: dict[str, Path] = {}  # the file without links → the first of its names
    named: set[Path] = set()
    others: dict[Path, None] = {}  # further names of files and folders that are there already
    for pattern in patterns:
        is_named = _is_file(Path(pattern), flag)
        found = {os.path.realpath(pattern): Path(pattern)} if is_named else _of_pattern(pattern, flag, others)
        for real, path in found.items():
            if files.setdefault(real, path) != path:
                others[path] = None
            if is_named:
                named.add(files[real])
    if others:
        warn_left_out(f"{len(others):,} further name(s) of what is read already", others)
    return list(files.values()), named


def warn_left_out(reason: str, paths: Iterable[Path | str]) -> None:
    """Warns in one line that names the files, or of many files some and their count."""
    names = [str(path) for path in paths]
    if not names:
        return
    more = f" and {len(names) - EXAMPLES:,} more" if len(names) > EXAMPLES else ""
    logger.warning("left out, %s: %s%s", reason, ", ".join(names[:EXAMPLES]), more)


def _of_pattern(pattern: str, flag: str, others: dict[Path, None]) -> dict[str, Path]:
    """The files of a folder (recursively, without hidden ones) or a glob, sorted by name: file without links → name.

    Adds further names of the same files and folders to `others`. Raises FileNotFoundError for no file.
    """
    is_folder = Path(pattern).is_dir()
    _check_readable(Path(pattern) if is_folder else _folder_of(pattern), flag)
    entered_already: dict[str, None] = {}
    wanted = f"{glob.escape(pattern)}/**/*" if is_folder else pattern
    found = [Path(name) for name in sorted(set(_expand(wanted, entered_already)))]
    files = [path for path in found if _is_file(path, flag)]
    _warn_of_others(set(found) - set(files), flag)
    if is_folder:
        warn_left_out("hidden", _hidden(Path(pattern)))
    if not files:
        raise FileNotFoundError(
            f"{flag} {pattern}: no such file, and no file matches; expected {OTHERS.get(flag, '')}a file, a glob, or "
            "hf:NAME"
        )
    names: dict[str, list[Path]] = {}
    for path, real in zip(files, _without_links(files), strict=True):
        names.setdefault(real, []).append(path)
    chosen = {min(paths, key=_links): real for real, paths in names.items()}
    others |= dict.fromkeys([*map(Path, entered_already), *(path for path in files if path not in chosen)])
    return {chosen[path]: path for path in files if path in chosen}


def _expand(pattern: str, entered_already: dict[str, None]) -> Iterator[str]:
    """As `glob.iglob(pattern, recursive=True)`, which follows a circle of links to the system's limit.

    Here `**` enters each folder once, and the names of folders that were entered already are added to the argument.
    """
    parts = pattern.split("/")
    if "**" not in parts:
        yield from glob.iglob(pattern)
        return
    place = parts.index("**")
    top = "/".join(parts[:place]) or "/" * (place > 0)
    rest = "/".join(parts[place + 1 :] or ["*"])
    for start in glob.iglob(top) if glob.has_magic(top) else [top]:
        for folder in _folders(start, entered_already):
            yield from _expand(os.path.join(glob.escape(folder), rest), entered_already)


def _folders(start: str, entered_already: dict[str, None]) -> Iterator[str]:
    """The folder and all below it, without hidden ones: those behind links last, so that their own names come first."""
    entered: set[str] = set()
    folders, links = deque([start]), deque[str]()
    while folders or links:
        folder = (folders or links).popleft()
        if (real := os.path.realpath(folder or ".")) in entered:
            entered_already[folder] = None
            continue
        entered.add(real)
        yield folder
        for name, is_link in _subfolders(folder or "."):
            (links if is_link else folders).append(os.path.join(folder, name))


def _subfolders(folder: str) -> list[tuple[str, bool]]:
    """The name of each visible folder in a folder, and whether it is a link. None of a folder that may not be read."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if not entry.name.startswith(".") and entry.is_dir():
                        found.append((entry.name, entry.is_symlink()))
    except OSError:
        return []
    return sorted(found)


def _without_links(paths: Iterable[Path]) -> Iterator[str]:
    """The real path of each file."""
    folders: dict[Path, str] = {}
    for path in paths:
        if path.is_symlink():
            yield os.path.realpath(path)
            continue
        if path.parent not in folders:
            folders[path.parent] = os.path.realpath(path.parent)
        yield os.path.join(folders[path.parent], path.name)


def _links(path: Path) -> int:
    """How many parts of a path are links."""
    return sum(part.is_symlink() for part in (path, *path.parents))


def _warn_of_others(paths: set[Path], flag: str) -> None:
    folders = sorted(path for path in paths if path.is_dir())
    for folder in folders:
        _check_readable(folder, flag)
    others = sorted(paths - set(folders))
    dead = [path for path in others if path.is_symlink() and not path.exists()]
    warn_left_out("links to nothing", dead)
    warn_left_out("neither file nor folder (a pipe, socket or device)", [path for path in others if path not in dead])


def _hidden(folder: Path) -> list[Path]:
    """Hidden files and folders in a folder and below it. The contents of a hidden folder are not listed."""
    found = []
    for place, below, names in os.walk(folder):
        found += [Path(place, name) for name in [*below, *names] if name.startswith(".")]
        below[:] = [name for name in below if not name.startswith(".")]
    return sorted(found)


def _folder_of(pattern: str) -> Path:
    """The part of a glob before its first wildcard."""
    path = Path(pattern)
    while glob.has_magic(str(path)) or not path.is_dir():
        if path == path.parent:
            break
        path = path.parent
    return path


def _check_readable(folder: Path, flag: str) -> None:
    if not os.access(folder, os.R_OK | os.X_OK):
        raise PermissionError(
            f"{flag}: the folder {folder} may not be read by this user; change its permissions, or name the files"
        )


def _is_file(path: Path, flag: str) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except PermissionError:
        raise PermissionError(
            f"{flag}: {path} may not be reached by this user; change the permissions of its folder"
        ) from None
    except (OSError, ValueError):
        return False
