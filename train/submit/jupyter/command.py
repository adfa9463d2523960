"""Start a JupyterLab that only you can use, on this machine or (slurm/jupyter.sbatch) on a compute node.

It listens on 127.0.0.1, on a free port, and asks for a token from a file that only you can read.
"""

from train.submit.jupyter.config import JupyterConfig

HANDLES_INTERRUPTS = True
Options = JupyterConfig


def main(options: Options) -> int:
    """Runs until SIGTERM, SIGUSR1 or Ctrl-C ends it; returns the server's exit status."""
    from train.submit.jupyter.session import serve

    return serve(options)
