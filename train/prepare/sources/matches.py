"""The files that a path, a folder or a glob matches. Everything else that it matches is left out with a warning."""

import glob
import logging
import os
import stat
from collections.abc import Iterable, Sequence
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
    files: dict[Path, None] = {}
    named: set[Path] = set()
    for pattern in patterns:
        if _is_file(Path(pattern), flag):
            named.add(Path(pattern))
            files[Path(pattern)] = None
        else:
            files |= dict.fromkeys(_of_pattern(pattern, flag))
    return list(files), named


def warn_left_out(reason: str, paths: Iterable[Path | str]) -> None:
    """Warns in one line that names the files, or of many files some and their count."""
    names = [str(path) for path in paths]
    if not names:
        return
    more = f" and {len(names) - EXAMPLES:,} more" if len(names) > EXAMPLES else ""
    logger.warning("left out, %s: %s%s", reason, ", ".join(names[:EXAMPLES]), more)


def _of_pattern(pattern: str, flag: str) -> list[Path]:
    """Sorted files of a folder (recursively, without hidden ones) or a glob. Raises FileNotFoundError for none."""
    is_folder = Path(pattern).is_dir()
    _check_readable(Path(pattern) if is_folder else _folder_of(pattern), flag)
    wanted = f"{glob.escape(pattern)}/**/*" if is_folder else pattern
    found = [Path(name) for name in sorted(glob.glob(wanted, recursive=True))]
    files = [path for path in found if _is_file(path, flag)]
    _warn_of_others(set(found) - set(files), flag)
    if is_folder:
        warn_left_out("hidden", _hidden(Path(pattern)))
    if not files:
        raise FileNotFoundError(
            f"{flag} {pattern}: no such file, and no file matches; expected {OTHERS.get(flag, '')}a file, a glob, or "
            "hf:NAME"
        )
    return files


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
