"""The record as one HTML page (`llm_jax.files.page`); `page.js` beside this fills it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_jax.files.page import document

SCRIPT = Path(__file__).with_name("page.js")


def write(path: Path, record: Mapping[str, Any]) -> None:
    """Writes the page, whole or not at all."""
    document.write(path, "What curation removes", record, SCRIPT)
