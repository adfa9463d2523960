"""Messages answered by a model with a chat template: `serve chat`, and chats asked by OpenAI's client."""

import asyncio
import io
import json
from dataclasses import replace

import httpx
import openai
import pytest
from small_models import opinionated

from llm_jax import hf
from llm_jax.command_line import run as front_door
from llm_jax.config import DecoderConfig
from llm_jax.decode import loop
from llm_jax.decode.options import Sampling
from llm_jax.tokenizer import Borders, BytePairTokenizer, chat, with_borders
from llm_jax.tokenizer.hf_files.chat_templates import ChatTemplates
from serve.__main__ import COMMANDS
from serve.api import chat as chat_request
from serve.api import completions
from serve.api.application import Served, application
from serve.api.decoding.engine import Engine
from serve.text.client import Remote

START, END = 256, 257
CONFIG = DecoderConfig(vocab_size=258, context_length=128, d_model=32, n_heads=2, n_layers=1)
TEMPLATE = (
    "{% for m in messages %}{{ bos_token }}{{ m.role[0] }}:{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if note is defined %}{{ note }}{% endif %}{% if add_generation_prompt %}{{ bos_token }}a:{% endif %}"
)
KEY = "a-key-of-this-test"
MESSAGES = [{"role": "user", "content": "Hi é"}]


@pytest.fixture(scope="module")
def tokenizer() -> BytePairTokenizer:
    special = {"<|im_start|>": START, "<|im_end|>": END}
    borders = Borders(START, END, (END,))
    made = BytePairTokenizer({bytes([i]): i for i in range(256)}, special_tokens=special, borders=borders)
    made.chat = ChatTemplates({"default": TEMPLATE}, {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"})
    return made


@pytest.fixture(scope="module")
def params():
    return opinionated(CONFIG, 6)


@pytest.fixture(scope="module")
def directory(params, tokenizer, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("chat") / "tiny"
    hf.export(params, CONFIG, tokenizer, folder, "card")
    return str(folder)


@pytest.fixture(scope="module")
def replied(params, tokenizer, plan):
    """The decoder's greedy answer to messages, in at most eight tokens."""

    def reply(messages: list, n_new: int = 8) -> str:
        prompt = tokenizer.encode(chat.render(tokenizer.chat, messages, True).text, "all")
        ids = loop.generate(params, [prompt], CONFIG, plan, Sampling(temperature=0.0), n_new, (END,))[0]
        return tokenizer.decode([number for number in ids if number < START])

    return reply


@pytest.fixture(scope="module")
def engine(params, plan):
    engine = Engine(params, CONFIG, plan, rows=2, columns=128, max_waiting=64)
    engine.start()
    yield engine
    engine.close("the test is over", timeout=0)
    engine.join(30)


@pytest.fixture
def app(engine, tokenizer):
    return application(Served(engine, tokenizer, "tiny", CONFIG.context_length, None), KEY, 4)


@pytest.fixture
def ask(app):
    """The answer to a chat request by the openai package: one object, or the list of a stream's pieces."""

    def ask(key=KEY, served=app, **fields):
        async def send():
            transport = httpx.ASGITransport(served)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
                client = openai.AsyncOpenAI(
                    api_key=key, base_url="http://localhost/v1", http_client=http, max_retries=0
                )
                asked = {"model": "tiny", "messages": MESSAGES, "temperature": 0, "max_tokens": 8} | fields
                answer = await client.chat.completions.create(**asked)
                return [piece async for piece in answer] if fields.get("stream") else answer

        return asyncio.run(send())

    return ask


def test_an_answer_is_the_decoders_to_the_templates_text(ask, replied, tokenizer):
    answer = ask()
    (choice,) = answer.choices
    assert (answer.object, choice.message.role, choice.message.content) == (
        "chat.completion",
        "assistant",
        replied(MESSAGES),
    )
    assert answer.id.startswith("chatcmpl-")
    n_prompt = len(tokenizer.encode(chat.render(tokenizer.chat, MESSAGES, True).text, "all"))
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (n_prompt, 8)


def test_a_streamed_answer_says_who_speaks_then_the_text_then_the_counts(ask, replied):
    pieces = ask(stream=True, stream_options={"include_usage": True}, n=2)
    assert {piece.object for piece in pieces} == {"chat.completion.chunk"}
    assert len({(piece.id, piece.created) for piece in pieces}) == 1
    assert pieces[-1].choices == []
    assert pieces[-1].usage.completion_tokens == 16
    for index in range(2):
        deltas = [choice for piece in pieces for choice in piece.choices if choice.index == index]
        assert (deltas[0].delta.role, deltas[0].delta.content) == ("assistant", "")
        assert {choice.delta.role for choice in deltas[1:]} == {None}
        assert "".join(choice.delta.content for choice in deltas) == replied(MESSAGES)
        assert [choice.finish_reason for choice in deltas] == [None] * (len(deltas) - 1) + ["length"]


def test_the_end_of_a_turn_ends_an_answer_without_a_trace(ask):
    for stream in (False, True):
        found = ask(stream=stream, logit_bias={str(END): 100}, max_tokens=5)
        last = found[-1].choices[0] if stream else found.choices[0]
        assert last.finish_reason == "stop"
        assert not (last.delta if stream else last.message).content


def test_an_answer_may_fill_the_context_where_no_number_of_tokens_is_given(ask):
    answer = ask(max_tokens=openai.omit, logit_bias={str(END): -100})
    assert answer.usage.total_tokens == CONFIG.context_length
    assert ask(max_tokens=openai.omit, max_completion_tokens=3).usage.completion_tokens <= 3


def test_log_probabilities_come_a_token_each_with_its_bytes(ask):
    content = ask(logprobs=True, top_logprobs=2).choices[0].logprobs.content
    assert len(content) == 8
    assert all(len(entry.bytes) == 1 and len(entry.top_logprobs) == 2 for entry in content)
    assert all(entry.logprob == entry.top_logprobs[0].logprob for entry in content)
    streamed = [p.choices[0].logprobs for p in ask(logprobs=True, stream=True) if p.choices and p.choices[0].logprobs]
    assert [entry.bytes for logprobs in streamed for entry in logprobs.content] == [entry.bytes for entry in content]


def test_parts_of_text_and_variables_of_the_template_reach_it(ask, replied):
    parts = [{"role": "user", "content": [{"type": "text", "text": "Hi é"}]}]
    assert ask(messages=parts).choices[0].message.content == replied(MESSAGES)
    noted = ask(extra_body={"chat_template_kwargs": {"note": "xyz"}})
    assert noted.usage.prompt_tokens == ask().usage.prompt_tokens + 3


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "me", "store": False, "tool_choice": "none", "response_format": {"type": "text"}},
        {"extra_body": {"top_k": -1, "min_p": 0, "add_generation_prompt": True, "skip_special_tokens": True}},
        {"extra_body": {"tools": [], "parallel_tool_calls": True, "echo": False, "documents": []}},
        {
            "presence_penalty": 0,
            "frequency_penalty": 0,
            "logprobs": False,
            "top_logprobs": 0,
            "reasoning_effort": "none",
        },
    ],
)
def test_what_changes_nothing_is_taken(ask, replied, fields):
    assert ask(**fields).choices[0].message.content == replied(MESSAGES)


