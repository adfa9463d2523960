import pytest
from small_models import bytes_tokenizer

from llm_jax.decode.prompts import encode_prompt
from llm_jax.tokenizer.characters import CharacterTokenizer

BYTES = bytes_tokenizer()


def test_an_empty_prompt_starts_a_document():
    assert encode_prompt(BYTES, "") == [256]


def test_special_tokens_may_be_spelled_in_a_prompt():
    assert encode_prompt(BYTES, "<|endoftext|>a") == [256, ord("a")]


def test_characters_start_from_a_newline():
    characters = CharacterTokenizer.from_text("ab\n")
    assert encode_prompt(characters, "") == characters.encode("\n")


def test_nothing_to_start_from_is_refused():
    with pytest.raises(ValueError, match=r"prompt is empty.*give at least one character"):
        encode_prompt(CharacterTokenizer.from_text("ab"), "")


def test_unknown_characters_are_refused_by_name():
    with pytest.raises(ValueError, match=r"'é' \(U\+00E9\) at position 1"):
        encode_prompt(CharacterTokenizer.from_text("ab\n"), "aé")
