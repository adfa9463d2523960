"""The door when the server behind it ends: nobody new comes in, and an end is not told as a failure."""

import asyncio
import json
from pathlib import Path

import pytest

from serve.door.guard import Guard

KEY = "a-key-of-this-test"


def asked(app, path: str = "/v1/completions", key: str = KEY, **further: str) -> tuple[int, bytes]:
    """Status and body of one request to an ASGI app, with `further` headers."""
    method = "POST" if path == "/v1/completions" else "GET"
    headers = {"authorization": f"Bearer {key}"} | {name.replace("_", "-"): value for name, value in further.items()}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": pairs}
    said = []

    async def receive():
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message):
        said.append(message)

    asyncio.run(app(scope, receive, send))
    assert [message["type"] for message in said].count("http.response.start") == 1
    return said[0]["status"], b"".join(message.get("body", b"") for message in said[1:])


def answering(status: int, meanwhile=lambda: None):
    """A server that answers with `status`, in two pieces."""

    async def app(scope, receive, send):
        meanwhile()
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"of the ", "more_body": True})
        await send({"type": "http.response.body", "body": b"server"})

    return app


@pytest.fixture
def closed(tmp_path) -> Path:
    """The file that closes the door: not there yet."""
    return tmp_path / "closed"


def test_a_closed_door_lets_nobody_in_and_an_open_one_does(closed):
    door = Guard(answering(200), KEY, closed=str(closed))
    assert asked(door) == asked(door, "/health") == (200, b"of the server")
    closed.touch()
    for path in ("/v1/completions", "/v1/models", "/health"):
        status, body = asked(door, path)
        assert (status, json.loads(body)["error"]["type"]) == (503, "server_error")


def test_a_refusal_has_the_fields_and_types_of_openai_s_errors(closed):
    closed.touch()
    error = json.loads(asked(Guard(answering(200), KEY, closed=str(closed)))[1])["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["param"] is error["code"] is None


def test_a_closed_door_says_no_more_than_an_open_one_to_those_without_the_key(closed):
    closed.touch()
    assert asked(Guard(answering(200), KEY, closed=str(closed)), key="wrong")[0] == 401


@pytest.mark.parametrize("status", [200, 400, 500])
def test_only_a_failure_that_the_end_has_brought_is_told_as_the_end(closed, status):
    """It met the server's end between the door and the engine; a failure before that stays one."""
    assert asked(Guard(answering(status), KEY, closed=str(closed))) == (status, b"of the server")
    told, body = asked(Guard(answering(status, closed.touch), KEY, closed=str(closed)))
    if status == 500:
        assert (told, json.loads(body)["error"]["type"]) == (503, "server_error")
    else:
        assert (told, body) == (status, b"of the server")


def test_an_unknown_path_is_told_every_known_one():
    status, body = asked(Guard(answering(200), KEY), "/v1/responses")
    message = json.loads(body)["error"]["message"]
    assert status == 404
    for route in ("POST /v1/completions", "POST /v1/chat/completions", "GET /v1/models", "GET /health"):
        assert route in message


@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd"])
def test_a_compressed_body_is_refused_by_the_header_that_says_so(name):
    status, body = asked(Guard(answering(200), KEY), content_encoding=name)
    assert status == 415
    assert f"Content-Encoding is {name!r}" in json.loads(body)["error"]["message"]
    assert asked(Guard(answering(200), KEY), content_encoding="identity")[0] == 200