IMAGE = {"type": "image_url", "image_url": {"url": "data:"}}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools is not computed by this server"),
        ({"response_format": {"type": "json_object"}}, "response_format is not computed by this server"),
        ({"messages": []}, "messages must be a list of at least one message"),
        (
            {"messages": [{"role": "user", "content": [IMAGE]}]},
            r"messages\[0\].content\[0\] is a part of type 'image_url': this model reads parts of type 'text' alone",
        ),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, "tool calls are not computed here"),
        ({"top_logprobs": 3}, "top_logprobs is 3, and logprobs is false"),
        ({"max_tokens": 1000}, "maximum context length is 128 tokens: ask for"),
        ({"messages": [{"role": "user", "content": "x" * 200}]}, "maximum context length"),
        ({"extra_body": {"chat_template": "x"}}, "chat_template is not computed"),
        ({"extra_body": {"chat_template_kwargs": {"messages": 1}}}, "chat_template_kwargs.messages is not computed"),
        ({"extra_body": {"prompt": "x"}}, "unknown field 'prompt'"),
    ],
)
def test_what_is_not_computed_is_refused_by_name(ask, fields, message):
    with pytest.raises(openai.BadRequestError, match=message):
        ask(**fields)


def test_a_model_without_a_template_says_how_to_get_one(engine, tokenizer, ask):
    plain = BytePairTokenizer(tokenizer.ranks, special_tokens=tokenizer.special_tokens)
    served = application(Served(engine, plain, "tiny", CONFIG.context_length, None), KEY, 4)
    with pytest.raises(
        openai.BadRequestError, match=r"no chat template: put a chat_template.jinja beside its tokenizer"
    ):
        ask(served=served)
    with pytest.raises(openai.NotFoundError, match="there is no model 'other' here"):
        ask(model="other")
    with pytest.raises(openai.AuthenticationError):
        ask(key="wrong")


