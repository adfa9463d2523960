"""{{NAME}} in the texts of a row, replaced by what the user gives."""

import logging
import re
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)

_NAME = re.compile(r"\{\{\s*(\w+)\s*\}\}")
MOST_SAID = 5  # names


class Fill:
    """Replaces `{{NAME}}`, spaces inside allowed, and remembers which names were found and which were not given."""

    def __init__(self, pairs: tuple[str, ...]):
        self._values = dict(pair.split("=", 1) for pair in pairs)
        self._found: set[str] = set()
        self._left: dict[str, None] = {}

    def __call__(self, value: Any) -> Any:
        if isinstance(value, str):
            return _NAME.sub(self._of, value) if "{{" in value else value
        if isinstance(value, list):
            return [self(one) for one in value]
        return {name: self(one) for name, one in value.items()} if isinstance(value, Mapping) else value

    def check(self) -> None:
        """Says which names were left as they are. Raises ValueError for one that is given and that no text held."""
        if missing := [name for name in self._values if name not in self._found]:
            raise ValueError(f"--fill {missing[0]}: no text holds {{{{{missing[0]}}}}}; check its spelling")
        if self._left:
            names = list(self._left)[:MOST_SAID]
            shown, cure = ", ".join(f"{{{{{name}}}}}" for name in names), " ".join(f"{name}=…" for name in names)
            logger.warning("texts hold %s, which stays as it is; --fill %s writes something else", shown, cure)

    def _of(self, match: "re.Match[str]") -> str:
        name = match[1]
        if name not in self._values:
            self._left.setdefault(name)
            return match[0]
        self._found.add(name)
        return self._values[name]
