"""Programs for batches of a few lengths: each is compiled when its length first occurs, and leaves no memory behind.

A compiler holds hundreds of megabytes while it works, and JAX keeps what it has traced: 100 MB for 30 blocks. Both are
given back after each program, for a run has three kinds of them (step, evaluation, reference) in up to ten lengths.
"""

from typing import Any

from llm_jax import backend


class OfEveryLength:
    """A jitted function of (…, …, batch, …), compiled once for each shape of the batch."""

    def __init__(self, jitted: Any) -> None:
        self._jitted = jitted
        self._programs: dict[tuple[int, ...], Any] = {}

    def __call__(self, *args: Any) -> Any:
        return self.of(*args)(*args)

    def of(self, *args: Any) -> Any:
        """The program for arguments like these; shapes are enough."""
        shape = args[2].tokens_BT.shape
        if shape not in self._programs:
            self._programs[shape] = self._jitted.lower(*args).compile()
            self._jitted.clear_cache()
            backend.release_memory()
        return self._programs[shape]
