"""What an hour of an accelerator costs: dated ranges, which a user replaces with a file of the same form."""

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from llm_jax.hardware.catalogue import accelerators

FILE_NAME = "prices.toml"


@dataclass(frozen=True)
class Price:
    """US dollars an hour of one accelerator."""

    low: float
    high: float
    date: str
    """When it was seen, YYYY-MM."""


def prices(path: Path | None = None) -> Mapping[str, Price]:
    """Price by the accelerator's name in the catalogue. An accelerator without one is left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no TOML, or an entry is incomplete; it names the file, the entry and what is missing.
    """
    if path is None:
        text = resources.files("llm_jax.hardware").joinpath(FILE_NAME).read_text(encoding="utf8")
        return _parse(text, FILE_NAME)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of prices")
    try:
        return _parse(path.read_text(encoding="utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8 (byte {error.start:,}): save it as UTF-8") from None


def _parse(text: str, name: str) -> Mapping[str, Price]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{name}: not TOML: {error}") from None
    known = {entry.name for entry in accelerators()}
    return {key: _price(f"{name}: {key}", key, entry, known) for key, entry in document.items()}


def _price(where: str, key: str, entry: Any, known: set[str]) -> Price:
    if key not in known:
        raise ValueError(f"{where}: the catalogue has no accelerator of this name; one of: {', '.join(sorted(known))}")
    if not isinstance(entry, dict) or set(entry) != {"low", "high", "date"}:
        raise ValueError(f"{where}: expected low, high and date; got {entry!r}")
    for field in ("low", "high"):
        if type(entry[field]) not in (int, float) or not 0 < entry[field] < math.inf:
            raise ValueError(f"{where}: {field} must be dollars an hour, above 0; got {entry[field]!r}")
    if entry["low"] > entry["high"]:
        raise ValueError(f"{where}: low is above high: {entry['low']} and {entry['high']}")
    if not (isinstance(entry["date"], str) and re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", entry["date"])):
        raise ValueError(f"{where}: date must be YYYY-MM; got {entry['date']!r}")
    return Price(float(entry["low"]), float(entry["high"]), entry["date"])
