"""`GET /v1/models/NAME`, answered from `GET /v1/models`: vLLM has no such route. Standard library only."""

import json
from typing import Any

PREFIX = "/v1/models/"


def name_in(path: str) -> str | None:
    """The model that a path asks for; names may have slashes."""
    return path.removeprefix(PREFIX) if path.startswith(PREFIX) and path != PREFIX else None


async def listed(app: Any, scope: Any, receive: Any) -> tuple[int, Any]:
    """Status and content of the list of models."""
    said = []

    async def hear(message: Any) -> None:
        said.append(message)

    path = PREFIX.rstrip("/")
    await app({**scope, "path": path, "raw_path": path.encode(), "query_string": b""}, receive, hear)
    body = b"".join(message.get("body", b"") for message in said if message["type"] == "http.response.body")
    return said[0]["status"], json.loads(body) if said[0]["status"] == 200 else None
