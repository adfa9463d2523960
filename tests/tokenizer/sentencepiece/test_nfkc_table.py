"""The compiled table normalises as Unicode says, read by SentencePiece itself and by a reader of a few lines."""

import random
import struct
import unicodedata

import pytest

from llm_jax.tokenizer.sentencepiece import double_array, nfkc_table, protobuf

sentencepiece = pytest.importorskip("sentencepiece")


def longest_match(units, text):
    """(bytes, value) of the longest key that `text` begins with: Darts-clone's walk."""
    place, found = (units[0] >> 10), None
    for n, label in enumerate(text, start=1):
        place ^= label
        unit = units[place]
        if unit & 0x800000FF != label:
            break
        place ^= unit >> 10
        if unit >> 8 & 1:
            found = n, units[place] & 0x7FFFFFFF
    return found


def test_every_key_is_found_with_its_value_and_nothing_else():
    generator = random.Random(0)
    values = {generator.randbytes(generator.randrange(1, 5)).replace(b"\0", b"\1"): n for n in range(3000)}
    raw = double_array.build(values)
    units = struct.unpack(f"<{len(raw) // 4}I", raw)
    for text in [*values, *(generator.randbytes(6) for _ in range(3000)), bytes(6)]:
        longest = max((n for n in range(1, len(text) + 1) if text[:n] in values), default=0)
        assert longest_match(units, text) == ((longest, values[text[:longest]]) if longest else None)


@pytest.fixture(scope="module")
def normalize():
    """SentencePiece's normalization by our table, of a model that does nothing else."""
    switches = b"".join(protobuf.number(field, 0) for field in (3, 4, 5))
    pieces = [protobuf.text(1, b"<unk>") + protobuf.number(3, 2), protobuf.text(1, b"a") + protobuf.float32(2, -1.0)]
    model = b"".join(protobuf.text(1, piece) for piece in pieces) + protobuf.text(2, protobuf.number(3, 1))
    model += protobuf.text(3, protobuf.text(1, b"x") + protobuf.text(2, nfkc_table.table()) + switches)
    return sentencepiece.SentencePieceProcessor(model_proto=model).normalize


def nfkc(text):
    return unicodedata.normalize("NFKC", text)


def test_all_of_flores_is_normalised_as_unicode_says(normalize, shared_data):
    for path in sorted((shared_data / "flores200").glob("*_*.dev*")):
        lines = path.read_text(encoding="utf8").split("\n")
        assert [normalize(line) for line in lines] == [nfkc(line) for line in lines], path.name


def test_every_character_is_normalised_as_unicode_says(normalize):
    assert not [code for code in nfkc_table.CODES if normalize(chr(code)) != nfkc(chr(code))]


@pytest.mark.parametrize("text", ["ﾊﾞ ﾊﾟ", "한국어", "e\u0301\u0323", "ậ ậ ậ", "\u0651\u064e", "ﬁ①", "မ့်", "a\0b"])
def test_marks_and_letters_are_joined_in_any_order(normalize, text):
    for form in ("NFC", "NFD", "NFKD"):
        assert normalize(unicodedata.normalize(form, text)) == nfkc(text)
    assert normalize(text) == nfkc(text)
