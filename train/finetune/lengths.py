"""Programs for batches of a few lengths: each is compiled when its length first occurs, and leaves no memory behind.

A compiler holds hundreds of megabytes while it works, and JAX keeps what it has traced: 100 MB for 30 blocks. Both are
given back after each program, for a run has three kinds of them (step, evaluation, reference) in up to ten lengths. So
is scratch memory of many sizes on a CPU, once it has become more than a program needs.
"""

from typing import Any

import jax

from llm_jax import backend

SLACK = 1.25  # growth of the process that is let be, as a multiple of the largest program's scratch memory


class OfEveryLength:
    """A jitted function of (…, …, batch, …), compiled once for each shape of the batch."""

    def __init__(self, jitted: Any, platform: str) -> None:
        self._jitted, self._is_on_cpu = jitted, platform == "cpu"
        self._programs: dict[tuple[int, ...], Any] = {}
        self._kept, self._scratch = backend.KeptMemory(), 0  # bytes of the largest program's

    def __call__(self, *args: Any) -> Any:
        """The results; on a CPU when they are there, for a program that begins before has no scratch memory to use."""
        results = self.begun(*args)
        return jax.block_until_ready(results) if self._is_on_cpu else results

    def begun(self, *args: Any) -> Any:
        """The results, which may still be computed."""
        program = self.of(*args)
        if self._is_on_cpu:
            self._kept.hold(int(SLACK * self._scratch))
        return program(*args)

    def of(self, *args: Any) -> Any:
        """The program for arguments like these; shapes are enough."""
        shape = args[2].tokens_BT.shape
        if shape not in self._programs:
            program = self._programs[shape] = self._jitted.lower(*args).compile()
            if (needs := program.memory_analysis()) is not None:
                self._scratch = max(self._scratch, needs.temp_size_in_bytes)
            self._jitted.clear_cache()
            backend.release_memory()
        return self._programs[shape]
