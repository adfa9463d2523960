"""Checks the Host and the Origin of a request. Standard library only.

The owner of a web page can point its name to this machine's address (DNS rebinding). The user's browser then treats the
server as part of the page, and sends the page's requests to it. Such a request has the page's host, so only names of
the server pass. These are always `localhost`, `127.0.0.1` and `[::1]`, which no page can have. If the server listens on
another address, they are also that address, this machine's names, the address that a connection came to, and
`--allowed-hosts`.

A page of another host may send requests without rebinding. The browser then sends the page's Origin. Only the same host
and port pass, and those of `--allowed-origins`. Programs send no Origin.

The host of an absolute target (`GET http://host/path`) must pass as well; uvicorn with httptools does not show it.
"""

import ipaddress
import os
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

HOSTS_VARIABLE = "LLM_JAX_ALLOWED_HOSTS"
ORIGINS_VARIABLE = "LLM_JAX_ALLOWED_ORIGINS"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
ANY_ADDRESS = frozenset({"0.0.0.0", "::"})
OWN = "@own"  # stands for the address that a connection came to; no host has such a name
DEFAULT_PORTS = {"http": 80, "https": 443}
AUTHORITY = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:@/?#\\\s]+)(?::([0-9]{0,5}))?")

Headers = Iterable[tuple[bytes, bytes]]


class Unwelcome(Exception):
    """A request is refused; with the reason and the HTTP status."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status, self.message = status, message


@dataclass(frozen=True)
class Callers:
    """Names of this server, and origins of pages that may use it."""

    hosts: frozenset[str] = LOOPBACK
    origins: frozenset[str] = frozenset()

    @classmethod
    def of(cls, bound: str, hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> "Callers":
        """The names and origins of a server that listens on `bound`.

        Raises:
            ValueError: `hosts` or `origins` has an invalid entry.
        """
        own = {normal_host(bound) or bound}
        if not own <= LOOPBACK:
            own = (own - ANY_ADDRESS) | {OWN, *_names()}
        return cls(LOOPBACK | own | {_named_host(host) for host in hosts}, frozenset(map(_named_origin, origins)))

    @classmethod
    def from_environment(cls) -> "Callers":
        """Reads the environment variables of `variables`. Without them, only the loopback names pass."""
        hosts, origins = (os.environ.get(name, "").split() for name in (HOSTS_VARIABLE, ORIGINS_VARIABLE))
        return cls(LOOPBACK | set(hosts), frozenset(origins))

    def variables(self) -> dict[str, str]:
        return {HOSTS_VARIABLE: " ".join(sorted(self.hosts)), ORIGINS_VARIABLE: " ".join(sorted(self.origins))}

    def check(self, scope: Mapping[str, Any]) -> None:
        """Checks Host and Origin of a request.

        Raises:
            Unwelcome: the request comes from another page, or its host is not a name of this server.
        """
        given = [value.decode("latin1") for name, value in scope["headers"] if name.lower() == b"host"]
        if len(given) > 1:
            raise Unwelcome(400, "there are several Host headers; HTTP allows one")
        if not given and scope.get("http_version", "1.0") == "1.1":
            raise Unwelcome(400, "there is no Host header, which HTTP/1.1 requires")
        if (target := absolute_target(scope)) is not None:
            self._check_host(target[0], scope)
        if given:
            self._check_host(given[0], scope)
        origins = [value.decode("latin1") for name, value in scope["headers"] if name.lower() == b"origin"]
        for origin in origins:
            if len(origins) > 1 or not (self.is_allowed(origin) or (given and _is_same(origin, given[0]))):
                raise Unwelcome(
                    403,
                    f"a page of the origin {origin[:100]!r} may not use this server: "
                    "start it with --allowed-origins to let it in",
                )

    def is_allowed(self, origin: str) -> bool:
        """Whether `--allowed-origins` names it."""
        return normal_origin(origin) in self.origins

    def _check_host(self, authority: str, scope: Mapping[str, Any]) -> None:
        host = normal_host(authority)
        address = (scope.get("server") or ("",))[0]
        if host is None or not (host in self.hosts or (OWN in self.hosts and host == normal_host(_bracketed(address)))):
            raise Unwelcome(
                403,
                f"{authority[:100]!r} is not a name of this server: ask it as localhost, or start it with "
                "--allowed-hosts to give it that name",
            )


def absolute_target(scope: Mapping[str, Any]) -> tuple[str, str] | None:
    """Host and path of a request target that is a whole URL, else None."""
    match = re.match(r"https?://([^/?#]*)(.*)", scope.get("path", ""), re.IGNORECASE | re.DOTALL)
    return (match[1], match[2] or "/") if match else None


def normal_host(authority: str) -> str | None:
    """The normal form of a host, without its port; None for an invalid host.

    >>> normal_host("LOCALHOST.:80"), normal_host("[0:0::1]:8000"), normal_host("me@localhost")
    ('localhost', '::1', None)
    """
    split = _split(authority)
    return split and split[0]


def _split(authority: str) -> tuple[str, str] | None:
    """Host and port, which may be empty; None for an invalid authority."""
    match = AUTHORITY.fullmatch(authority)
    if not match or int(match[2] or 0) > 65535:
        return None
    host = match[1].lower()
    try:
        if host.startswith("["):
            return str(ipaddress.IPv6Address(host[1:-1])), match[2] or ""
    except ValueError:
        return None
    return (host.removesuffix("."), match[2] or "") if host != "." else None


def normal_origin(origin: str) -> str | None:
    """The normal form of scheme, host and port; None for an invalid origin."""
    try:
        url = urlsplit(origin)
    except ValueError:
        return None
    split = _split(url.netloc)
    if url.scheme not in DEFAULT_PORTS or split is None or url.path or url.query or url.fragment:
        return None
    host, port = split
    return f"{url.scheme}://{_bracketed(host)}:{int(port) if port else DEFAULT_PORTS[url.scheme]}"


def _is_same(origin: str, authority: str) -> bool:
    """Whether a page of this origin came from this host and port. The scheme is ignored: a proxy may end TLS."""
    scheme = origin.partition("://")[0].lower()
    normal = normal_origin(origin)
    return normal is not None and normal == normal_origin(f"{scheme}://{authority}")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _names() -> set[str]:
    """Host names of this machine."""
    names = {socket.gethostname(), socket.getfqdn()}
    return {name.lower().removesuffix(".") for name in names | {name.partition(".")[0] for name in names} if name}


def _named_host(host: str) -> str:
    split = _split(_bracketed(host) if host.count(":") > 1 and not host.startswith("[") else host)
    if split is None or split[1] or "*" in host or ":" in host.partition("]")[2] or host.endswith(":"):
        raise ValueError(f"allowed_hosts must be names or addresses, such as gpu1.example.org; got {host!r}")
    return split[0]


def _named_origin(origin: str) -> str:
    normal = normal_origin(origin.removesuffix("/"))
    if normal is None or "*" in origin:
        raise ValueError(f"allowed_origins must be scheme and host, such as https://example.org; got {origin!r}")
    return normal
