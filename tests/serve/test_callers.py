"""Who may ask: DNS rebinding and foreign pages get nothing, those who ask as they should get everything."""

import asyncio
import json
import socket

import pytest

from serve.door.guard import Callers, Guard
from serve.door.listening import Door

KEY = "a-key-of-this-test"


async def behind(scope, receive, send):
    headers = [(b"access-control-allow-origin", b"*")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"through"})


def ask(callers=None, hosts=("localhost",), origins=(), path="/health", version="1.1", **more):
    """Status, headers and body of one request."""
    headers = [(b"host", host.encode("latin1")) for host in hosts]
    headers += [(b"origin", origin.encode("latin1")) for origin in origins]
    headers += [(b"authorization", b"Bearer " + KEY.encode()), *more.pop("headers", ())]
    scope = {"type": "http", "method": "GET", "path": path, "http_version": version, "headers": headers, **more}
    said = []

    async def send(message):
        said.append(message)

    asyncio.run(Guard(behind, KEY, callers=callers)(scope, None, send))
    return said[0].get("status"), dict(said[0].get("headers", ())), b"".join(m.get("body", b"") for m in said)


def is_refused(answer, status: int = 403) -> bool:
    return answer[0] == status and json.loads(answer[2])["error"].keys() == {"message", "type", "param", "code"}


@pytest.mark.parametrize("path", ["/health", "/v1/models"])
@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8000",
        "LocalHost:1",
        "localhost.",
        "localhost.:80",
        "localhost:",
        "127.0.0.1:8000",
        "127.0.0.1",
        "[::1]",
        "[::1]:8000",
        "[0:0:0:0:0:0:0:1]:8000",
    ],
)
def test_a_server_of_this_machine_answers_to_its_names(host, path):
    assert ask(hosts=[host], path=path)[0] == 200


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/nowhere"])
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.localhost",
        "",
        "10.0.0.5",
        "0.0.0.0",
        "127.0.0.2",
        "[::2]",
        "::1",
        "[::1",
        "[::1]x",
        "localhost:80:80",
        "localhost:x",
        "localhost:99999",
        "localhost@evil.example",
        "me@localhost",
        "localhost/",
        "localhost#",
        "localhost evil",
        ".",
        "2130706433",
        "0x7f.1",
        "localhost,evil.example",
        "löcalhost",
        "localhost\\@evil.example",
        "[::1%25lo]",
    ],
)
def test_it_answers_to_no_other_name(host, path):
    assert is_refused(ask(hosts=[host], path=path))


def test_http_1_1_has_one_host():
    assert is_refused(ask(hosts=[]), 400)
    assert is_refused(ask(hosts=["localhost", "localhost"]), 400)
    assert is_refused(ask(hosts=["localhost", "evil.example"]), 400)
    assert ask(hosts=[], version="1.0")[0] == 200  # as a load balancer asks for health


def test_an_absolute_target_is_checked_too_and_its_path_is_the_route():
    assert ask(path="http://localhost:8000/health")[0] == 200
    assert is_refused(ask(path="http://evil.example/health"))
    assert is_refused(ask(path="HTTP://evil.example/health"))
    assert is_refused(ask(hosts=["evil.example"], path="http://localhost/health"))
    assert is_refused(ask(path="http://localhost/metrics"), 404)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("LOCALHOST:8000", "http://localhost:8000"),
        ("localhost", "http://localhost"),
        ("localhost:80", "http://localhost"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("localhost", "https://localhost"),  # a proxy has taken TLS off
    ],
)
def test_a_page_of_the_same_host_and_port_passes(host, origin):
    assert ask(hosts=[host], origins=[origin])[0] == 200


@pytest.mark.parametrize(
    "origins",
    [
        ["http://evil.example"],
        ["http://localhost:9000"],
        ["http://127.0.0.1:8000"],
        ["null"],
        [""],
        ["localhost:8000"],
        ["http://localhost:8000/"],
        ["http://me@localhost:8000"],
        ["file://"],
        ["chrome-extension://localhost:8000"],
        ["http://localhost:8000", "http://evil.example"],
        ["http://localhost:8000"] * 2,
        ["http://[::1"],
    ],
)
def test_pages_from_elsewhere_are_refused(origins):
    assert is_refused(ask(hosts=["localhost:8000"], origins=origins))


def test_a_websocket_is_told_the_same():
    extensions = {"websocket.http.response": {}}
    for host, status in (("localhost", 404), ("evil.example", 403)):
        assert is_refused(ask(hosts=[host], type="websocket", extensions=extensions), status)
        assert ask(hosts=[host], type="websocket")[0] is None  # closed, where the server can say no more


def test_a_server_for_other_machines_answers_to_its_own_names_and_those_it_is_given():
    callers = Callers.of("0.0.0.0", ["gpu1.example.org", "::2"])
    server = ("10.0.0.5", 8000)
    for host in ("localhost", "10.0.0.5:8000", socket.gethostname(), "GPU1.example.org.:80", "[::2]:1"):
        assert ask(callers, hosts=[host], server=server)[0] == 200
    for host in ("evil.example", "10.0.0.6", "0.0.0.0", "@own", "*own*"):
        assert is_refused(ask(callers, hosts=[host], server=server))
    assert ask(Callers.of("10.0.0.7"), hosts=["10.0.0.7:1"])[0] == 200
    assert ask(Callers.of("::"), hosts=["[fe80::1]"], server=("fe80::1", 1))[0] == 200
    assert is_refused(ask(hosts=["10.0.0.5"], server=server))  # of this machine alone


def test_an_allowed_page_may_ask_and_read():
    callers = Callers.of("127.0.0.1", origins=["https://App.example.org/"])
    origin = "https://app.example.org"
    status, headers, _ = ask(callers, origins=[origin])
    assert (status, headers[b"access-control-allow-origin"]) == (200, origin.encode())
    question = {"method": "OPTIONS", "headers": [(b"access-control-request-method", b"POST")]}
    status, headers, _ = ask(callers, origins=[origin], path="/v1/completions", **question)
    assert (status, headers[b"access-control-allow-origin"]) == (204, origin.encode())
    assert b"authorization" in headers[b"access-control-allow-headers"]
    assert is_refused(ask(callers, origins=["http://app.example.org"]))
    assert is_refused(ask(callers, origins=["https://app.example.org.evil.example"], **question))


def test_vllm_s_door_knows_the_same_callers(monkeypatch):
    for callers in (Callers.of("0.0.0.0", ["a.example"], ["https://b.example"]), Callers.of("127.0.0.1")):
        for name, value in callers.variables().items():
            monkeypatch.setenv(name, value)
        assert Callers.from_environment() == callers


@pytest.mark.parametrize("wrong", ["http://a.example", "a.example:80", "*", "*.example", "", "a b", "a/b", "[::1]:80"])
def test_what_is_no_host_is_refused_at_the_start(wrong):
    with pytest.raises(ValueError, match="allowed_hosts must be names or addresses"):
        Door(allowed_hosts=(wrong,))


@pytest.mark.parametrize("wrong", ["a.example", "*", "null", "https://a.example/x", "ftp://a.example", "https://*.a"])
def test_what_is_no_origin_is_refused_at_the_start(wrong):
    with pytest.raises(ValueError, match="allowed_origins must be scheme and host"):
        Door(allowed_origins=(wrong,))
