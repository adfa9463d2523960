"""JSON files. All JSON is parsed by `parse_json`, whose errors name the file, the line and the cure.

A file may be truncated by a full disk, filled with NUL bytes after a power failure, edited by hand, or a different kind
of file. `read_json` reads a whole file, `read_json_lines` a file with one object per line. A log is not essential, so
`read_log` skips damaged lines with a warning.
"""

import json
import logging
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from llm_jax.files import replacing
from llm_jax.files.faults import naming

CURE = "it was cut short or edited: remove it or make it again"
logger = logging.getLogger(__name__)


def parse_json(raw: bytes | str, where: str, cure: str = CURE, kind: type | None = None, unique: bool = False) -> Any:
    """The value of JSON text.

    Args:
        raw: the text.
        where: beginning of an error message ("a/config.json:", "a/model.safetensors: the header is"), may be empty.
        cure: end of an error message.
        kind: type that the value must have, such as dict.
        unique: refuse an object that has a name twice.

    Raises:
        ValueError: the text is not valid JSON, or of another kind. The message has `where`, the reason and `cure`.
    """
    try:
        value = _value(raw, unique)
    except ValueError as error:
        raise ValueError(f"{where} not valid JSON ({error}); {cure}".lstrip()) from None
    if kind is not None and not isinstance(value, kind):
        raise ValueError(f"{where} {_other_kind(value, kind)}; {cure}".lstrip())
    return value


def read_json(path: Path, cure: str = CURE, kind: type | None = dict) -> Any:
    """The value of a JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: as `parse_json`.
    """
    with naming(path, "read"):
        raw = Path(path).read_bytes()
    return parse_json(raw, f"{path}:", cure, kind)


def read_json_lines(path: Path, cure: str = CURE) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number from 1, object) of every line that is not empty.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is not a JSON object; names the line.
    """
    with naming(path, "read"), path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip(b" \t\r\n\xef\xbb\xbf"):
                continue
            try:
                value = _value(line)
            except ValueError as error:
                raise ValueError(f"{path}, line {number} is not JSON ({error}): {cure}") from None
            if not isinstance(value, dict):
                raise ValueError(f"{path}, line {number} is {_other_kind(value, dict)}: {cure}")
            yield number, value


def read_log(
    path: Path, is_sound: Callable[[dict[str, Any]], bool] = lambda _: True, said: bool = True
) -> Iterator[dict[str, Any]]:
    """The valid objects of a log. Damaged and incomplete lines are skipped, with one warning if `said`.

    Raises:
        OSError: the file cannot be read.
    """
    damaged: list[str] = []
    with naming(path, "read"), path.open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}, line {number}"
            try:
                # Without this check, a number that was cut short would be read as another number.
                if not line.endswith(b"\n"):
                    raise ValueError(f"{where}: it was not written completely")
                value = parse_json(line, f"{where}:", "", dict)
                if not is_sound(value):
                    raise ValueError(f"{where}: its fields are not those of this log")
            except ValueError as error:
                damaged.append(str(error).rstrip("; "))
                continue
            yield value
    if damaged and said:
        more = f" (and {len(damaged) - 1} more lines)" if len(damaged) > 1 else ""
        logger.warning("%s: left out%s; the rest of the log is used", damaged[0], more)


def finite(value: Any) -> Any:
    """The same value with None for NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, float):  # true for NumPy's float64 too
        return float(value) if math.isfinite(value) else None
    return value


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, atomically; equal values give equal bytes."""
    with replacing(path) as file:
        file.write((json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def append_line(path: Path, value: Any) -> None:
    """Appends a line to a log; ends a half-written last line first."""
    with naming(path), path.open("ab+") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write((json.dumps(value) + "\n").encode())


def _other_kind(value: Any, kind: type) -> str:
    expected = {dict: "an object", list: "a list"}.get(kind, kind.__name__)
    return f"a {type(value).__name__}; expected {expected}"


def _value(raw: bytes | str, unique: bool = False) -> Any:
    """Raises ValueError that says what is wrong, and where in the text."""
    text, hook = _text(raw), _unique if unique else None
    try:
        try:
            return json.loads(text, object_pairs_hook=hook)
        except json.JSONDecodeError:
            raise
        except ValueError:  # of an integer; only now, because a function of our own makes parsing slower
            return json.loads(text, object_pairs_hook=hook, parse_int=integer)
    except RecursionError:
        raise ValueError("nested too deep") from None


def integer(digits: str) -> int | float:
    """An integer of JSON; infinity for one of more digits than Python converts (4,300), which is valid JSON too."""
    try:
        return int(digits)
    except ValueError:
        return float(digits)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, n in Counter(name for name, _ in pairs).items() if n > 1)
        raise ValueError(f"an object has the name {twice!r} twice")
    return found


def _text(raw: bytes | str) -> str:
    if isinstance(raw, str):
        return raw.removeprefix("\ufeff")
    if b"\0" in raw and not raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(f"NUL bytes from byte {raw.index(0):,} on, as after a power cut")
    try:
        return raw.decode("utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte 0x{raw[error.start]:02x} at offset {error.start:,} is not UTF-8") from None
