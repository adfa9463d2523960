"""Headers that a browser needs before a page of another origin may read an answer (Fetch, "CORS protocol").

Only for the origins that `--allowed-origins` names. Standard library only.
"""

from typing import Any

ALLOWED = (
    (b"access-control-allow-methods", b"GET, POST"),
    (b"access-control-allow-headers", b"authorization, content-type"),
)


def is_preflight(scope: Any) -> bool:
    """Whether this is a browser's preflight request, which precedes the page's request and has no key."""
    return scope["method"] == "OPTIONS" and any(
        name.lower() == b"access-control-request-method" for name, _ in scope["headers"]
    )


def readable_by(origin: bytes, send: Any) -> Any:
    """`send`, with the header that lets a page of this origin read the answer."""

    async def send_with_header(message: Any) -> None:
        if message["type"] == "http.response.start":
            # vLLM sends this header for all origins; browsers reject an answer with two of them.
            kept = [pair for pair in message["headers"] if pair[0].lower() != b"access-control-allow-origin"]
            message = {**message, "headers": [*kept, (b"access-control-allow-origin", origin), (b"vary", b"Origin")]}
        await send(message)

    return send_with_header


async def answer_preflight(send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": list(ALLOWED)})
    await send({"type": "http.response.body", "body": b""})
