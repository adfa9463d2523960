"""Record, style and script → one HTML file.

The page sends no request: style, data and script are inside it, and its Content-Security-Policy forbids any. Names in
the record come from files and users. They are in JSON whose `<`, `>` and `&` are escaped, so none can end the element,
and the scripts write them as text, never as markup.
"""

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_jax.files import write as write_file

HERE = Path(__file__).parent
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)


def write(path: Path, title: str, record: Mapping[str, Any], script: Path) -> None:
    """Writes the page, whole or not at all; `script` fills `main` from the record."""
    write_file(path, render(title, record, script.read_text(encoding="utf-8")))


def render(title: str, record: Mapping[str, Any], script: str) -> str:
    """The page as text."""
    style = (HERE / "page.css").read_text(encoding="utf-8")
    shared = (HERE / "page.js").read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<title>{html.escape(title)}</title><style>
{style}</style></head><body>
<header><h1>{html.escape(title)}</h1><button type="button" id="theme">Theme: system</button></header>
<main id="main"><noscript>This page needs JavaScript; the same figures are in the JSON file beside it.</noscript></main>
<script type="application/json" id="record">{embedded(record)}</script>
<script>
{shared}
{script}</script></body></html>
"""


def embedded(record: Mapping[str, Any]) -> str:
    """JSON that is safe inside an element: `</script>` in a name ends nothing."""
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text
