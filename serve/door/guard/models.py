"""`GET /v1/models/NAME`, answered from `GET /v1/models`: vLLM has no such route. Standard library only."""

import json
from typing import Any

PREFIX = "/v1/models/"


def name_in(path: str) -> str | None:
    """The model's name in a path, else None. Names may contain slashes."""
    return path.removeprefix(PREFIX) if path.startswith(PREFIX) and path != PREFIX else None


async def listed(app: Any, scope: Any, receive: Any) -> tuple[int, Any]:
    """Status and content of the list of models; the content is None unless the status is 200."""
    messages = []

    async def record(message: Any) -> None:
        messages.append(message)

    path = PREFIX.rstrip("/")
    await app({**scope, "path": path, "raw_path": path.encode(), "query_string": b""}, receive, record)
    body = b"".join(message.get("body", b"") for message in messages if message["type"] == "http.response.body")
    return messages[0]["status"], json.loads(body) if messages[0]["status"] == 200 else None
