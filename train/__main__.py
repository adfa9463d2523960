"""`python -m train COMMAND`: prepare data, train, compare."""

import sys

from llm_jax import backend
from llm_jax.command_line import run
from train.commands import COMMANDS

if __name__ == "__main__":
    backend.keep_memory()
    sys.exit(run("python -m train", __doc__ or "", COMMANDS))
