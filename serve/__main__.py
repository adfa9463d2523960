"""`python -m serve COMMAND`: generate, export, serve, evaluate."""

import sys

from llm_jax import backend
from llm_jax.command_line import run
from serve.commands import COMMANDS

if __name__ == "__main__":
    backend.keep_memory()
    sys.exit(run("python -m serve", __doc__ or "", COMMANDS))
