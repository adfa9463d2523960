"""A model with a tokenizer of others: exported with that tokenizer's own files, and served."""

import io

import published_templates
import published_tokenizers
import pytest
from small_models import opinionated

from llm_jax import hf
from llm_jax.command_line import run as front_door
from llm_jax.config import DecoderConfig
from llm_jax.decode import loop
from llm_jax.decode.options import Sampling
from llm_jax.decode.prompts import encode_prompt
from llm_jax.scoring.requests import encode_request
from llm_jax.tokenizer import load
from serve.__main__ import COMMANDS
from serve.models import load_model

TEXTS = ["the quick brown fox jumps over the lazy dog, and the dog sleeps on. "] * 20
FAMILIES = {"mistral": published_templates.MISTRAL, "qwen2": published_templates.QWEN25}


@pytest.fixture(scope="module", params=FAMILIES)
def exported(request, tmp_path_factory):
    """(folder of the tokenizer, folder of the model). The model knows more ids than there are tokens, as Qwen's do."""
    folder = published_tokenizers.write(request.param, tmp_path_factory.mktemp("tokenizer") / "dir", TEXTS, 400)
    (folder / "chat_template.jinja").write_text(FAMILIES[request.param], encoding="utf-8")
    tokenizer = load(folder)
    config = DecoderConfig(tokenizer.vocab_size + 7, context_length=192, d_model=32, n_heads=2, n_layers=1)
    out = tmp_path_factory.mktemp("model") / "tiny"
    hf.export(opinionated(config, 6), config, tokenizer, out, "card")
    return folder, out


def test_an_export_has_the_tokenizers_files_unchanged_and_may_be_made_again(exported):
    folder, out = exported
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (out / name).read_bytes() == (folder / name).read_bytes()
    assert hf.check(out).vocab_size == load(out).vocab_size + 7
    loaded, tokenizer = hf.load(out), load(folder)
    assert loaded.tokenizer.borders == tokenizer.borders
    hf.export(loaded.params, loaded.config, loaded.tokenizer, out, "card", overwrite=True)
    assert (out / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()


def test_prompts_and_contexts_begin_as_the_tokenizer_says_and_once(exported):
    tokenizer = load(exported[0])
    prefix = list(tokenizer.borders.prefix)
    plain = tokenizer.encode("the dog")
    assert encode_prompt(tokenizer, "the dog") == prefix + plain
    for begin in prefix:
        spelled = tokenizer.decode([begin]) + "the dog"
        assert encode_prompt(tokenizer, spelled).count(begin) == 1
    request = encode_request(tokenizer, "the dog", " sleeps")
    assert list(request.context) == prefix + plain
    assert [*request.context, *request.continuation] == prefix + tokenizer.encode("the dog sleeps")


def test_generate_continues_a_text_with_its_spaces_and_chat_answers(exported, plan, capsys, monkeypatch):
    _, out = exported
    model = load_model(str(out))
    tokenizer = model.tokenizer
    assert model.config.vocab_size == tokenizer.vocab_size
    flags = ("--temperature", "0", "--max-new-tokens", "8")
    greedy = (model.config, plan, Sampling(temperature=0.0), 8, tokenizer.borders.stops)
    ids = loop.generate(model.params, [encode_prompt(tokenizer, "the dog")], *greedy)[0]
    assert front_door("serve", "", COMMANDS, ["generate", str(out), "--prompt", "the dog", *flags]) == 0
    expected = b"the dog" + b"".join(map(tokenizer.token_bytes, ids))
    assert capsys.readouterr().out == expected.decode(errors="replace") + "\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("the dog\n"))
    assert front_door("serve", "", COMMANDS, ["chat", str(out), *flags]) == 0
    assert capsys.readouterr().out.count("\n") >= 1
