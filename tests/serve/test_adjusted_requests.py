"""Requests that change the model's logits, asked of the application: vLLM's answers, and nobody else's."""

import asyncio
import json
import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import jax.numpy as jnp
import numpy as np
import pytest
from small_models import bytes_tokenizer, opinionated

from llm_jax.config import DecoderConfig
from llm_jax.decode import loop, slots
from llm_jax.decode.options import Adjustment, Sampling
from llm_jax.models import decoder
from serve.api import completions
from serve.api.application import Served, application
from serve.api.decoding.engine import Ended, Engine, Request
from serve.text.continuation import Continuation

CONFIG = DecoderConfig(vocab_size=257, context_length=64, d_model=32, n_heads=2, n_layers=1)
KEY = "a-key-of-this-test"
END = 256
PROMPT = [97, 98, 97]


@pytest.fixture(scope="module")
def params():
    return opinionated(CONFIG, 6)


@pytest.fixture(scope="module")
def engine(params, plan) -> Iterator[Engine]:
    engine = Engine(params, CONFIG, plan, rows=4, columns=64, max_waiting=128)
    engine.start()
    yield engine
    engine.close("the test is over", timeout=0)
    engine.join(30)


@pytest.fixture(scope="module")
def ask(engine):
    """Status and text of the answer to a greedy request with these fields."""
    app = application(Served(engine, bytes_tokenizer(), "tiny", CONFIG.context_length, None), KEY, 20)

    def ask(**fields) -> tuple[int, str]:
        async def send() -> tuple[int, str]:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
                body = json.dumps({"prompt": PROMPT, "temperature": 0, "max_tokens": 8, **fields})
                answer = await client.post("/v1/completions", content=body, headers={"Authorization": f"Bearer {KEY}"})
                return answer.status_code, answer.text

        return asyncio.run(send())

    return ask


@pytest.fixture(scope="module")
def complete(ask):
    def complete(**fields) -> dict:
        status, text = ask(**fields)
        assert status == 200, text
        return json.loads(text)

    return complete


def reference(params, plan, new: int, **changes) -> tuple[list[int], list[float]]:
    """Greedy tokens, and their log-probabilities, with the whole text read anew for each."""
    wish = Adjustment(**changes)
    answer, scores = [], []
    while len(answer) < new:
        tokens = jnp.asarray([PROMPT + answer + [0] * (new - len(answer))], jnp.int32)  # one shape, one program
        hidden, _ = decoder.forward(params, tokens, CONFIG, plan)
        raw = np.asarray(decoder.logits(params, hidden[0, len(PROMPT) + len(answer) - 1], CONFIG))
        logits = raw.copy()
        if len(answer) < wish.min_tokens:
            logits[list(wish.ends)] = -np.inf
        for token, bias in wish.logit_bias:
            logits[token] += bias
        for token in set(PROMPT + answer):
            factor = wish.repetition_penalty
            logits[token] *= 1 / factor if logits[token] > 0 else factor
        for token in set(answer):
            logits[token] -= wish.frequency_penalty * answer.count(token) + wish.presence_penalty
        answer.append(int(logits.argmax()))
        scores.append(float(raw[answer[-1]] - np.log(np.exp(raw - raw.max()).sum()) - raw.max()))
    return answer, scores


CHANGES = [
    {"presence_penalty": 2.0},
    {"frequency_penalty": 1.5},
    {"repetition_penalty": 1.7},
    {"presence_penalty": 2.0, "frequency_penalty": -0.1, "repetition_penalty": 1.2},
    {"logit_bias": {str(token): 2.5 for token in range(97, 123)}},
]


def in_answer(params, plan, changes) -> tuple[str, list[float]]:
    values = changes | {"logit_bias": tuple((int(k), v) for k, v in changes.get("logit_bias", {}).items())}
    tokens, scores = reference(params, plan, 8, **values)
    return bytes_tokenizer().decode(tokens), scores


