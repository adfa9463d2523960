"""The record as one HTML page (`serve.page`); `page.js` fills it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serve.page import document

SCRIPT = Path(__file__).with_name("page.js")


def write(path: Path, record: Mapping[str, Any]) -> None:
    """Writes the page, whole or not at all."""
    document.write(path, f"Arena: {record['source']}", record, SCRIPT)
