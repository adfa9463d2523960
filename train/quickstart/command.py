"""The whole road in minutes, on a CPU, without a download: text, tokenizer, training, samples, export, verification.

Trains on the Python standard library's own sources unless --data names a prepared folder or a text file. Interrupted
and started again, it goes on where it was; Ctrl-C and SIGTERM leave with exit status 75.
"""

from train.cluster.signals import EXIT_SAVED
from train.quickstart.config import QuickstartConfig

EXIT_INTERRUPTED = EXIT_SAVED  # the same command goes on
Options = QuickstartConfig


def main(options: Options) -> int:
    """The exit status: 0, or that of the training where it was stopped."""
    from llm_jax import backend

    backend.configure()
    from train.quickstart.stations import run_stations

    return run_stations(options)
