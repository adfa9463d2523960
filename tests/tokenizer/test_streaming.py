"""Text shown token by token is the text."""

from hypothesis import given
from hypothesis import strategies as st

from llm_jax.tokenizer import CharacterTokenizer, StreamDecoder


def test_pushed_pieces_joined_are_the_text(small_bpe):
    @given(st.lists(st.integers(0, small_bpe.vocab_size - 1)))
    def check(ids):
        stream = StreamDecoder(small_bpe)
        assert "".join(map(stream.push, ids)) + stream.finish() == small_bpe.decode(ids)

    check()


def test_a_character_is_shown_when_it_is_whole(small_bpe):
    stream = StreamDecoder(small_bpe)
    assert [stream.push(byte) for byte in "a🦜é".encode()] == ["a", "", "", "", "🦜", "", "é"]
    assert stream.finish() == ""


def test_a_character_cut_off_is_replaced_and_the_decoder_starts_anew(small_bpe):
    stream = StreamDecoder(small_bpe)
    assert stream.push("é".encode()[0]) == ""
    assert stream.finish() == "\ufffd"
    assert stream.push(ord("a")) == "a"


def test_characters_stream_at_once():
    tokenizer = CharacterTokenizer.from_text("añb")
    stream = StreamDecoder(tokenizer)
    assert [stream.push(number) for number in tokenizer.encode("bañ")] == ["b", "a", "ñ"]
