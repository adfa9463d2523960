"""The door in front of every server here: one ASGI middleware, the same for vLLM and for our own.

    GET  /health                             open: says that the server lives, nothing else
    GET  /v1/models   POST /v1/completions   with the key
    POST /v1/chat/completions
    anything else                            404, whatever the server behind would have answered

vLLM's own key guards only what begins with `/v1`, and leaves `/tokenize`, `/invocations`, `/metrics`, `/docs` and a
dozen more open; so the door lists what may pass, not what may not. It reads bodies itself: their size, the time they
take, that they are JSON, and how many sequences they ask for are bounded before the server behind sees a byte.

Closed, it lets nobody in, and what the server behind then calls its own failure (vLLM answers 500 to a request that
meets its end between door and engine) is what it is: a server that ends, status 503, to be asked again elsewhere.

Standard library only, for vLLM imports it in its own environment: `--middleware guard.Guard`.
"""

import asyncio
import contextlib
import hmac
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

KEY_VARIABLE = "VLLM_API_KEY"  # vLLM's own name, so that its own check stays on as well
REQUESTS_VARIABLE = "LLM_JAX_MAX_REQUESTS"
CLOSED_VARIABLE = "LLM_JAX_CLOSED"  # a file: when it is there, the door is closed; several processes may look at it

OPEN = {("GET", "/health")}
GUARDED = {("GET", "/v1/models"), ("POST", "/v1/completions"), ("POST", "/v1/chat/completions")}

LARGEST_BODY = 4 * 2**20  # bytes
LONGEST_READ = 30.0  # seconds for a body to arrive
MOST_SEQUENCES = 128  # prompts × n of one request


class Refused(Exception):
    """An answer that is given here."""

    def __init__(self, status: int, message: str, **headers: str):
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers


class Guard:
    """ASGI middleware. Its settings come from the environment where none are given: vLLM passes none."""

    def __init__(self, app: App, key: str | None = None, max_requests: int | None = None, closed: str | None = None):
        self.app = app
        self._key = (key or os.environ[KEY_VARIABLE]).encode()
        self._closed = closed or os.environ.get(CLOSED_VARIABLE)
        self._max_requests = max_requests or int(os.environ.get(REQUESTS_VARIABLE, "256"))
        self._in_flight = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        route = (scope["method"], scope["path"])
        if route in OPEN and not self._is_closed():
            return await self.app(scope, receive, send)
        try:
            if route not in OPEN:
                self._check_key(scope)
                self._check_route(*route)
            if self._is_closed():
                raise _ending()
            if self._in_flight >= self._max_requests:
                message = f"{self._in_flight} requests are being answered, the most this server takes: try again later"
                raise Refused(429, message, **{"retry-after": "1"})
        except Refused as refused:
            return await answer(send, refused)
        self._in_flight += 1
        try:
            if scope["method"] == "POST":
                body = await _read(scope, receive)
                _check_body(body)
                receive = _replay(body, receive)
        except Refused as refused:
            await answer(send, refused)
        except ConnectionError:
            pass  # the client is gone, there is nobody to answer
        else:
            await self.app(scope, receive, self._answering(send))
        finally:
            self._in_flight -= 1

    def _is_closed(self) -> bool:
        return self._closed is not None and os.path.exists(self._closed)

    def _answering(self, send: Send) -> Send:
        """`send`, which says 503 in place of 500 once the door is closed."""
        replaced = False

        async def say(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and message["status"] == 500 and self._is_closed():
                replaced = True
                await answer(send, _ending())
            elif not replaced:
                await send(message)

        return say

    def _check_key(self, scope: Message) -> None:
        """Before the route: without the key nobody learns which routes there are."""
        given = next((value for name, value in scope["headers"] if name.lower() == b"authorization"), b"")
        scheme, _, key = given.partition(b" ")
        if not (scheme.lower() == b"bearer" and hmac.compare_digest(key.strip(), self._key)):
            what = "is wrong" if given else "is missing"
            raise Refused(401, f"the API key {what}: send the header `Authorization: Bearer KEY`")

    def _check_route(self, method: str, path: str) -> None:
        if (method, path) in GUARDED:
            return
        if allowed := sorted(m for m, p in GUARDED | OPEN if p == path):
            raise Refused(405, f"{path} takes {allowed[0]}, not {method}", allow=", ".join(allowed))
        raise Refused(404, f"there is no {path} here; POST /v1/completions, GET /v1/models and GET /health answer")


def _ending() -> Refused:
    return Refused(503, "the server is ending: ask another one, or this one when it is back", **{"retry-after": "1"})


async def _read(scope: Message, receive: Receive) -> bytes:
    """The whole body, if it is small enough and comes soon enough."""
    announced = next((value for name, value in scope["headers"] if name.lower() == b"content-length"), b"0")
    too_large = Refused(413, f"the body is larger than {LARGEST_BODY:,} bytes, the most this server reads")
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


def _check_body(body: bytes) -> None:
    """It is a JSON object and asks for a bounded number of sequences; what else it says is for the server to judge."""
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
        if n is not None and type(n) is not int:  # "128", which a server may well read as a number
            raise Refused(400, f"{name} must be a whole number; got {json.dumps(n)[:40]}")
        if n is not None and n_sequences * n > MOST_SEQUENCES:
            raise Refused(
                400, f"{name}={n:,} for {n_sequences} prompts; a request may ask for {MOST_SEQUENCES} sequences"
            )
    if n_sequences > MOST_SEQUENCES:
        raise Refused(400, f"{n_sequences:,} prompts in one request; it may have {MOST_SEQUENCES}")


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body once more, then whatever comes: the client's hanging up."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay


async def answer(send: Send, refused: Refused) -> None:
    """OpenAI's form of an error. The connection ends, for a body may still be on its way."""
    kind = "invalid_request_error" if refused.status < 500 else "server_error"
    # OpenAI's `param` and `code` are texts or null: the status is in the status.
    error = {"message": refused.message, "type": kind, "param": None, "code": None}
    body = json.dumps({"error": error}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
    if refused.status == 401:
        headers["www-authenticate"] = "Bearer"
    pairs = [(name.encode(), value.encode()) for name, value in (headers | refused.headers).items()]
    with contextlib.suppress(OSError):
        await send({"type": "http.response.start", "status": refused.status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})
