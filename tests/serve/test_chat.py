"""`serve complete`, `chat` and `generate` without a server: on a run's folder, and on a Hugging Face directory."""

import dataclasses
import io
import json
import signal

import jax.numpy as jnp
import pytest
from small_models import bytes_tokenizer, opinionated

from llm_jax import hf
from llm_jax.checkpoint import Checkpoints
from llm_jax.command_line import run as front_door
from llm_jax.config import DecoderConfig
from llm_jax.decode import loop
from llm_jax.decode.options import Sampling
from llm_jax.models import decoder
from llm_jax.shapes import pytree
from llm_jax.tokenizer import Tokenizer
from serve import models
from serve.__main__ import COMMANDS
from serve.text import chat_command as chat
from serve.text import client

CONFIG = DecoderConfig(vocab_size=257, context_length=64, d_model=32, n_heads=2, n_layers=1)
GREEDY = ("--temperature", "0", "--max-new-tokens", "8")


@pytree
class State:
    """As the trainer's: the parameters among other fields."""

    params: decoder.Decoder
    step: jnp.ndarray


@pytest.fixture(autouse=True)
def ctrl_c_is_listened_to():
    """However pytest was started: a command in a script's background inherits that Ctrl-C is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return bytes_tokenizer()


@pytest.fixture(scope="module")
def params() -> decoder.Decoder:
    return opinionated(CONFIG, 6)


@pytest.fixture(scope="module", params=["run", "directory"])
def source(request, params, tokenizer, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp(request.param) / "tiny"
    if request.param == "directory":
        hf.export(params, CONFIG, tokenizer, folder, "card")
        return str(folder)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"format": 1, "model": dataclasses.asdict(CONFIG), "training": {}}))
    tokenizer.save(folder / "tokenizer")
    checkpoints = Checkpoints(folder / "checkpoints")
    checkpoints.save(3, State(params, jnp.int32(3)), {})
    checkpoints.close()
    return str(folder)


@pytest.fixture
def continued(params, tokenizer, plan):
    """The greedy continuation of a text by eight tokens."""

    def continue_(text: str) -> str:
        ids = tokenizer.encode(text)
        end = [tokenizer.end_of_text]
        return tokenizer.decode(loop.generate(params, [ids], CONFIG, plan, Sampling(temperature=0.0), 8, end)[0])

    return continue_


def call(command: str, *arguments: str) -> int:
    try:
        return front_door("serve", "", COMMANDS, [command, *arguments])
    except SystemExit as leaving:  # tyro's own way out
        return int(leaving.code or 0)


def one_line(shown: str) -> str:
    """Without the box that tyro draws around a message."""
    return " ".join(shown.replace("│", " ").split())


def test_complete_shows_the_prompt_and_its_continuation(source, continued, capsys, monkeypatch):
    assert call("complete", source, "--prompt", "some text", *GREEDY) == 0
    assert capsys.readouterr().out == f"some text{continued('some text')}\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("some text"))
    assert call("complete", source, "--prompt", "-", *GREEDY) == 0
    assert capsys.readouterr().out == f"some text{continued('some text')}\n"


def test_a_stop_text_ends_a_completion_and_is_not_shown(source, continued, capsys):
    text = continued("some text")
    stop = next(text[at : at + 2] for at in range(2, len(text)) if text.find(text[at : at + 2]) == at)
    assert call("complete", source, "--prompt", "some text", "--stop", stop, *GREEDY) == 0
    assert capsys.readouterr().out == f"some text{text[: text.index(stop)]}\n"


def test_a_prompt_that_is_refused_is_not_shown(source, capsys):
    assert call("complete", source, "--prompt", "x" * 60, *GREEDY) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "60 tokens and 8 new ones are asked for; the model's context is 64: ask for 4 or fewer" in shown.err


@pytest.mark.parametrize("command", ["complete", "chat"])
def test_an_empty_stop_text_which_would_leave_nothing_is_refused(command, source, capsys):
    assert call(command, source, "--stop", "") == 2
    assert "stop must be a text that is not empty" in one_line(capsys.readouterr().err)


def test_a_line_of_a_prompt_file_ends_at_a_line_feed_alone(source, continued, capsys, tmp_path):
    file = tmp_path / "prompts"
    texts = ["a\u2028b", "c\x0cd"]
    file.write_text("\n".join(texts) + "\n", encoding="utf-8")
    assert call("generate", source, "--prompt-file", str(file), *GREEDY) == 0
    assert capsys.readouterr().out == "".join(f"{text}{continued(text)}\n\n" for text in texts)


@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        (b"one\ntw\xff", (), "is not UTF-8 (invalid start byte at byte 6): convert it"),
        (b"", (), "is empty: write one prompt per line"),
        (None, (), "does not exist"),
        (b"one", ("--prompt", "two"), "are both given: leave one of them out"),
    ],
)
def test_a_prompt_file_that_cannot_be_used_is_named(source, capsys, tmp_path, content, flags, message):
    file = tmp_path / "prompts"
    if content is not None:
        file.write_bytes(content)
    assert call("generate", source, "--prompt-file", str(file), *flags) == 2
    shown = one_line(capsys.readouterr().err)
    assert file.name in shown
    assert message in shown


def test_a_chat_goes_on_where_the_text_ends(source, continued, capsys, monkeypatch):
    turns = ["a b", "/undo", "c d", " e", "/new", "a b", "x" * 60, " f"]
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in turns)))
    assert call("chat", source, *GREEDY) == 0
    shown = capsys.readouterr()
    first, second = continued("a b"), continued("c d")
    third = continued(f"c d{second} e")
    # The turn that is too long is refused, and the text stays what it was.
    expected = [first, "", second, third, "", first, continued(f"a b{first} f")]
    assert shown.out == "".join(f"{text}\n" for text in expected)
    assert "the model's context is 64" in shown.err
    assert "/new starts a new text" in shown.err


def test_quit_ends_a_chat_and_turns_draw_differently(source, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("a\n/new\na\n/quit\nnever\n"))
    assert call("chat", source, "--temperature", "1", "--max-new-tokens", "20") == 0
    first, _, second = capsys.readouterr().out.rstrip("\n").partition("\n\n")
    assert first != second


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_stops_an_answer_and_keeps_what_was_shown(times, capsys, monkeypatch):
    """Once: after the piece that is being computed. Twice: at once, for a silent server sends no more pieces."""
    asked, ended = [], []

    class Interrupted:
        name = "tiny"

        def sampling(self, otherwise):
            return otherwise

        def stream(self, text, settings):
            asked.append(text)
            try:
                if times == 2:
                    yield " and"
                for _ in range(times):
                    signal.raise_signal(signal.SIGINT)
                yield " and"
                yield " never"
            finally:
                ended.append(text)

    monkeypatch.setattr(client, "open_source", lambda where, key_file, **_: Interrupted())
    monkeypatch.setattr("sys.stdin", io.StringIO("this\n that\n"))
    assert chat.main(chat.Options("anywhere")) == 0
    assert asked == ended == ["this", "this and that"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert capsys.readouterr().out == " and\n and\n"


@pytest.mark.parametrize("prompts", [("a b",), ("a b", "c d")])
def test_ctrl_c_ends_generate_after_the_piece_that_is_being_computed(prompts, source, continued, capsys, monkeypatch):
    """The first piece is prefill and its compilation, which a KeyboardInterrupt would break."""
    stream, ended = loop.stream, []

    def interrupted(*arguments):
        try:
            signal.raise_signal(signal.SIGINT)
            yield from stream(*arguments)
        finally:
            ended.append(True)

    expected = [f"{prompt}{continued(prompt)[0]}" for prompt in prompts]
    monkeypatch.setattr(loop, "stream", interrupted)
    flags = [flag for prompt in prompts for flag in ("--prompt", prompt)]
    assert call("generate", source, *flags, *GREEDY) == 130
    between = "\n\n" if len(prompts) > 1 else "\n"
    shown = capsys.readouterr()
    assert shown.out == "".join(f"{text}{between}" for text in expected)
    assert f": {len(prompts)} tokens]" in shown.err
    assert ended == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_while_a_model_is_loaded_takes_effect_when_it_is_loaded_or_at_the_second_press(
    times, source, monkeypatch
):
    load, loaded = models.load_model, []

    def interrupted(*arguments):
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)
        loaded.append(load(*arguments))
        return loaded[0]

    monkeypatch.setattr(models, "load_model", interrupted)
    assert call("generate", source, *GREEDY) == 130
    assert len(loaded) == (times == 1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("command", ["chat", "complete"])
def test_what_is_no_model_is_named(command, tmp_path, capsys):
    assert call(command, str(tmp_path)) == 2
    assert "config.json" in capsys.readouterr().err
