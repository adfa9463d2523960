"""Pre-tokens: nothing lost, the two spellings of a pattern agree, and so do the two editions of Unicode."""

import pytest
import regex
import tiktoken
from hypothesis import given, settings

from llm_jax.tokenizer import CL100K_PATTERN, GPT2_PATTERN, O200K_PATTERN, BytePairTokenizer
from llm_jax.tokenizer.bpe.patterns import for_tiktoken, published, splitter
from llm_jax.tokenizer.bpe.unicode_classes import with_stand_ins

PATTERNS = [GPT2_PATTERN, CL100K_PATTERN, O200K_PATTERN]
BYTES = {bytes([byte]): byte for byte in range(256)}


@pytest.mark.parametrize(
    ("pattern", "pieces"),
    [
        (GPT2_PATTERN, ["I", "'ll", " pay", "   ", " $", "1234", ".", "\n", "\n", "OK"]),
        (CL100K_PATTERN, ["I", "'ll", " pay", "   ", " $", "123", "4", ".\n\n", "OK"]),
        (O200K_PATTERN, ["I'll", " pay", "   ", " $", "123", "4", ".\n\n", "OK"]),
    ],
    ids=["gpt2", "cl100k", "o200k"],
)
def test_an_example_is_cut_as_published(pattern, pieces):
    assert splitter(pattern)("I'll pay    $1234.\n\nOK") == pieces


@pytest.mark.parametrize("pattern", PATTERNS, ids=["gpt2", "cl100k", "o200k"])
def test_pieces_joined_are_the_text(pattern, hard_texts):
    split = splitter(pattern)

    @given(hard_texts)
    def check(text):
        assert "".join(split(text)) == text

    check()


@pytest.mark.parametrize("pattern", PATTERNS, ids=["gpt2", "cl100k", "o200k"])
def test_the_spelling_for_tiktoken_cuts_the_same_pieces(pattern, hard_texts):
    spelled_for_rust = regex.compile(for_tiktoken(pattern))
    plain = regex.compile(pattern)

    @given(hard_texts)
    @settings(max_examples=400)
    def check(text):
        assert spelled_for_rust.findall(text) == plain.findall(text)

    check()


def test_openai_s_own_spelling_of_a_pattern_is_known(openai):
    ours, theirs = openai
    assert published(theirs._pat_str) == ours.pattern in PATTERNS


@pytest.mark.parametrize(
    "name", [r"\p{L}", r"\p{N}", r"\p{M}", r"\p{Lu}", r"\p{Ll}", r"\p{Lt}", r"\p{Lm}", r"\p{Lo}", r"\s"]
)
def test_every_character_is_of_the_class_that_tiktoken_says(name):
    characters = "".join(chr(number) for number in range(0x110000) if not 0xD800 <= number < 0xE000)
    theirs = tiktoken.Encoding("class", pat_str=name, mergeable_ranks=BYTES, special_tokens={})
    members = bytes(theirs.encode_ordinary(characters)).decode()
    shown = with_stand_ins(characters)
    assert len(shown) == len(characters)
    assert "".join(characters[match.start()] for match in regex.finditer(name, shown)) == members


def test_text_without_disputed_characters_is_not_copied():
    for text in ("plain", "Ελληνικά 中文 😀"):
        assert with_stand_ins(text) is text


@pytest.mark.parametrize("pattern", [r"\d+", r"(a)|(b)", r"[a-z]+(?=x)"])
def test_what_a_pattern_leaves_out_becomes_pieces_on_both_paths(pattern, hard_texts):
    tokens = [b"ab", b"abc", b" a", b"12", b"1 ", b".."]
    tokenizer = BytePairTokenizer(BYTES | {token: 256 + i for i, token in enumerate(tokens)}, pattern)

    @given(hard_texts)
    def check(text):
        ids = tokenizer.encode(text + "ab x1 1..")
        assert tokenizer.encode_array(text + "ab x1 1..").tolist() == ids
        assert tokenizer.decode(ids) == text + "ab x1 1.."

    check()
    assert splitter(r"\d+")("ab 12cd") == ["ab ", "12", "cd"]


def test_a_faulty_pattern_is_refused():
    with pytest.raises(ValueError, match="is not a regular expression"):
        splitter("(")
    for pattern in ("a*", "(?=a)|b+", "(?=abc)|b+", r"(?<=q)|b+", r"\b|a", "b|$", r"(?=\p{Lo})|b"):
        with pytest.raises(ValueError, match="matches the empty string"):
            splitter(pattern)
    for pattern in ("(?x) a # c", "b(?x) a"):
        with pytest.raises(ValueError, match="is verbose"):
            splitter(pattern)
