"""Run every stage in minutes, on a CPU, without a download: text, tokenizer, training, samples, export, verification.

Trains on the sources of the Python standard library unless --data names a prepared folder or a text file. After an
interrupt, the same command continues; Ctrl-C and SIGTERM end it with exit status 75.
"""

from train.cluster.signals import EXIT_SAVED
from train.quickstart.config import QuickstartConfig

EXIT_INTERRUPTED = EXIT_SAVED  # the same command continues
Options = QuickstartConfig


def main(options: Options) -> int:
    """Runs all stations; returns 0, or the exit status of a training that was stopped."""
    from llm_jax import backend

    backend.configure()
    from train.quickstart.stations import run_stations

    return run_stations(options)
