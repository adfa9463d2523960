"""Start JupyterLab for you alone, on this machine or (slurm/jupyter.sbatch) on a compute node.

It listens on 127.0.0.1, on a free port, and asks for a token that lies in a file which only you can read.
"""

from train.submit.jupyter.config import JupyterConfig

HANDLES_INTERRUPTS = True
Options = JupyterConfig


def main(options: Options) -> int:
    """Runs until it is told to end by SIGTERM, SIGUSR1 or Ctrl-C; the exit status is the server's."""
    from train.submit.jupyter.session import serve

    return serve(options)
