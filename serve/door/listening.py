"""Settings of both servers (address, allowed requests, limits), and functions for addresses."""

import http.client
import socket
from dataclasses import dataclass
from pathlib import Path

from serve.door.guard import Callers


@dataclass(frozen=True)
class Door:
    """The settings that both servers share."""

    port: int = 8000
    """TCP port. 0: a free one."""
    host: str = "127.0.0.1"
    """Address to listen on. With another one than the default, other machines can reach the server."""
    allowed_hosts: tuple[str, ...] = ()
    """Further names by which requests may address this server, such as that of a proxy in front of it."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of web pages that may use this server, such as https://example.org. Others are refused."""
    name: str | None = None
    """Name of the model in requests. Default: the folder's name."""
    max_model_len: int | None = None
    """Longest sequence of prompt and answer, in tokens. Default: the model's context."""
    max_requests: int = 256
    """Largest number of requests that are answered or waiting. Further ones get status 429."""
    key_file: Path | None = None
    """File with the API key; created if missing. Default: $LLM_JAX_API_KEY, else api-key in the cache folder."""
    shutdown_timeout: float = 30
    """Seconds that running requests get to finish after SIGTERM or Ctrl-C."""

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
        """The hosts and origins whose requests pass."""
        return Callers.of(self.host, self.allowed_hosts, self.allowed_origins)

    def context(self, model_context: int) -> int:
        """Length of the longest sequence that is served, in tokens.

        Raises:
            ValueError: `max_model_len` exceeds the model's context.
        """
        if self.max_model_len is not None and self.max_model_len > model_context:
            raise ValueError(f"max_model_len is {self.max_model_len}; the model's context is {model_context}")
        return self.max_model_len or model_context

    def name_of(self, model: str | Path) -> str:
        """The model's name in requests."""
        return self.name or Path(model).resolve().name


def bound(host: str, port: int) -> socket.socket:
    """A bound, listening socket.

    Raises:
        OSError: the address is taken or not this machine's; names the cure.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise OSError(f"cannot listen on {host}:{port} ({error.strerror}): choose another --port or --host") from None
    listening.listen(1024)  # so that clients that connect now wait, instead of being refused
    return listening


def free_port(host: str) -> int:
    """A port that is free now.

    Raises:
        OSError: as `bound`.
    """
    with bound(host, 0) as listening:
        return listening.getsockname()[1]


def reachable(host: str) -> str:
    """The address at which this machine reaches a server that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def url(host: str, port: int) -> str:
    """A server's URL without a path.

     url("0.0.0.0", 8000), url("::1", 80)
    ('http://127.0.0.1:8000', 'http://[::1]:80')
    """
    host = reachable(host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def answers(host: str, port: int) -> bool:
    """Whether GET /health gives status 200."""
    connection = http.client.HTTPConnection(reachable(host), port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
