"""`serve api` from its beginning to its end, seen from inside: what it makes ready, and what it does when it fails."""

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys

import pytest
from small_models import bytes_tokenizer, opinionated

from llm_jax import hf
from llm_jax.config import DecoderConfig
from llm_jax.decode import slots
from llm_jax.decode.options import Sampling
from serve.api.config import ApiConfig
from serve.api.decoding.engine import Request
from serve.api.decoding.start import start_engine
from serve.door import key
from serve.door.guard import MOST_SEQUENCES
from serve.door.listening import Door
from serve.models import load_model

FAILS_WHEN_READY = """
from llm_jax.command_line import run
from llm_jax.decode import slots
from serve.door import ready_message
from serve.__main__ import COMMANDS

def ready(*arguments):
    slots.advance = lambda *_: 1 / 0
    return how_to_call(*arguments)

how_to_call, ready_message.how_to_call = ready_message.how_to_call, ready
raise SystemExit(run("serve", "", COMMANDS))
"""
CONFIG = DecoderConfig(vocab_size=257, context_length=64, d_model=32, n_heads=2, n_layers=1)


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> str:
    out = tmp_path_factory.mktemp("served") / "tiny"
    hf.export(opinionated(CONFIG, 6), CONFIG, bytes_tokenizer(), out, "card")
    return str(out)


def test_a_request_s_sequences_are_no_requests(directory):
    """The door lets `max_requests` in, each with up to 128 sequences; none of these may find the queue full."""
    options = ApiConfig(directory, rows=2, door=Door(max_requests=1))
    engine = start_engine(load_model(directory), options, 64)
    try:
        assert engine.max_waiting >= MOST_SEQUENCES
        engine.submit([Request([1], Sampling(), 2, lambda _: None) for _ in range(MOST_SEQUENCES)])  # or Full is raised
    finally:
        engine.close("the test is over", 0)
        engine.join(30)


def test_a_model_that_cannot_be_decoded_is_not_served(directory, monkeypatch):
    monkeypatch.setattr(slots, "_read", lambda *_: 1 / 0)
    with pytest.raises(RuntimeError, match=r"this request has failed: ZeroDivisionError.*fewer --rows"):
        start_engine(load_model(directory), ApiConfig(directory, rows=1), 64)


def test_a_server_whose_engine_has_failed_answers_and_ends_with_an_error(directory, tmp_path):
    """A supervisor starts another one."""
    secret = "a-key-of-this-test"
    variables = {k: v for k, v in os.environ.items() if k != "JAX_NUM_CPU_DEVICES"} | {key.VARIABLE: secret}
    variables["LLM_JAX_CACHE"] = str(tmp_path)
    command = [sys.executable, "-uc", FAILS_WHEN_READY, "api", directory, "--port", "0", "--rows", "1"]
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stderr
            ready = next(
                found for line in process.stdout if (found := re.search(r"ready: http://([\d.]+):(\d+)", line))
            )
            connection = http.client.HTTPConnection(ready[1], int(ready[2]), timeout=60)
            body = json.dumps({"prompt": "a", "max_tokens": 5})
            connection.request("POST", "/v1/completions", body, {"Authorization": f"Bearer {secret}"})
            with contextlib.closing(connection), connection.getresponse() as response:
                assert response.status == 503
                told = json.loads(response.read())["error"]["message"]
                assert told == "the engine has failed: ZeroDivisionError"
            assert process.wait(60) != 0
            assert "error: the engine has failed: ZeroDivisionError: start the server again" in process.stderr.read()
        finally:
            process.kill()
