"""What one example is, once its text is token ids.

Token 0 is never a target, because nothing stands before it. A row of n ids has n − 1 inputs and n − 1 targets.
"""

from typing import NamedTuple

import numpy as np


class Example(NamedTuple):
    """A text, and which of its tokens are learned: `trained[i]` says whether token i is a target."""

    ids: np.ndarray  # int32 [n]
    trained: np.ndarray  # bool [n]

    @property
    def has_target(self) -> bool:
        return bool(self.trained[1:].any())


class Pair(NamedTuple):
    """Two answers to one prompt. In both the tokens of the answer are `trained`, those of the prompt are not."""

    chosen: Example
    rejected: Example


class Labelled(NamedTuple):
    """A text and the number of its class."""

    ids: np.ndarray  # int32 [n]
    label: int
