"""The front door of `python -m train` and `python -m serve`, without JAX.

front_door   finds the command, parses its flags, runs it, prints a mistake in one line
interrupts   Ctrl-C: the first asks, the second ends at once
children     worker processes, when their parent leaves at once
"""

from llm_jax.command_line.front_door import USER_ERRORS, Commands, run

__all__ = ["USER_ERRORS", "Commands", "run"]
