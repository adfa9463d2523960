"""Address of a server and the requests that may pass: settings of both servers, and functions for addresses."""

import http.client
import socket
from dataclasses import dataclass
from pathlib import Path

from serve.door.guard import Callers


@dataclass(frozen=True)
class Door:
    """Settings that both servers have."""

    port: int = 8000
    """TCP port; 0 takes a free one."""
    host: str = "127.0.0.1"
    """Address to listen on; another one lets other machines reach the server."""
    allowed_hosts: tuple[str, ...] = ()
    """Names that requests may call this server by, beside its own: those of a proxy in front of it."""
    allowed_origins: tuple[str, ...] = ()
    """Web pages elsewhere that may use this server, such as https://example.org; others are refused."""
    name: str | None = None
    """Name of the model in requests. Default: the folder's."""
    max_model_len: int | None = None
    """Longest sequence, prompt and answer, in tokens. Default: the model's context."""
    max_requests: int = 256
    """Requests answered or waiting at once; one more gets status 429."""
    key_file: Path | None = None
    """File with the API key; made if missing. Default: $LLM_JAX_API_KEY, else api-key in the cache folder."""
    shutdown_timeout: float = 30
    """Seconds that running requests get to finish after a SIGTERM or Ctrl-C."""

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise ValueError(f"port must lie between 0 and 65535; got {self.port}")
        for name in ("max_requests", "max_model_len"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1; got {value}")
        Callers.of("127.0.0.1", self.allowed_hosts, self.allowed_origins)
        if self.shutdown_timeout < 0:
            raise ValueError(f"shutdown_timeout must be 0 seconds or more; got {self.shutdown_timeout}")

    @property
    def callers(self) -> Callers:
        """Whose requests pass."""
        return Callers.of(self.host, self.allowed_hosts, self.allowed_origins)

    def context(self, model_context: int) -> int:
        """The longest sequence that is served. Raises ValueError for one that the model cannot read."""
        if self.max_model_len is not None and self.max_model_len > model_context:
            raise ValueError(f"max_model_len is {self.max_model_len}; the model's context is {model_context}")
        return self.max_model_len or model_context

    def name_of(self, model: str | Path) -> str:
        """What requests call the model."""
        return self.name or Path(model).resolve().name


def bound(host: str, port: int) -> socket.socket:
    """A bound socket. Raises OSError with the cure if the address is taken or not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise OSError(f"cannot listen on {host}:{port} ({error.strerror}): choose another --port or --host") from None
    listening.listen(1024)  # from now on clients wait instead of being refused
    return listening


def free_port(host: str) -> int:
    """A port that is free now. Raises as `bound` does."""
    with bound(host, 0) as listening:
        return listening.getsockname()[1]


def reachable(host: str) -> str:
    """The address at which this machine reaches a server that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def url(host: str, port: int) -> str:
    """Without a path.

    >>> url("0.0.0.0", 8000), url("::1", 80)
    ('http://127.0.0.1:8000', 'http://[::1]:80')
    """
    host = reachable(host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def answers(host: str, port: int) -> bool:
    """Whether /health says 200."""
    connection = http.client.HTTPConnection(reachable(host), port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
