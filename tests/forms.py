"""Forms of one property: which are tried in the default run, and which in the long one too."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def forms(every: Iterable[Any], in_default_run: Collection[Any]) -> list[Any]:
    """Parameters of a test or fixture, a tuple for several; those that the default run leaves out are marked `long`."""

    def marked(one: Any) -> Any:
        return pytest.param(*(one if isinstance(one, tuple) else (one,)), marks=pytest.mark.long)

    return [one if one in in_default_run else marked(one) for one in every]
