"""What our own server says, asked without a socket: the fields of answers, and the values that requests may hold."""

import asyncio
import json
from collections.abc import Iterator

import httpx
import pytest
from small_models import bytes_tokenizer, opinionated

from llm_jax.config import DecoderConfig
from llm_jax.decode import loop, slots
from llm_jax.decode.options import Sampling
from serve.api.application import UNKNOWN_FAILURE, Served, application
from serve.api.decoding.engine import Engine

CONFIG = DecoderConfig(vocab_size=257, context_length=64, d_model=32, n_heads=2, n_layers=1)
KEY = "a-key-of-this-test"
TEXT = "é x 🎉"  # characters of one, two and four tokens


@pytest.fixture(scope="module")
def params():
    return opinionated(CONFIG, 6)


@pytest.fixture(scope="module")
def tokenizer():
    return bytes_tokenizer()


@pytest.fixture(scope="module")
def engine(params, plan) -> Iterator[Engine]:
    engine = Engine(params, CONFIG, plan, rows=2, columns=64, max_waiting=128)
    engine.start()
    yield engine
    engine.close("the test is over", timeout=0)
    engine.join(30)


@pytest.fixture
def app(engine, tokenizer):
    return application(Served(engine, tokenizer, "tiny", CONFIG.context_length, None), KEY, 4)


@pytest.fixture
def ask(app):
    """Status and text of the answer to a request with these fields."""

    def ask(path="/v1/completions", **fields) -> tuple[int, str]:
        async def send() -> tuple[int, str]:
            # A failure reaches the client as it would over a socket.
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
                headers = {"Authorization": f"Bearer {KEY}"}
                body = {"content": json.dumps(fields), "headers": headers}
                response = await (client.post(path, **body) if fields else client.get(path, headers=headers))
                return response.status_code, response.text

        return asyncio.run(send())

    return ask


@pytest.fixture
def complete(ask):
    """The answer to a request that must succeed."""

    def complete(**fields):
        status, text = ask(**fields)
        assert status == 200, text
        return json.loads(text)

    return complete


def events(text: str) -> list:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


@pytest.mark.parametrize("echo", [True, False])
@pytest.mark.parametrize("n_top", [0, 1, 5])
def test_as_many_log_probabilities_as_are_asked_for_come_with_every_token(complete, tokenizer, echo, n_top):
    content = complete(prompt=TEXT, echo=echo, logprobs=n_top, max_tokens=0 if echo else 3, temperature=0)
    logprobs = content["choices"][0]["logprobs"]
    n_tokens = len(tokenizer.encode(TEXT)) if echo else 3
    assert {len(values) for values in logprobs.values()} == {n_tokens}
    for token, top in zip(logprobs["tokens"][echo:], logprobs["top_logprobs"][echo:], strict=True):
        assert token in top
        assert len(top) <= n_top + 1  # bytes that are no characters look alike


def test_the_pieces_of_a_character_begin_where_it_begins(complete):
    offsets = complete(prompt=TEXT, echo=True, logprobs=0, max_tokens=0)["choices"][0]["logprobs"]["text_offset"]
    assert offsets == [0, 0, 1, 2, 3, 4, 4, 4, 4]
    cut = list(TEXT[:1].encode()[:1])  # a prompt that ends within a character: its answer is another text
    content = complete(prompt=[97, *cut], echo=True, logprobs=0, max_tokens=1, temperature=0)["choices"][0]
    assert content["text"].startswith("a\ufffd")
    assert content["logprobs"]["text_offset"] == [0, 1, 2]


def test_all_pieces_of_a_stream_say_the_same_of_it(ask, monkeypatch):
    now = iter(range(10**6))
    monkeypatch.setattr("serve.api.completions.time.time", lambda: next(now))
    status, text = ask(prompt="a", max_tokens=5, stream=True, ignore_eos=True, stream_options={"include_usage": True})
    assert status == 200
    assert len(events(text)) == 7
    assert len({(event["id"], event["created"], event["model"], event["object"]) for event in events(text)}) == 1


def test_models_have_openai_s_fields(ask):
    (model,) = json.loads(ask("/v1/models")[1])["data"]
    assert type(model["created"]) is int
    assert {"id", "object", "created", "owned_by"} <= model.keys()


@pytest.mark.parametrize("stream", [False, True])
def test_special_tokens_leave_no_text_where_they_are_skipped_and_count_all_the_same(ask, tokenizer, stream):
    end = tokenizer.end_of_text
    asked = {"prompt": "a", "max_tokens": 8, "temperature": 0, "ignore_eos": True, "logit_bias": {str(end): 100}}

    def answered(**fields) -> tuple[str, int]:
        options = {"stream_options": {"include_usage": True}} if stream else {}
        status, text = ask(**asked, **fields, stream=stream, **options)
        assert status == 200, text
        answers = events(text) if stream else [json.loads(text)]
        whole = "".join(choice["text"] for answer in answers for choice in answer["choices"])
        return whole, answers[-1]["usage"]["completion_tokens"]

    spelled = tokenizer.decode([end])
    assert answered() == answered(skip_special_tokens=False) == (spelled * 8, 8)
    assert answered(skip_special_tokens=True) == ("", 8)
    # A text that is not in the answer cannot stop it.
    assert answered(skip_special_tokens=True, stop=spelled) == ("", 8)
    assert answered(stop=spelled)[0] == ""


