"""`generate` and `complete` are one command: prompts in every form, one meaning of --stop, a model or a server."""

import io

import pytest
from small_models import bytes_tokenizer, opinionated

from llm_jax import hf
from llm_jax.command_line import run as front_door
from llm_jax.config import DecoderConfig
from llm_jax.decode.options import Sampling
from llm_jax.tokenizer import BytePairTokenizer
from serve.commands import COMMANDS
from serve.models import load_model
from serve.text import client
from serve.text.config import Settings
from serve.text.continuation import Continuation
from serve.text.local import Local
from serve.text.stopping import Interrupted

CONFIG = DecoderConfig(vocab_size=257, context_length=64, d_model=32, n_heads=2, n_layers=1)
GREEDY = ("--temperature", "0", "--max-new-tokens", "8")
NAMES = ["generate", "complete"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> str:
    out = tmp_path_factory.mktemp("continued") / "tiny"
    hf.export(opinionated(CONFIG, 6), CONFIG, bytes_tokenizer(), out, "card")
    return str(out)


@pytest.fixture(scope="module")
def local(directory) -> Local:
    return Local(load_model(directory))


@pytest.fixture
def continued(local):
    """The greedy continuation of a text by eight tokens."""
    return lambda text, *stops: "".join(local.stream(text, Settings(Sampling(temperature=0.0), 8, stops)))


def call(name: str, *arguments: str) -> int:
    try:
        return front_door("serve", "", COMMANDS, [name, *arguments])
    except SystemExit as leaving:  # tyro's own way out
        return int(leaving.code or 0)


@pytest.mark.parametrize("name", NAMES)
def test_both_names_take_several_prompts_a_file_and_standard_input(
    name, directory, continued, capsys, tmp_path, monkeypatch
):
    texts = ["a b", "c d"]
    expected = "".join(f"{text}{continued(text)}\n\n" for text in texts)
    file = tmp_path / "prompts"
    file.write_text("\n".join(texts))
    monkeypatch.setattr("sys.stdin", io.StringIO(texts[0]))
    for flags in (["--prompt-file", str(file)], ["--prompt", "-", "--prompt", texts[1]]):
        assert call(name, directory, *flags, *GREEDY) == 0
        shown = capsys.readouterr()
        assert shown.out == expected
        assert "[tiny: 16 tokens" in shown.err


@pytest.mark.parametrize("name", NAMES)
def test_a_stop_of_several_tokens_ends_each_prompt_at_its_own_place(name, directory, continued, capsys):
    texts = ["a b", "c d"]
    whole = [continued(text) for text in texts]
    stop = whole[0][2:5]
    assert len(stop.encode()) > 1
    assert call(name, directory, *(flag for text in texts for flag in ("--prompt", text)), "--stop", stop, *GREEDY) == 0
    ended = [text.split(stop)[0] for text in whole]
    assert ended[0] != whole[0]
    assert capsys.readouterr().out == "".join(f"{text}{end}\n\n" for text, end in zip(texts, ended, strict=True))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--prompt", "-", "--prompt", "-"), "standard input can be read once"),
        (("--stop", ""), "stop must be a text that is not empty"),
    ],
)
def test_flags_that_contradict_themselves_are_refused_before_a_model_is_loaded(name, flags, message, capsys):
    assert call(name, "/nowhere", *flags) == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_a_server_has_no_steps(capsys):
    assert call("generate", "http://127.0.0.1:1", "--step", "3") == 2
    assert "is for a run's checkpoint" in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_an_interrupted_decoder_gives_the_text_that_it_has_held_back(local, continued):
    whole = continued("a b")
    # The first character may begin this stop text, so it is held back.
    pieces = local.stream_all(["a b"], Settings(Sampling(temperature=0.0), 8, (whole[0] + "\0",)))
    assert next(pieces).texts == [""]
    assert pieces.throw(Interrupted()).texts == [whole[0]]
    assert list(pieces) == []


def test_the_text_of_a_special_token_may_be_a_stop_however_it_is_written():
    tokenizer = BytePairTokenizer({bytes([i]): i for i in range(256)}, special_tokens={"<end>": 256})
    for tokens in ([97, 256, 98], [97, *b"<end>", 98]):
        continuation = Continuation(tokenizer, ["<end>"])
        assert "".join(map(continuation.push, tokens)) + continuation.finish() == "a"


def test_a_server_is_told_to_keep_special_tokens_only_where_a_stop_text_may_be_one():
    assert client.arguments("tiny", "a", Settings(Sampling(), 4))["extra_body"] is None
    asked = client.arguments("tiny", ["a", "b"], Settings(Sampling(seed=7), 4, ("<end>",)), first=3)
    assert asked["extra_body"] == {"skip_special_tokens": False}
    assert (asked["stop"], asked["seed"]) == (["<end>"], 10)
