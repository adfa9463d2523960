"""Which ids begin, end and pad a text: what the files say, in every form, and never what a token looks like."""

import json
import pickle

import pytest

from llm_jax.tokenizer import Borders, BytePairTokenizer, CharacterTokenizer, load, with_borders

SPECIAL = {"<s>": 256, "</s>": 257, "<pad>": 258, "<|endoftext|>": 259}
NO_CLASS = {"tokenizer_class": "PreTrainedTokenizerFast"}


@pytest.fixture
def loaded(tmp_path):
    """The tokenizer of a folder that holds these files."""
    plain = BytePairTokenizer({bytes([i]): i for i in range(256)}, special_tokens=SPECIAL)
    plain.save(tmp_path)

    def write(mark="\ufeff", **files):
        (tmp_path / "tokenizer_config.json").unlink(missing_ok=True)
        for name, content in files.items():
            (tmp_path / f"{name}.json").write_text(mark + json.dumps(content), encoding="utf-8")
        found = load(tmp_path)
        assert found.fingerprint == plain.fingerprint
        return found

    return write


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"tokenizer_config": NO_CLASS}, Borders()),
        ({}, Borders.of_one(259)),  # the class's default
        ({"tokenizer_config": {"eos_token": None, "bos_token": None}}, Borders()),
        (
            {"tokenizer_config": NO_CLASS | {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}},
            Borders(256, 257, (257,), 258),
        ),
        (
            {"tokenizer_config": NO_CLASS | {"eos_token": {"content": "</s>", "__type": "AddedToken"}}},
            Borders(None, 257, (257,)),
        ),
        (
            {
                "tokenizer_config": NO_CLASS,
                "special_tokens_map": {"bos_token": "<s>", "eos_token": {"content": "</s>"}},
            },
            Borders(256, 257, (257,)),
        ),
        (
            {"tokenizer_config": NO_CLASS, "config": {"eos_token_id": 257, "bos_token_id": 256}},
            Borders(256, 257, (257,)),
        ),
        ({"tokenizer_config": NO_CLASS, "config": {"eos_token_id": [257, 10]}}, Borders(None, 257, (257, 10))),
        (
            {
                "tokenizer_config": NO_CLASS,
                "config": {"eos_token_id": 256},
                "generation_config": {"eos_token_id": [257, 10], "pad_token_id": 0},
            },
            Borders(None, 257, (257, 10), 0),
        ),
        (
            {"tokenizer_config": NO_CLASS | {"eos_token": "</s>"}, "generation_config": {"eos_token_id": [10, 257]}},
            Borders(None, 257, (10, 257)),
        ),
        (
            {"tokenizer_config": NO_CLASS | {"eos_token": "</s>"}, "config": {"eos_token_id": 10, "bos_token_id": 256}},
            Borders(
                None, 257, (10, 257)
            ),  # lm-evaluation-harness: a tokenizer that names an end is asked, not the model
        ),
        ({"tokenizer_config": NO_CLASS, "config": {"model_type": "gpt2"}}, Borders()),  # 50256 is no id of it
        ({"tokenizer_config": NO_CLASS, "config": {"eos_token_id": 50256, "pad_token_id": -1}}, Borders()),
    ],
)
def test_borders_are_what_the_files_say(loaded, files, expected):
    assert loaded(**files).borders == expected


@pytest.mark.parametrize("file", ["config", "generation_config"])
@pytest.mark.parametrize("value", ["257", True, 2.0, [257, "10"], {"id": 257}])
def test_an_end_that_is_no_id_is_refused_by_file_and_field(loaded, file, value):
    with pytest.raises(ValueError, match=rf"{file}\.json: eos_token_id is .*expected a token's id"):
        loaded(**{file: {"eos_token_id": value}})


@pytest.mark.parametrize("text", ["{", "[]", "\x00"])
@pytest.mark.parametrize("file", ["tokenizer_config", "special_tokens_map", "config", "generation_config"])
def test_a_damaged_file_beside_a_tokenizer_is_named(loaded, tmp_path, file, text):
    loaded()
    (tmp_path / f"{file}.json").write_text(text)
    with pytest.raises(ValueError, match=rf"{file}\.json: (not valid JSON|a list; expected an object)"):
        load(tmp_path)


@pytest.mark.parametrize(
    "borders",
    [
        Borders(),
        Borders.of_one(259),
        Borders(256, 257, (257,), 258),
        Borders(None, 257, (257, 10, 259)),
        Borders.of_one(10),  # an ordinary token
        Borders(256, 257, (257,), 0),
    ],
)
def test_borders_survive_saving_and_pickling(borders, tmp_path):
    plain = BytePairTokenizer({bytes([i]): i for i in range(256)}, special_tokens=SPECIAL)
    tokenizer = with_borders(plain, borders)
    assert plain.borders == Borders.of_one(259)
    assert pickle.loads(pickle.dumps(tokenizer)).borders == borders
    tokenizer.save(tmp_path)
    assert load(tmp_path).borders == borders
    assert load(tmp_path).fingerprint == plain.fingerprint


def test_a_character_may_be_a_border(tmp_path):
    with_borders(CharacterTokenizer.from_text("ab\n"), Borders.of_one(0)).save(tmp_path)
    assert load(tmp_path).borders == Borders.of_one(0)


def test_what_transformers_calls_the_end_is_our_end(loaded, tmp_path):
    from transformers import AutoTokenizer

    for config in (NO_CLASS | {"bos_token": "<s>", "eos_token": "</s>"}, NO_CLASS | {"eos_token": "</s>"}):
        ours = loaded("", tokenizer_config=config, config={"model_type": "gpt2"}).borders
        theirs = AutoTokenizer.from_pretrained(tmp_path)
        assert (ours.begin, ours.end) == (theirs.bos_token_id, theirs.eos_token_id)