@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: "+".join(changes))
def test_an_answer_is_that_of_vllm_s_formulas_with_the_model_s_own_log_probabilities(complete, params, plan, changes):
    choice = complete(**changes, logprobs=0, ignore_eos=True)["choices"][0]
    text, scores = in_answer(params, plan, changes)
    assert choice["text"] == text
    np.testing.assert_allclose(choice["logprobs"]["token_logprobs"], scores, atol=1e-4)
    assert text != in_answer(params, plan, {})[0]  # else the test would prove little


def test_nobody_s_answer_depends_on_who_is_beside(complete):
    asked = [*CHANGES, {}, {"temperature": 1.2, "seed": 5}, {"temperature": 1.2, "seed": 5, "presence_penalty": 1.0}]
    alone = [complete(**fields, ignore_eos=True)["choices"][0]["text"] for fields in asked]
    with ThreadPoolExecutor(len(asked)) as pool:
        together = list(pool.map(lambda fields: complete(**fields, ignore_eos=True)["choices"][0]["text"], asked))
    assert together == alone


def test_a_batch_where_nobody_asks_runs_the_program_that_knows_nothing_of_it(complete, engine):
    complete()
    compiled = slots.advance._cache_size()
    assert engine._batch._slots.adjusted is None
    complete(presence_penalty=1.0)
    with_penalties = slots.advance._cache_size()
    complete()
    assert engine._batch._slots.adjusted is None
    assert slots.advance._cache_size() == with_penalties >= compiled


def test_a_row_that_had_penalties_has_none_for_the_next_request(params, plan, engine):
    def run(*adjustments: Adjustment) -> list[list[int]]:
        found: list[list[int]] = []
        for adjustment in adjustments:
            events = queue.Queue()
            engine.submit([Request(PROMPT, Sampling(0.0), 8, events.put, adjustment=adjustment)])
            found.append([event.token for event in iter(events.get, Ended("length"))])
        return found

    plain, penalised, again = run(Adjustment(), Adjustment(presence_penalty=2.0), Adjustment())
    assert plain == again == loop.generate(params, [PROMPT], CONFIG, plan, Sampling(0.0), 8)[0]
    assert penalised != plain


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_token_ends_the_answer_counts_and_is_named(ask, complete, stream):
    free = complete(logprobs=0)["choices"][0]
    stop = free["logprobs"]["tokens"][3]
    fields = {"stop_token_ids": [ord(stop)], "logprobs": 0} | ({"stream": True} if stream else {})
    status, text = ask(**fields, **({"stream_options": {"include_usage": True}} if stream else {}))
    assert status == 200
    first = free["logprobs"]["tokens"].index(stop)
    if stream:
        events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
        last, usage = events[-2]["choices"][0], events[-1]["usage"]
        shown = "".join(event["choices"][0]["text"] for event in events[:-1])
    else:
        last, usage = json.loads(text)["choices"][0], json.loads(text)["usage"]
        shown = last["text"]
    assert shown == "".join(free["logprobs"]["tokens"][:first])
    assert (last["finish_reason"], last["stop_reason"]) == ("stop", ord(stop))
    assert last["logprobs"]["tokens"][-1] == stop
    assert usage["completion_tokens"] == first + 1


def test_no_end_comes_before_min_tokens(complete):
    wish = {"logit_bias": {str(END): 100}, "logprobs": 0, "max_tokens": 12}
    at_once = complete(**wish)
    assert (at_once["choices"][0]["text"], at_once["usage"]["completion_tokens"]) == ("", 1)
    later = complete(**wish, min_tokens=5)
    assert (later["choices"][0]["finish_reason"], later["usage"]["completion_tokens"]) == ("stop", 6)
    free = complete(logprobs=0)["choices"][0]["logprobs"]["tokens"]
    stop = next(token for token in free[:5] if token.isascii())
    held = complete(stop_token_ids=[ord(stop)], min_tokens=6, logprobs=0)["choices"][0]["logprobs"]["tokens"]
    assert stop not in held[:6]