NEUTRAL = [
    {"best_of": 1},
    {"best_of": 3, "n": 3},
    {"suffix": ""},
    {"suffix": None},
    {"logit_bias": {}},
    {"presence_penalty": 0.0},
    {"skip_special_tokens": True},
    {"skip_special_tokens": False},
    {"stream_options": {"continuous_usage_stats": False, "include_obfuscation": False}},
    {"response_format": {"type": "text"}},
    {"prompt_logprobs": None},
    {"stop_token_ids": []},
    {"store": False, "user": "me", "metadata": {"a": "b"}, "service_tier": "flex", "seed": None},
    {"seed": 7.0, "n": 1.0, "top_k": -1.0, "min_tokens": 0.0},  # JSON has one type of numbers
    {"stream_options": None, "top_k": -1, "min_p": 0, "repetition_penalty": 1, "frequency_penalty": 0.0},
    {"guided_json": None, "guided_choice": None, "structured_outputs": None, "logprobs": None},
    {"use_beam_search": False, "length_penalty": 1.0, "bad_words": [], "allowed_token_ids": None, "priority": 0},
    {"max_completion_tokens": None, "min_tokens": 0, "include_stop_str_in_output": False, "return_token_ids": False},
    {"truncate_prompt_tokens": None, "spaces_between_special_tokens": True, "kv_transfer_params": None},
    {"tools": [], "tool_choice": "none", "parallel_tool_calls": True, "modalities": ["text"], "n": 1},
]


@pytest.mark.parametrize("fields", NEUTRAL)
def test_what_changes_nothing_is_taken(complete, fields):
    complete(prompt="a", max_tokens=1, **fields)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"best_of": 2}, "best_of"),
        ({"suffix": "b"}, "suffix"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"prompt_logprobs": 0}, "prompt_logprobs"),
        ({"store": True}, "store"),
        ({"guided_regex": "a+"}, "guided_regex"),
        ({"bad_words": ["a"]}, "bad_words"),
        ({"use_beam_search": True}, "use_beam_search"),
        ({"tools": [{}]}, "tools"),
        ({"stream": True, "stream_options": {"include_obfuscation": True}}, "include_obfuscation"),
    ],
)
def test_what_would_change_the_answer_and_is_not_computed_is_refused(ask, fields, named):
    status, text = ask(prompt="a", max_tokens=1, **fields)
    assert (status, json.loads(text)["error"]["message"]) == (
        400,
        f"{named} is not computed by this server: leave it out",
    )


@pytest.mark.parametrize("name", ["temperature", "top_p"])
def test_a_number_too_large_for_a_float_is_refused_by_name(ask, name):
    status, text = ask(prompt="a", **{name: 10**400})
    assert status == 400
    assert json.loads(text)["error"] == {
        "message": f"{name} is too large: a number of 401 digits",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


@pytest.mark.parametrize("seed", [7, 2**31 - 1, 2**31, 2**63 - 1, -1, -(2**63)])
def test_every_seed_of_64_bits_gives_the_tokens_of_the_decoder(complete, params, tokenizer, plan, seed):
    content = complete(prompt="a", max_tokens=6, n=2, seed=seed, temperature=1.2, ignore_eos=True)
    expected = loop.generate(params, [[97], [97]], CONFIG, plan, Sampling(1.2, seed=seed), 6)
    assert [choice["text"] for choice in content["choices"]] == [tokenizer.decode(tokens) for tokens in expected]


def test_a_prompt_that_is_only_scored_may_fill_the_context(ask, complete):
    complete(prompt=[1] * 64, max_tokens=0, echo=True)
    for n_new, most in ((0, 64), (1, 63)):
        status, text = ask(prompt=[1] * 65, max_tokens=n_new, echo=True)
        assert status == 400
        assert f"shorten the prompt to {most} tokens or fewer" in text


@pytest.mark.parametrize("fields", [{}, {"stream": True}])
def test_what_nobody_has_thought_of_is_told_in_openai_s_form_and_the_server_goes_on(
    ask, complete, tokenizer, monkeypatch, fields
):
    monkeypatch.setattr("serve.api.application.Choice.take", lambda *_: 1 / 0)
    status, text = ask(prompt="a", max_tokens=3, **fields)
    assert status == (200 if fields else 500)
    told = events(text)[-1] if fields else json.loads(text)
    assert told["error"]["message"] == UNKNOWN_FAILURE
    assert "[DONE]" not in text
    monkeypatch.undo()
    complete(prompt="a", max_tokens=3)


@pytest.mark.parametrize("fields", [{}, {"stream": True}])
def test_a_request_that_the_engine_cannot_read_gets_an_error_of_its_own(ask, complete, monkeypatch, fields):
    monkeypatch.setattr(slots, "_read", lambda *_: 1 / 0)
    status, text = ask(prompt="a", max_tokens=3, **fields)
    assert status == (200 if fields else 500)
    told = events(text)[-1] if fields else json.loads(text)
    assert told["error"]["message"] == "this request has failed: ZeroDivisionError"
    monkeypatch.undo()
    complete(prompt="a", max_tokens=3)
