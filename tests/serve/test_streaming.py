"""Between the model and the reader nothing holds a piece back: not the door, not our client.

The server behind sends its next piece only when the reader has the one before. So a stream that is buffered anywhere
stands still, whatever the machine's speed.
"""

import asyncio
import contextlib
import http.client
import json
import threading
from collections.abc import Iterator

import uvicorn

from llm_jax.decode.options import Sampling
from serve.door import listening
from serve.door.guard import Guard
from serve.text import client

KEY = "a-key-of-this-test"
PIECES = ["one", " two", " three", " four"]
PATIENCE = 5.0  # seconds


class LockStep:
    """A completions server that waits for its reader after every piece, and gives up if he has not got it."""

    def __init__(self) -> None:
        self.was_read = threading.Semaphore(0)
        self.gave_up = False

    async def __call__(self, scope, receive, send) -> None:
        if scope["path"] == "/v1/models":
            await self._say_which_models(send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for text in PIECES:
            choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": None}
            event = {"id": "x", "object": "text_completion", "created": 0, "model": "tiny", "choices": [choice]}
            body = f"data: {json.dumps(event)}\n\n".encode()
            await send({"type": "http.response.body", "body": body, "more_body": True})
            if not await asyncio.to_thread(self.was_read.acquire, timeout=PATIENCE):
                self.gave_up = True
                break
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def _say_which_models(self, send) -> None:
        text = json.dumps({"object": "list", "data": [{"id": "tiny", "object": "model"}]})
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": text.encode()})


def buffering(app):
    """What must not happen: an answer that is passed on when it is whole."""

    async def buffered(scope, receive, send) -> None:
        kept = []

        async def keep(message) -> None:
            kept.append(message)

        await app(scope, receive, keep)
        for message in kept:
            await send(message)

    return buffered


@contextlib.contextmanager
def serving(app) -> Iterator[tuple[str, int]]:
    socket = listening.bound("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
    thread.start()
    try:
        yield socket.getsockname()
    finally:
        server.should_exit = True
        thread.join(30)


def read_from_the_network(address, upstream: LockStep) -> list[str]:
    """The texts of an answer, each acknowledged when it has been read."""
    connection = http.client.HTTPConnection(*address, timeout=30)
    body = json.dumps({"model": "tiny", "prompt": "a", "stream": True})
    connection.request("POST", "/v1/completions", body, {"Authorization": f"Bearer {KEY}"})
    texts = []
    with contextlib.closing(connection), connection.getresponse() as response:
        while (line := response.readline()) and line != b"data: [DONE]\n":
            if line.startswith(b"data: "):
                texts.append(json.loads(line.removeprefix(b"data: "))["choices"][0]["text"])
                upstream.was_read.release()
    return texts


def test_the_door_passes_every_piece_on_before_the_next_is_there():
    upstream = LockStep()
    with serving(Guard(upstream, KEY)) as address:
        assert read_from_the_network(address, upstream) == PIECES
    assert not upstream.gave_up


def test_a_buffer_in_between_would_be_noticed():
    upstream = LockStep()
    with serving(Guard(buffering(upstream), KEY)) as address:
        assert read_from_the_network(address, upstream) != PIECES
    assert upstream.gave_up


def test_our_client_shows_every_piece_before_the_next_is_there(monkeypatch):
    monkeypatch.setenv("LLM_JAX_API_KEY", KEY)
    upstream, shown = LockStep(), []
    with serving(Guard(upstream, KEY)) as (host, port):
        remote = client.Remote(listening.url(host, port), None)
        for text in remote.stream("a", client.Settings(Sampling(), 8)):
            shown.append(text)
            upstream.was_read.release()
    assert shown == PIECES
    assert not upstream.gave_up
