"""Tokenizers of SmolLM2, Llama 3, Qwen2 and Mistral: transformers' ids, and everything else that ours do too."""

import copy
import json
import pickle
import unicodedata

import published_tokenizers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from llm_jax.tokenizer import Borders, StreamDecoder, StreamEncoder, Tokenizer, load, with_borders
from llm_jax.tokenizer.derived import byte_lengths

CODE = "def f(x):\n\tif x >= 1_000:\n        return x**2  # 3.14e-5 £ 😀\r\n\n\n" + " " * 17 + "x\n"
LANGUAGES = ("eng_Latn", "tam_Taml", "zho_Hans", "arb_Arab", "tha_Thai", "vie_Latn")


@pytest.fixture(scope="module")
def texts(shared_data) -> list[str]:
    return [(shared_data / "flores200" / f"{name}.dev").read_text(encoding="utf-8")[:6000] for name in LANGUAGES]


@pytest.fixture(scope="module", params=published_tokenizers.FAMILIES)
def folder(request, texts, tmp_path_factory):
    return published_tokenizers.write(request.param, tmp_path_factory.mktemp("family") / request.param, texts)


@pytest.fixture(scope="module")
def pair(folder):
    """(ours, transformers')."""
    return load(folder), AutoTokenizer.from_pretrained(folder)


def spelled(tokenizer: Tokenizer) -> str:
    """A text with every special token, at its ends, between words and beside white space."""
    return "x".join(tokenizer.special_tokens) + " a ".join(tokenizer.special_tokens) + "\n<tool_call> {}\n</tool_call>"


def test_ids_are_transformers_on_languages_and_code(pair, texts):
    ours, theirs = pair
    for text in (*texts, CODE, "", " ", "  two", "e\u0301 ﬁ Ⅷ ½ 1234567", "\ufeffx\u200d\x00"):
        expected = theirs.encode(text, add_special_tokens=False)
        assert ours.encode(text) == ours.encode_array(text).tolist() == expected
        assert ours.encode_batch([text, text]) == [expected] * 2


def test_special_tokens_are_read_where_they_are_allowed_and_are_text_elsewhere(pair):
    ours, theirs = pair
    text = spelled(ours)
    assert ours.encode(text, "all") == theirs.encode(text, add_special_tokens=False)
    plain = theirs.encode(text, add_special_tokens=False, split_special_tokens=True)
    assert ours.encode(text) == plain
    assert set(ours.special_tokens.values()).isdisjoint(ours.encode(text))
    one = list(ours.special_tokens)[1]
    found = ours.encode(text, {one})
    assert set(found) & set(ours.special_tokens.values()) == {ours.special_tokens[one]}
    assert found.count(ours.special_tokens[one]) == 2
    with pytest.raises(ValueError, match="spells the disallowed special token"):
        ours.encode(text, disallowed_special="all")
    with pytest.raises(ValueError, match="no such special token"):
        ours.encode("x", {"<|nosuch|>"})
    with pytest.raises(ValueError, match="lone surrogate"):
        ours.encode("\ud800")


def test_no_text_gets_a_begin_token_and_prompts_get_the_one_that_transformers_adds(pair):
    ours, theirs = pair
    begins = theirs.encode("x")[: -len(theirs.encode("x", add_special_tokens=False))]
    assert ours.borders.prefix == tuple(begins)
    assert ours.encode("x", "all") == theirs.encode("x", add_special_tokens=False)


def test_borders_are_those_of_the_files(folder, pair):
    ours, theirs = pair
    generation = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    assert (ours.borders.begin, ours.borders.end) == (theirs.bos_token_id, theirs.eos_token_id)
    assert set(ours.borders.stops) == {generation} if isinstance(generation, int) else set(generation)
    assert ours.borders.pad == theirs.pad_token_id
    assert ours.vocab_size == len(theirs)


def test_decoding_gives_the_text_back_and_equals_transformers(pair, texts):
    ours, theirs = pair
    for text in (*(text[:500] for text in texts), CODE, "  two"):
        ids = ours.encode(text)
        expected = unicodedata.normalize("NFC", text) if "<tool_call>" in str(theirs.added_tokens_encoder) else text
        assert ours.decode(ids) == theirs.decode(ids) == expected
        assert b"".join(map(ours.token_bytes, ids)) in (expected.encode(), b" " + expected.encode())
    with pytest.raises(ValueError, match=f"id {ours.vocab_size} has no token"):
        ours.decode([ours.vocab_size])
    with pytest.raises(ValueError, match=r"id -1 has no token"):
        ours.token_bytes(-1)


