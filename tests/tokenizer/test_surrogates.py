"""Text with surrogates is refused by one message, whose cure keeps the text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_jax.tokenizer import CharacterTokenizer, StreamEncoder, train_bpe
from llm_jax.tokenizer.protocol import check_text

HALVES = st.characters(categories=["Cs"])
WITH_HALVES = st.lists(st.one_of(HALVES, st.sampled_from(["\ud83d\udc4d", "\ude00", "a", "é", "😀", "\ufffd"]))).map(
    "".join
)


def refusal(text: str) -> str:
    with pytest.raises(ValueError, match="surrogate") as caught:
        check_text(text)
    return str(caught.value)


def cured(text: str, message: str) -> str:
    """What the code in the message makes of `text`."""
    cure = re.search(r"text\.encode\('utf-16', 'surrogatepass'\)\.decode\('utf-16'(, 'replace')?\)", message)
    assert cure is not None
    return eval(cure[0], {"text": text})


def test_a_whole_pair_is_called_a_pair_and_the_cure_joins_it():
    message = refusal("x\ud83d\udc4d")
    assert message.startswith("surrogate pair U+D83D U+DC4D at position 1: ")
    assert "lone" not in message
    assert cured("x\ud83d\udc4d", message) == "x👍"


@pytest.mark.parametrize(
    ("text", "kept"),
    [("a\ud83d", "a\ufffd"), ("\udc4da", "\ufffda"), ("\udc4d\ud83d", "\ufffd\ufffd"), ("é\ud83dé", "é\ufffdé")],
)
def test_a_lone_half_is_called_lone_and_the_cure_keeps_the_rest(text, kept):
    message = refusal(text)
    assert message.startswith("lone surrogate U+")
    assert cured(text, message) == kept


def test_a_lone_half_beside_a_pair_is_named_and_the_pair_is_kept():
    text = "\ud83d\udc4d and \ud83d"
    message = refusal(text)
    assert message.startswith("lone surrogate U+D83D at position 7")
    assert cured(text, message) == "👍 and \ufffd"


@given(WITH_HALVES)
def test_the_cure_keeps_every_character_that_is_whole(text):
    if not any("\ud800" <= character <= "\udfff" for character in text):
        check_text(text)
        return
    kept = cured(text, refusal(text))
    check_text(kept)
    joined = re.sub(
        "[\ud800-\udbff][\udc00-\udfff]", lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text
    )
    assert kept == re.sub("[\ud800-\udfff]", "\ufffd", joined)


def test_bytes_of_a_command_line_that_are_not_utf8_can_be_had_back():
    argument = b"caf\xe9".decode("utf-8", "surrogateescape")
    message = refusal(argument)
    assert "the byte 0xE9" in message
    assert "text.encode('utf-8', 'surrogateescape')" in message


@pytest.mark.parametrize("text", ["x\ud83d\udc4d", "x\ud83d"])
def test_every_way_into_a_tokenizer_gives_the_same_message(small_bpe, text):
    characters = CharacterTokenizer.from_text("x")
    ways = [
        *(
            way
            for known in (small_bpe, characters)
            for way in (known.encode, known.encode_array, known.encode_with_offsets)
        ),
        *(lambda text, known=known: known.encode_batch([text]) for known in (small_bpe, characters)),
        *(lambda text, known=known: list(known.encode_iterable([text])) for known in (small_bpe, characters)),
        lambda text: small_bpe.with_special_tokens([text]),
        lambda text: characters.with_special_tokens([text]),
        lambda text: train_bpe([text], 300),
        lambda text: train_bpe(["x"], 300, special_tokens=[text]),
        CharacterTokenizer.from_text,
    ]
    for way in ways:
        with pytest.raises(ValueError, match="surrogate") as caught:
            way(text)
        assert str(caught.value) == refusal(text)


def test_a_pair_cut_between_two_pieces_is_a_pair(small_bpe):
    encoder = StreamEncoder(small_bpe, block=1)
    encoder.push("x\ud83d")
    encoder.push("\udc4d")
    with pytest.raises(ValueError, match=r"surrogate pair U\+D83D U\+DC4D"):
        encoder.finish()
