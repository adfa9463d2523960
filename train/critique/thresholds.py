"""A threshold that writes down what a filter compares with it, so that datatrove's own filters do the measuring.

A filter of datatrove says yes or no, and stops at its first no. It compares each quantity with an attribute. Here the
attribute is a number that answers every such comparison with "no reason to remove" and remembers the other side. One
call then yields every quantity of a filter, exactly as the filter computes it, whatever the threshold.
"""

from typing import Any


class Threshold(float):
    """A float with the value of the threshold; `seen` holds what it was compared with, in order."""

    __array_ufunc__ = None  # numpy's scalars then leave the comparison to this class

    def __new__(cls, value: float) -> "Threshold":
        self = super().__new__(cls, value)
        self.seen = []
        return self

    seen: list[float]

    def _see(self, other: Any) -> bool:
        self.seen.append(float(other))
        return False

    # `quantity < threshold` asks for threshold > quantity, and so on.
    __lt__ = __gt__ = __le__ = __ge__ = _see

    def take(self) -> list[float]:
        """What was seen since the last call."""
        seen, self.seen = self.seen, []
        return seen
