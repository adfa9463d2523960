"""Where JupyterLab listens and what it shows."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class JupyterConfig:
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