def test_a_stop_text_within_the_first_min_tokens_is_text():
    tokenizer = bytes_tokenizer()
    for n_free, wanted in ((0, ""), (2, ""), (3, "abx"), (7, "abxabx")):
        continuation = Continuation(tokenizer, ["ab" if n_free else "a"], n_free if n_free != 2 else 1)
        shown = "".join(continuation.push(token) for token in b"abxabxabx")
        assert shown + continuation.finish() == wanted


@pytest.mark.parametrize("include", [True, False])
def test_continuous_usage_comes_with_every_piece_where_usage_is_asked_for(ask, include):
    options = {"include_usage": include, "continuous_usage_stats": True}
    _, text = ask(prompt=[PROMPT, [98]], stream=True, ignore_eos=True, stream_options=options)
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    if not include:
        assert not any("usage" in event for event in events)
        return
    assert events[-1] == events[-1] | {"choices": []}
    assert events[-1]["usage"] == {"prompt_tokens": 4, "completion_tokens": 16, "total_tokens": 20}
    for index, n_prompt in ((0, 3), (1, 1)):
        mine = [event["usage"] for event in events[:-1] if event["choices"][0]["index"] == index]
        assert [usage["completion_tokens"] for usage in mine] == [*range(1, 9), 8]
        assert {usage["prompt_tokens"] for usage in mine} == {n_prompt}


def test_max_completion_tokens_is_max_tokens_and_counts_where_both_are_given(complete):
    for fields in ({"max_completion_tokens": 3}, {"max_completion_tokens": 3, "max_tokens": 9}):
        assert complete(**{"max_tokens": None, **fields}, ignore_eos=True)["usage"]["completion_tokens"] == 3


def test_only_allowed_tokens_are_chosen(complete):
    text = complete(allowed_token_ids=[120, 121], temperature=1.0, max_tokens=30)["choices"][0]["text"]
    assert set(text) == {"x", "y"}


def test_a_bias_beyond_a_hundred_is_a_hundred():
    tokenizer = bytes_tokenizer()
    body = {"prompt": "a", "logit_bias": {"5": 1e9, "6": -1000, "7": 1}}
    asked = completions.read(body, tokenizer, "tiny", 64, 8)
    assert asked.adjustment.logit_bias == ((5, 100.0), (6, -100.0), (7, 1.0))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"presence_penalty": 2.1}, "presence_penalty must lie between -2 and 2; got 2.1"),
        ({"frequency_penalty": "1"}, "frequency_penalty must be float or int"),
        ({"repetition_penalty": 0}, "repetition_penalty must be above 0"),
        ({"logit_bias": {"257": 1}}, "logit_bias holds the token id 257; this model knows 0 to 256"),
        ({"logit_bias": {"-1": 1}}, "logit_bias holds the token id -1"),
        ({"logit_bias": {"the": 1}}, "logit_bias must map token ids to numbers; got the key 'the'"),
        ({"logit_bias": {"1": "2"}}, "logit_bias must map token ids to numbers"),
        ({"logit_bias": [1]}, "logit_bias must be dict"),
        ({"min_tokens": 9}, "min_tokens must be at most max_tokens=8; got 9"),
        ({"min_tokens": -1}, "min_tokens must lie between"),
        ({"stop_token_ids": [300]}, "stop_token_ids holds the token id 300"),
        ({"stop_token_ids": ["a"]}, "stop_token_ids must hold token ids"),
        ({"stop_token_ids": [True]}, "stop_token_ids must hold token ids"),
        ({"allowed_token_ids": []}, "allowed_token_ids is empty"),
        ({"min_p": 2}, "min_p must lie between"),
        ({"max_completion_tokens": 0}, "max_completion_tokens must lie between"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(ask, fields, words):
    status, text = ask(**fields)
    assert status == 400
    assert words in json.loads(text)["error"]["message"]
