"""Start JupyterLab for you alone, on this machine or (slurm/jupyter.sbatch) on a compute node.

It listens on 127.0.0.1, on a free port, and asks for a token that lies in a file which only you can read.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    folder: Path = Path(".")
    """What JupyterLab shows."""

    port: int = 0
    """Port to listen on; 0: a free one."""

    socket: bool = False
    """Listen on a unix socket in a folder of your own: other users of the node cannot even connect."""

    ip: str = "127.0.0.1"
    """Address to listen on. Any other than 127.0.0.1 lets the whole network try tokens; docs/cluster.md says more."""

    autosave_seconds: int = 15
    """How often the browser saves an open notebook that was changed."""


def main(options: Options) -> int:
    """Runs until it is told to end by SIGTERM, SIGUSR1 or Ctrl-C; the exit status is the server's."""
    from train.slurm.jupyter import serve

    return serve(options)
