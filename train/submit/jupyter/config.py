"""Options of `train jupyter`: where JupyterLab listens, and which folder it shows."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class JupyterConfig:
    folder: Path = Path(".")
    """Folder that JupyterLab shows."""

    port: int = 0
    """Port to listen on. 0: a free one."""

    socket: bool = False
    """Listen on a unix socket in a folder of your own, to which other users of the node cannot connect."""

    ip: str = "127.0.0.1"
    """Address to listen on. At any other than 127.0.0.1, the whole network can try tokens; see docs/cluster.md."""

    autosave_seconds: int = 15
    """Interval in which the browser saves changed notebooks."""
