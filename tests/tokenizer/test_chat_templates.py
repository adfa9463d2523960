"""Chat templates give transformers' text and ids, and one that misbehaves is stopped with one line."""

import json
import time

import published_templates
import published_tokenizers
import pytest
from transformers import AutoTokenizer

from llm_jax.tokenizer import BytePairTokenizer, load
from llm_jax.tokenizer.chat import checked, encode, render
from llm_jax.tokenizer.hf_files.chat_templates import ChatTemplates

CHATS = [
    [{"role": "user", "content": " What is 2 < 3 & 'x'?\n"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "தமிழ் 😀"}],
    [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\nHello."},
        {"role": "user", "content": "Bye"},
    ],
    [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "reasoning_content": "c"}],
]


@pytest.fixture(scope="module", params=published_templates.TEMPLATES)
def pair(request, tmp_path_factory):
    """(our tokenizer, transformers') of a folder with a template."""
    family, template = published_templates.TEMPLATES[request.param]
    folder = published_tokenizers.write(family, tmp_path_factory.mktemp("chat"), ["the dog", "a dog"], 300)
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return load(folder), AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("asks", [True, False], ids=["asks", "ends"])
@pytest.mark.parametrize("messages", CHATS)
def test_text_and_ids_are_transformers(pair, messages, asks):
    ours, theirs = pair
    if "raise_exception" in ours.chat.default and messages[0]["role"] == "system":
        with pytest.raises(ValueError, match=r"refuses these messages: Conversation roles must alternate"):
            render(ours.chat, messages, asks)
        return
    expected = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=asks)
    assert render(ours.chat, messages, asks).text == expected
    if asks:
        assert encode(ours, messages) == theirs.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]


def test_a_prompt_begins_with_one_begin_token(pair):
    ours, _ = pair
    begin = ours.borders.prefix
    ids = encode(ours, CHATS[0])
    assert all(ids.count(number) == 1 and ids[0] == number for number in begin)


def test_variables_reach_the_template():
    chat = ChatTemplates({"default": published_templates.QWEN3}, {})
    assert render(chat, CHATS[0], True, {"enable_thinking": False}).text.endswith("<think>\n\n</think>\n\n")
    assert "think" not in render(chat, CHATS[0], True).text


def test_the_assistants_parts_are_transformers(tmp_path):
    folder = published_tokenizers.write("smollm2", tmp_path, ["the dog", "a dog"], 300)
    (folder / "chat_template.jinja").write_text(published_templates.MARKED)
    ours, theirs = load(folder), AutoTokenizer.from_pretrained(folder)
    messages = CHATS[2] + [{"role": "assistant", "content": "Bye 😀."}]
    rendered = render(ours.chat, messages)
    parts = [rendered.text[start:stop] for start, stop in rendered.spans]
    assert parts == [f"{message['content']}<|im_end|>" for message in messages if message["role"] == "assistant"]
    expected = theirs.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    ids, places = ours.encode_with_offsets(rendered.text, "all")
    inside = [any(start <= a and b <= stop for start, stop in rendered.spans) for a, b in places]
    assert (ids, inside) == (expected["input_ids"], [bool(mark) for mark in expected["assistant_masks"]])


STOPPED = {
    "loops": ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "more than 2 seconds"),
    "range": ("{% for a in range(10**9) %}{% endfor %}", "Range too big"),
    "power": ("{{ 10 ** (10 ** 10) }}", "more than 2 seconds|of memory"),
    "text": ("{{ 'a' * 10 ** 10 }}", "more than 512 MiB of memory"),
    "padding": ("{{ '%1000000000d' % 1 }}{{ 'x'.center(2000000000) }}", "more than 512 MiB|longer than"),
    "doubling": (
        "{% set n = namespace(s='aaaaaaaa') %}{% for i in range(40) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}",
        "of memory|longer than|more than 2 seconds",
    ),
    "output": ("{% for a in range(99999) %}{{ 'a' * 999 }}{% endfor %}", "longer than 8,388,608 characters"),
    "recursion": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "calls itself without end"),
    "attributes": ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "reaches for what a template may not"),
    "format": ("{{ '{0.__class__.__mro__}'.format(1) }}", "reaches for what a template may not"),
    "globals": ("{{ raise_exception.__globals__['sys'] }}", "reaches for what a template may not"),
    "change": ("{{ messages.append(1) }}", "reaches for what a template may not"),
    "namespace": ("{% set ns = namespace() %}{% set ns.__x__ = 1 %}", "reaches for what a template may not"),
    "import": ("{% include '/etc/passwd' %}", "fails|refuses"),
    "syntax": ("{% if %}", "cannot be read: line 1"),
    "tag": ("\n{% nonsense %}", "cannot be read: line 2"),
    "undefined": ("{{ messages[7].content.strip() }}", "fails on these messages"),
    "type": ("{{ 1 + 'a' }}", "fails on these messages: TypeError"),
}


