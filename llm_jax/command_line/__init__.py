"""The front door of `python -m train` and `python -m serve`, without JAX.

front_door   finds the command, parses its flags, runs it, prints an error in one line
interrupts   Ctrl-C: the first press ends the command cleanly, the second ends the process at once
children     ends worker processes when their parent exits at once
"""

from llm_jax.command_line.front_door import USER_ERRORS, Commands, run

__all__ = ["USER_ERRORS", "Commands", "run"]
