"""The guard in front of both servers: one ASGI middleware, the same for vLLM and for ours.

    GET  /health                             without a key: whether the server runs, and nothing else
    GET  /v1/models   POST /v1/completions   with the key
    GET  /v1/models/NAME
    POST /v1/chat/completions
    anything else                            404, even if the server behind has such a route

vLLM's own key protects only routes that begin with `/v1`, and leaves `/tokenize`, `/invocations`, `/metrics`, `/docs`
and a dozen more open. So the guard lists the routes that may pass. It reads bodies itself: it checks size, reading
time, JSON and the number of sequences before the server behind gets a byte.

A closed guard lets no request in. vLLM answers 500 to a request that arrives while it shuts down; a closed guard sends
503 instead, because the client should ask another server.

Host and Origin are checked first (`callers`).

Standard library only, because vLLM imports it in its own environment: `--middleware guard.Guard`.
"""

import hmac
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from . import cors, models
from .bodies import MOST_SEQUENCES, check_body, read
from .callers import Callers, Unwelcome, absolute_target
from .refused import Refused, answer

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

__all__ = ["MOST_SEQUENCES", "Callers", "Guard"]

KEY_VARIABLE = "VLLM_API_KEY"  # vLLM's variable, so its own check stays on as well
REQUESTS_VARIABLE = "LLM_JAX_MAX_REQUESTS"
CLOSED_VARIABLE = "LLM_JAX_CLOSED"  # a file: while it exists, the guard is closed; several processes may read it

OPEN = {("GET", "/health")}
GUARDED = {("GET", "/v1/models"), ("POST", "/v1/completions"), ("POST", "/v1/chat/completions")}


class Guard:
    """ASGI middleware. Settings that are not given come from the environment, because vLLM passes none."""

    def __init__(
        self,
        app: App,
        key: str | None = None,
        max_requests: int | None = None,
        closed: str | None = None,
        callers: Callers | None = None,
    ):
        self.app = app
        self._callers = callers or Callers.from_environment()
        self._key = (key or os.environ[KEY_VARIABLE]).encode()
        self._closed = closed or os.environ.get(CLOSED_VARIABLE)
        self._max_requests = max_requests or int(os.environ.get(REQUESTS_VARIABLE, "256"))
        self._in_flight = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._check_caller(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._refuse_websocket(scope, send)

    async def _refuse_websocket(self, scope: Message, send: Send) -> None:
        """Refuses all websockets; with status and reason if the server behind can send them."""
        try:
            self._callers.check(scope)
            refused = Refused(404, "there are no websockets here")
        except Unwelcome as unwelcome:
            refused = Refused(unwelcome.status, unwelcome.message)
        if "websocket.http.response" in (scope.get("extensions") or {}):
            await answer(send, refused, "websocket.http")
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _check_caller(self, scope: Message, receive: Receive, send: Send) -> None:
        """Checks Host and Origin, answers preflight requests, and passes everything else to `_http`."""
        try:
            self._callers.check(scope)
        except Unwelcome as unwelcome:
            await answer(send, Refused(unwelcome.status, unwelcome.message))
            return
        if (target := absolute_target(scope)) is not None:
            path = target[1].partition("?")[0]
            scope = {**scope, "path": path, "raw_path": path.encode()}
        origin = next((value for name, value in scope["headers"] if name.lower() == b"origin"), b"")
        if self._callers.is_allowed(origin.decode("latin1")):
            send = cors.readable_by(origin, send)
            if cors.is_preflight(scope):
                await cors.answer_preflight(send)
                return
        await self._http(scope, receive, send)

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
                message = f"{self._in_flight} requests are being answered, the limit of this server: try again later"
                raise Refused(429, message, **{"retry-after": "1"})
        except Refused as refused:
            return await answer(send, refused)
        self._in_flight += 1
        try:
            if scope["method"] == "POST":
                body = await read(scope, receive)
                check_body(body)
                receive = _replay(body, receive)
        except Refused as refused:
            await answer(send, refused)
        except ConnectionError:
            pass  # the client has closed the connection
        else:
            if (name := models.name_in(scope["path"])) is not None:
                await self._describe(name, scope, receive, send)
            else:
                await self.app(scope, receive, self._answering(send))
        finally:
            self._in_flight -= 1

    async def _describe(self, name: str, scope: Message, receive: Receive, send: Send) -> None:
        """Answers with one of the models that the server behind lists."""
        status, content = await models.listed(self.app, scope, receive)
        if content is None:
            refused = _ending() if self._is_closed() else Refused(status, "the server behind does not list its models")
            return await answer(send, refused)
        known = {model["id"]: model for model in content["data"]}
        if name not in known:
            names = ", ".join(map(repr, known))
            return await answer(send, Refused(404, f"there is no model {name!r} here; this server has {names}"))
        body = json.dumps(known[name]).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        return await send({"type": "http.response.body", "body": body})

    def _is_closed(self) -> bool:
        return self._closed is not None and os.path.exists(self._closed)

    def _answering(self, send: Send) -> Send:
        """`send`, with status 503 in place of 500 while the guard is closed."""
        replaced = False

        async def send_checked(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and message["status"] == 500 and self._is_closed():
                replaced = True
                await answer(send, _ending())
            elif not replaced:
                await send(message)

        return send_checked

    def _check_key(self, scope: Message) -> None:
        """Called before the route is checked, so that a client without the key does not learn which routes exist."""
        given = next((value for name, value in scope["headers"] if name.lower() == b"authorization"), b"")
        scheme, _, key = given.partition(b" ")
        if not (scheme.lower() == b"bearer" and hmac.compare_digest(key.strip(), self._key)):
            problem = "is wrong" if given else "is missing"
            raise Refused(401, f"the API key {problem}: send the header `Authorization: Bearer KEY`")

    def _check_route(self, method: str, path: str) -> None:
        if models.name_in(path) is not None:
            path = "/v1/models"
        if (method, path) in GUARDED:
            return
        if allowed := sorted(m for m, p in GUARDED | OPEN if p == path):
            raise Refused(405, f"{path} takes {allowed[0]}, not {method}", allow=", ".join(allowed))
        routes = ", ".join(f"{method} {path}" for method, path in sorted(GUARDED | OPEN, reverse=True))
        raise Refused(404, f"there is no {path} here; there are {routes}")


def _ending() -> Refused:
    return Refused(503, "the server is shutting down: ask another one, or try again later", **{"retry-after": "1"})


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns the body again, then the client's further messages, such as its disconnection."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay
