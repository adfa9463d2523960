"""The guard's own answers, in OpenAI's format of an error. Standard library only."""

import contextlib
import json
from typing import Any


class Refused(Exception):
    """A refusal with its status and headers."""

    def __init__(self, status: int, message: str, **headers: str):
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers


async def answer(send: Any, refused: Refused, protocol: str = "http") -> None:
    """Sends an error in OpenAI's format and closes the connection, because a body may still be arriving."""
    kind = "invalid_request_error" if refused.status < 500 else "server_error"
    # OpenAI's `param` and `code` are strings or null, so they do not hold the status.
    error = {"message": refused.message, "type": kind, "param": None, "code": None}
    body = json.dumps({"error": error}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
    if refused.status == 401:
        headers["www-authenticate"] = "Bearer"
    pairs = [(name.encode(), value.encode()) for name, value in (headers | refused.headers).items()]
    with contextlib.suppress(OSError):
        await send({"type": f"{protocol}.response.start", "status": refused.status, "headers": pairs})
        await send({"type": f"{protocol}.response.body", "body": body})
