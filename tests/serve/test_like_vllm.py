"""The same greedy request gets the same text from vLLM and from our decoder, whatever is to be done to the logits."""

import json

import pytest

from llm_jax import hf
from llm_jax.config import Execution
from llm_jax.models import decoder
from serve.api.decoding.engine import Engine

FIELDS = [
    {},
    {"presence_penalty": 1.1},
    {"frequency_penalty": 0.7},
    {"repetition_penalty": 1.4},
    {"presence_penalty": -1.3, "frequency_penalty": 0.3, "repetition_penalty": 1.1},
    {"logit_bias": {"101": 4, "120": -100, "116": 2.5}},
    {"logit_bias": {"256": 100}, "min_tokens": 5},
    {"stop_token_ids": [101, 32], "min_tokens": 3},
    {"allowed_token_ids": [97, 98, 99, 100], "presence_penalty": 0.5},
    {"stop": ["o"], "min_tokens": 4},
]
pytestmark = pytest.mark.vllm


@pytest.fixture(scope="module")
def ours(directory):
    """Our application over the directory that the server has, asked without a socket."""
    import asyncio

    import httpx

    from serve.api.application import Served, application

    loaded = hf.load(str(directory))
    engine = Engine(loaded.params, loaded.config, decoder.make_plan(Execution(dtype="float32")), 1, 128, 8)
    engine.start()
    app = application(Served(engine, loaded.tokenizer, "tiny", 128, None), "a-key-of-this-test", 8)

    def complete(**fields) -> dict:
        async def send() -> dict:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
                headers = {"Authorization": "Bearer a-key-of-this-test"}
                answer = await client.post("/v1/completions", content=json.dumps(fields), headers=headers)
                return answer.json()

        return asyncio.run(send())

    yield complete
    engine.close("the test is over", 0)
    engine.join(30)


@pytest.mark.parametrize("fields", FIELDS, ids=lambda fields: "+".join(fields) or "plain")
def test_greedy_answers_are_equal(server, ours, fields):
    wish = {"prompt": "the quick", "max_tokens": 24, "temperature": 0, "logprobs": 1, **fields}
    status, theirs = server.complete(**wish)
    assert status == 200, theirs
    mine = ours(model="tiny", **wish)
    # vLLM leaves bytes out that are no character at the end of a text.
    assert mine["choices"][0]["text"].rstrip("\ufffd") == theirs["choices"][0]["text"].rstrip("\ufffd")
    for name in ("finish_reason", "stop_reason"):
        assert mine["choices"][0][name] == theirs["choices"][0][name], name
    assert mine["usage"]["completion_tokens"] == theirs["usage"]["completion_tokens"]
    found, wanted = (answer["choices"][0]["logprobs"]["token_logprobs"] for answer in (mine, theirs))
    assert found == pytest.approx(wanted, abs=2e-3)
