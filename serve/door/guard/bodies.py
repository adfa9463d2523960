"""Reads and checks a request's body: size, reading time, number of sequences. Standard library only."""

import asyncio
import json
from typing import Any

from .refused import Refused

LARGEST_BODY = 4 * 2**20  # bytes
LONGEST_READ = 30.0  # seconds for a body to arrive
MOST_SEQUENCES = 128  # prompts × n of one request


async def read(scope: Any, receive: Any) -> bytes:
    """The whole body of a request.

    Raises:
        Refused: it is compressed, too large, or arrives too slowly.
        ConnectionError: the client disconnects.
    """
    encoding = next((value for name, value in scope["headers"] if name.lower() == b"content-encoding"), b"identity")
    if encoding.strip().lower() not in (b"", b"identity"):
        problem = f"the header Content-Encoding is {encoding[:40].decode('latin1')!r}: send the body uncompressed"
        raise Refused(415, problem, **{"accept-encoding": "identity"})
    announced = next((value for name, value in scope["headers"] if name.lower() == b"content-length"), b"0")
    too_large = Refused(413, f"the body is larger than {LARGEST_BODY:,} bytes, the limit of this server")
    if not announced.isdigit() or len(announced) > 15 or int(announced) > LARGEST_BODY:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(LONGEST_READ):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ConnectionError
                body += message.get("body", b"")
                if len(body) > LARGEST_BODY:
                    raise too_large
                if not message.get("more_body"):
                    return bytes(body)
    except TimeoutError:
        raise Refused(408, f"the body did not arrive within {LONGEST_READ:.0f} s") from None


def check_body(body: bytes) -> None:
    """Checks that a body is a JSON object with a bounded number of sequences. The server behind checks the rest.

    Raises:
        Refused: it is not.
    """
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not valid JSON ({error})") from None
    if not isinstance(fields, dict):
        raise Refused(400, f"the body must be a JSON object; got {type(fields).__name__}")
    prompt = fields.get("prompt")
    n_sequences = len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1
    for name in ("n", "best_of"):
        n = fields.get(name)
        if isinstance(n, float) and n.is_integer():
            n = int(n)
        if n is not None and type(n) is not int:  # such as the string "128", which some servers accept
            raise Refused(400, f"{name} must be a whole number; got {json.dumps(n)[:40]}")
        if n is not None and n_sequences * n > MOST_SEQUENCES:
            raise Refused(
                400, f"{name}={n:,} for {n_sequences} prompts; a request may ask for {MOST_SEQUENCES} sequences"
            )
    if n_sequences > MOST_SEQUENCES:
        raise Refused(400, f"{n_sequences:,} prompts in one request; it may have {MOST_SEQUENCES}")