@pytest.mark.parametrize("name", STOPPED)
def test_a_template_that_misbehaves_is_stopped_with_one_line(name):
    template, message = STOPPED[name]
    started = time.monotonic()
    with pytest.raises(ValueError, match=message) as refusal:
        render(ChatTemplates({"default": template}, {}, "dir/chat_template.jinja"), CHATS[0])
    assert str(refusal.value).startswith("dir/chat_template.jinja: the chat template ")
    assert "\n" not in str(refusal.value)
    assert time.monotonic() - started < 60
    assert (
        render(ChatTemplates({"default": "{{ messages[0].role }}"}, {}), CHATS[0]).text == "user"
    )  # the next one works


TEXT = {"type": "text", "text": "b"}


def test_parts_of_text_are_joined_as_vllm_joins_them():
    assert checked([{"role": "user", "content": [{"type": "text", "text": "a"}, TEXT], "name": None}]) == [
        {"role": "user", "content": "a\nb"}
    ]


@pytest.mark.parametrize(
    ("messages", "named"),
    [
        ([], "messages must be a list of at least one"),
        ("Hi", "messages must be a list"),
        (["Hi"], r"messages\[0\] must be an object"),
        ([{"content": "a"}], r"messages\[0\].role must be a text"),
        ([{"role": "user"}], r"messages\[0\].content must be a text"),
        ([{"role": "user", "content": 7}], r"messages\[0\].content must be a text.*got int"),
        ([{"role": "user", "content": [TEXT, {"type": "image_url"}]}], r"messages\[0\].content\[1\].*'image_url'"),
        ([{"role": "user", "content": [{"type": "input_audio"}]}], r"content\[0\].*'input_audio'"),
        ([{"role": "user", "content": [{"type": "text", "text": 7}]}], r"content\[0\].text must be a text"),
        ([{"role": "user", "content": [7]}], r"content\[0\] is no part"),
        ([{"role": "tool", "content": "a"}], r"messages\[0\].role is 'tool': tool calls"),
        ([{"role": "assistant", "content": "a", "tool_calls": [{}]}], r"messages\[0\].tool_calls"),
    ],
)
def test_messages_that_no_template_gets_are_refused_by_their_place(messages, named):
    with pytest.raises(ValueError, match=named):
        checked(messages)


@pytest.fixture
def folder(tmp_path):
    BytePairTokenizer({bytes([i]): i for i in range(256)}, special_tokens={"<s>": 256}).save(tmp_path)
    return tmp_path


NO_CLASS = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>"}


def put(folder, value):
    (folder / "tokenizer_config.json").write_text(json.dumps(NO_CLASS | {"chat_template": value}))


@pytest.mark.parametrize(
    "value",
    ["{{ bos_token }}", [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "{{ bos_token }}"}]],
)
def test_the_older_field_is_read_in_both_forms_and_survives_saving(folder, tmp_path, value):
    put(folder, value)
    tokenizer = load(folder)
    assert render(tokenizer.chat, CHATS[0]).text == "<s>"
    tokenizer.save(tmp_path / "again")
    again = load(tmp_path / "again").chat
    assert (again.templates, again.tokens) == (tokenizer.chat.templates, tokenizer.chat.tokens)
    theirs = AutoTokenizer.from_pretrained(tmp_path / "again")
    assert theirs.apply_chat_template(CHATS[0], tokenize=False) == "<s>"


def test_the_file_goes_before_the_older_field(folder):
    put(folder, "old")
    (folder / "chat_template.jinja").write_text("\ufeffnew", encoding="utf-8")
    assert render(load(folder).chat, CHATS[0]).text == "new"
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "rag.jinja").write_text("more")
    assert load(folder).chat.templates == {"default": "new", "rag": "more"}
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ValueError, match=r"none of its chat templates is called 'default'; it has rag"):
        render(load(folder).chat, CHATS[0])


@pytest.mark.parametrize(
    "value", [7, [{"name": "default"}], [{"name": "a/b", "template": ""}], ["x"], {"default": "x"}]
)
def test_a_damaged_field_is_named(folder, value):
    put(folder, value)
    with pytest.raises(ValueError, match=r"tokenizer_config\.json: chat_template must be a text"):
        load(folder)


def test_a_template_that_is_not_utf8_is_named(folder):
    (folder / "chat_template.jinja").write_bytes(b"ab\xff")
    with pytest.raises(ValueError, match=r"chat_template\.jinja is not UTF-8 \(.* at byte 2\)"):
        load(folder)