def test_text_shown_token_by_token_is_the_text(pair):
    ours, _ = pair

    @given(st.lists(st.integers(0, ours.vocab_size - 1), max_size=12))
    @settings(max_examples=50)
    def check(ids):
        stream = StreamDecoder(ours)
        assert "".join(map(stream.push, ids)) + stream.finish() == ours.decode(ids)

    check()
    # An answer continues its prompt: together they are the text, and a word after a prompt keeps its space.
    text = "The answer 😀 தமிழ் is forty two"
    ids = ours.encode(text)
    for cut in range(1, len(ids)):
        stream = StreamDecoder(ours, after=ids[:cut])
        assert b"".join(map(ours.token_bytes, ids[cut:])).decode(errors="replace") == "".join(
            map(stream.push, ids[cut:])
        )
    begin = ours.borders.begin
    if begin is not None:
        stream = StreamDecoder(ours, after=[begin])
        assert "".join(map(stream.push, ids)) == text


def test_offsets_are_transformers(pair):
    ours, theirs = pair
    text = "a dog's tail 😀 தமிழ்"
    ids, spans = ours.encode_with_offsets(text)
    assert ids == ours.encode(text)
    if theirs.backend_tokenizer.post_processor.__class__.__name__ == "TemplateProcessing":
        theirs_too = theirs(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
        assert spans == [tuple(span) for span in theirs_too]
    assert spans[-1][1] == len(text)


def test_ids_and_spellings_belong_together(pair):
    ours, theirs = pair
    for number in range(ours.vocab_size):
        token = ours.id_to_token(number)
        assert token == theirs.convert_ids_to_tokens(number)
        assert ours.token_to_id(token) == number
    assert ours.id_to_token(ours.vocab_size) is None
    assert ours.token_to_id("no such token") is ours.token_to_id(b"no such token") is None
    number = ours.encode("x the")[-1]
    assert ours.token_to_id(ours.token_bytes(number)) == number
    lengths = byte_lengths(ours)
    assert lengths[list(ours.special_tokens.values())].sum() == 0
    assert lengths[number] == len(ours.token_bytes(number))


def test_a_text_in_pieces_gets_the_ids_of_the_whole(pair):
    ours, _ = pair
    text = spelled(ours) + CODE
    pieces = [text[start : start + 7] for start in range(0, len(text), 7)]
    assert list(ours.encode_iterable(pieces, "all")) == ours.encode(text, "all")
    encoder = StreamEncoder(ours, block=16)
    ids = [number for piece in pieces for number in encoder.push(piece)]
    assert ids + encoder.finish().tolist() == ours.encode(text)


def test_saving_copies_the_files_unchanged(folder, pair, tmp_path):
    ours, _ = pair
    ours.save(tmp_path / "saved")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "saved" / name).read_bytes() == (folder / name).read_bytes()
    again = load(tmp_path / "saved")
    assert (again.fingerprint, again.borders, again.name) == (ours.fingerprint, ours.borders, ours.name)


def test_a_file_that_transformers_wrote_again_is_the_same_tokenizer(pair, tmp_path):
    ours, theirs = pair
    theirs.save_pretrained(tmp_path)
    again = load(tmp_path)
    assert again.encode(CODE + spelled(ours), "all") == ours.encode(CODE + spelled(ours), "all")
    assert again.special_tokens == ours.special_tokens


def test_other_borders_survive_saving(pair, tmp_path):
    ours, _ = pair
    for number, borders in enumerate((Borders(), Borders.of_one(5), Borders(ours.borders.end, 7, (7, 8), 9))):
        with_borders(ours, borders).save(tmp_path / str(number))
        assert load(tmp_path / str(number)).borders == borders


def test_copies_are_the_same_tokenizer(pair):
    ours, _ = pair
    for again in (pickle.loads(pickle.dumps(ours)), copy.copy(ours)):
        assert again.fingerprint == ours.fingerprint
        assert again.encode(CODE, "all") == ours.encode(CODE, "all")
        assert (again.borders, again.files, again.chat) == (ours.borders, ours.files, ours.chat)


def test_special_tokens_can_be_added(pair, tmp_path):
    ours, _ = pair
    grown = ours.with_special_tokens(["<|more|>"])
    grown.save(tmp_path)
    for tokenizer in (grown, load(tmp_path)):
        assert tokenizer.vocab_size == ours.vocab_size + 1
        assert ours.vocab_size in tokenizer.encode("a<|more|>b", "all")
        assert tokenizer.encode(CODE) == ours.encode(CODE)
        assert tokenizer.fingerprint == grown.fingerprint != ours.fingerprint
        assert tokenizer.borders == ours.borders
    with pytest.raises(ValueError, match="is a special token already"):
        grown.with_special_tokens(["<|more|>"])
