"""Addresses of servers: taken, asked, written down."""

import http.client
import socket


def bound(host: str, port: int) -> socket.socket:
    """A socket that has the address already. Raises OSError with the cure if it is taken or not this machine's."""
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


def reachable(host: str) -> str:
    """Where a server that listens on `host` is found from this machine."""
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