def test_a_template_that_fails_is_the_requests_fault(engine, tokenizer, ask):
    faulty = BytePairTokenizer(tokenizer.ranks, special_tokens=tokenizer.special_tokens)
    faulty.chat = replace(tokenizer.chat, templates={"default": "{{ raise_exception('roles must alternate') }}"})
    served = application(Served(engine, faulty, "tiny", CONFIG.context_length, None), KEY, 4)
    with pytest.raises(openai.BadRequestError, match="the chat template refuses these messages: roles must alternate"):
        ask(served=served)


def test_a_prompt_begins_with_what_the_tokenizer_puts_before_texts_unless_the_request_says_no(tokenizer):
    begun = with_borders(tokenizer, replace(tokenizer.borders, prefix=(START,)))

    def prompts(read, **fields):
        return read(fields, begun, "tiny", CONFIG.context_length, 8).prompts

    assert prompts(completions.read, prompt=["a", "<|im_start|>a", [97]]) == ((START, 97), (START, 97), (97,))
    assert prompts(completions.read, prompt="a", add_special_tokens=False) == ((97,),)
    (plain,) = prompts(chat_request.read, messages=MESSAGES)
    assert plain.count(START) == 2  # the template's own
    assert prompts(chat_request.read, messages=MESSAGES, add_special_tokens=True) == (plain,)  # it begins so already


def talk(directory, monkeypatch, lines: list[str], *flags: str) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    return front_door("serve", "", COMMANDS, ["chat", directory, "--temperature", "0", "--max-new-tokens", "8", *flags])


def test_serve_chat_keeps_the_messages(directory, replied, capsys, monkeypatch):
    assert talk(directory, monkeypatch, ["a", "/undo", "b", "c", "/new", "a"], "--system", "S") == 0

    def said(*turns: str) -> list:
        roles = ("user", "assistant")
        return [{"role": "system", "content": "S"}] + [
            {"role": roles[n % 2], "content": text} for n, text in enumerate(turns)
        ]

    first, second = replied(said("a")), replied(said("b"))
    third = replied(said("b", second, "c"))
    assert capsys.readouterr().out == "".join(f"{text}\n" for text in (first, "", second, third, "", first))


def test_an_answer_of_serve_chat_ends_where_the_context_does(directory, capsys, monkeypatch):
    assert talk(directory, monkeypatch, ["x" * 110, "y" * 200], "--max-new-tokens", "500") == 0
    shown = capsys.readouterr()
    assert 0 < len(shown.out.encode()) < 60
    assert "the model's context is 128" in shown.err


def test_an_export_keeps_the_template(directory, tokenizer):
    again = hf.load(directory).tokenizer
    assert again.chat.templates == tokenizer.chat.templates
    assert again.chat.tokens == tokenizer.chat.tokens
    hf.export(opinionated(CONFIG, 6), CONFIG, again, directory, "card", overwrite=True)  # an export may be made again


def test_a_server_that_has_no_template_is_found_out_by_its_answer(monkeypatch):
    def server(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": "tiny", "object": "model", "max_model_len": 64}]})
        if has_template:
            assert json.loads(request.content)["max_tokens"] <= 32
            piece = {"choices": [{"index": 0, "delta": {"content": "Hello"}}], "object": "chat.completion.chunk"}
            return httpx.Response(200, text=f"data: {json.dumps(piece)}\n\ndata: [DONE]\n\n")
        return httpx.Response(400, json={"error": {"message": chat.NO_TEMPLATE}})

    def connect(url, key_file):
        http = httpx.Client(transport=httpx.MockTransport(server))
        return openai.OpenAI(base_url=f"{url}/v1", api_key="x", http_client=http, max_retries=0)

    monkeypatch.setattr("serve.text.client.connect", connect)
    for has_template in (True, False):
        remote = Remote("http://127.0.0.1:1", None)
        assert remote.chats is has_template
        remote._client.close()
