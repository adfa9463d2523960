"""{{NAME}} in the texts of a row, replaced by what the user gives."""

import re
from collections.abc import Mapping
from typing import Any


class Fill:
    """Replaces `{{NAME}}`, spaces inside allowed, and remembers which names were found."""

    def __init__(self, pairs: tuple[str, ...]):
        self._values = dict(pair.split("=", 1) for pair in pairs)
        names = "|".join(map(re.escape, self._values))
        self._pattern = re.compile(rf"\{{\{{\s*({names})\s*\}}\}}") if names else None
        self._found: set[str] = set()

    def __call__(self, value: Any) -> Any:
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self._pattern.sub(self._of, value) if "{{" in value else value
        if isinstance(value, list):
            return [self(one) for one in value]
        return {name: self(one) for name, one in value.items()} if isinstance(value, Mapping) else value

    def check(self) -> None:
        """Raises ValueError for a name that no text held."""
        if missing := [name for name in self._values if name not in self._found]:
            raise ValueError(f"--fill {missing[0]}: no text holds {{{{{missing[0]}}}}}; check its spelling")

    def _of(self, match: "re.Match[str]") -> str:
        self._found.add(match[1])
        return self._values[match[1]]
