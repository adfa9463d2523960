"""The character-level tokenizer: known alphabets, Hugging Face's reading of it, and its refusals."""

import json

import jax.numpy as jnp
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llm_jax.tokenizer import CharacterTokenizer, Tokenizer, load

ODD = "\n\r\t \u00a0\u200d▁Ġ'é\u0301中😀\x00\ufeff"


def test_tinyshakespeare_has_65_characters_in_nanogpts_order(shared_data):
    text = (shared_data / "text" / "tinyshakespeare.txt").read_text(encoding="utf-8")
    tokenizer = CharacterTokenizer.from_text(text)
    assert tokenizer.alphabet == "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    assert tokenizer.vocab_size == 65
    assert tokenizer.encode("hii there") == [46, 47, 47, 1, 58, 46, 43, 56, 43]  # nanoGPT lecture
    assert tokenizer.decode(tokenizer.encode_array(text)) == text


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_text_comes_back(text):
    tokenizer = CharacterTokenizer.from_text(text)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(ids) == text.encode()
    assert tokenizer.encode_array(text).tolist() == ids
    assert tokenizer.encode_batch([text, ""]) == [ids, []]
    assert max(ids) < tokenizer.vocab_size == len(set(text))


def test_transformers_reads_the_same_ids_and_the_same_text(tmp_path):
    from transformers import AutoTokenizer

    ours = CharacterTokenizer.from_text(ODD + "abc <|endoftext|>")
    ours.save(tmp_path, model_max_length=100_000)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert len(theirs) == ours.vocab_size
    assert theirs.eos_token_id is None

    @given(st.text(st.sampled_from(ours.alphabet)))
    def check(text):
        assert theirs.encode(text) == ours.encode(text)
        assert theirs.decode(ours.encode(text)) == text

    check()
    with pytest.raises(Exception, match="Missing \\[UNK\\]"):
        theirs.encode("Z")
    theirs.save_pretrained(tmp_path / "again")
    assert load(tmp_path / "again").fingerprint == load(tmp_path).fingerprint == ours.fingerprint


def test_a_character_outside_the_alphabet_is_named_with_its_position():
    tokenizer = CharacterTokenizer.from_text("abc")
    with pytest.raises(ValueError, match=r"character 'é' \(U\+00E9\) at position 2 is not among the 3 characters"):
        tokenizer.encode("abé")
    with pytest.raises(ValueError, match=r"lone surrogate U\+D800 at position 1"):
        tokenizer.encode("a\ud800")
    with pytest.raises(ValueError, match=r"id 3 has no character"):
        tokenizer.decode([0, 3])
    with pytest.raises(ValueError, match=r"id -1 has no character"):
        tokenizer.decode([-1])


def test_ids_may_be_numbers_of_any_array_library():
    tokenizer = CharacterTokenizer.from_text("abc")
    assert tokenizer.decode(jnp.array([2, 0])) == tokenizer.decode(torch.tensor([2, 0])) == "ca"


def test_it_has_no_special_tokens():
    tokenizer = CharacterTokenizer.from_text("abc")
    assert isinstance(tokenizer, Tokenizer)
    assert tokenizer.end_of_text is None
    assert tokenizer.encode("abc", "all") == [0, 1, 2]
    with pytest.raises(ValueError, match=r"no such special token.*there are none"):
        tokenizer.encode("abc", {"<|endoftext|>"})


@pytest.mark.parametrize("alphabet", [[], ["ab"], ["a", "a"], [""]])
def test_a_faulty_alphabet_is_refused(alphabet):
    with pytest.raises(ValueError, match="distinct characters"):
        CharacterTokenizer(alphabet)


def test_fingerprint_follows_the_alphabet():
    fingerprints = {CharacterTokenizer(alphabet).fingerprint for alphabet in ("abc", "acb", "ab", ["a", "b", "c"])}
    assert len(fingerprints) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"type": "WordLevel", "vocab": {"a": 0, "b": 2}}}, "must be 0…1, each once"),
        ({"model": {"type": "WordLevel", "vocab": {"a": 0, "b": "1"}}}, "must be 0…1, each once"),
        ({"model": {"type": "WordLevel", "vocab": {"a": 0, "bc": 1}}}, "distinct characters"),
    ],
)
def test_a_file_whose_characters_have_no_ids_in_order_is_refused(tmp_path, change, message):
    CharacterTokenizer.from_text("abc").save(tmp_path)
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | change))
    with pytest.raises(ValueError, match=message) as refusal:
        load(tmp_path)
    assert str(file) in str(refusal.value)


@pytest.mark.parametrize("change", [{"pre_tokenizer": {"type": "Whitespace"}}, {"normalizer": {"type": "Lowercase"}}])
def test_other_word_level_files_are_read_by_the_library(tmp_path, change):
    CharacterTokenizer.from_text("abc").save(tmp_path)
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | change))
    assert load(tmp_path).encode("b") == [1]
    assert load(tmp_path).encode("B" if "normalizer" in change else "a c") == (
        [1] if "normalizer" in change else [0, 2]
    )
