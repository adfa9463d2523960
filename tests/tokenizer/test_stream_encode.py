"""Text that comes in pieces gets the ids of the whole text, in bounded memory."""

import random
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_jax.tokenizer import CL100K_PATTERN, CharacterTokenizer, StreamEncoder, train_bpe

CODE = Path(__file__).read_text(encoding="utf-8")
SPECIAL = ["<|endoftext|>", "<|endof", "|>"]


def pieces_of(text: str, rng: random.Random, longest: int) -> list[str]:
    pieces, start = [], 0
    while start < len(text):
        stop = start + rng.randint(0, longest)
        pieces.append(text[start:stop])
        start = stop
    return pieces


def streamed(tokenizer, pieces, block, **options) -> list[int]:
    encoder = StreamEncoder(tokenizer, block=block, **options)
    return [number for piece in pieces for number in encoder.push(piece).tolist()] + encoder.finish().tolist()


def check_against_whole(tokenizer, text, seed=0):
    rng = random.Random(seed)
    whole = tokenizer.encode_array(text).tolist()
    for block, longest in ((1, 3), (7, 40), (500, 300)):
        assert streamed(tokenizer, pieces_of(text, rng, longest), block) == whole
    assert list(tokenizer.encode_iterable(pieces_of(text, rng, 50))) == whole


def test_flores_code_and_runs_get_the_ids_of_the_whole_under_random_cuts(openai, shared_data):
    ours, _ = openai
    for path in sorted((shared_data / "flores200").glob("*.dev")):
        check_against_whole(ours, path.read_text(encoding="utf-8")[:1_500])
    runs = (
        "  \n \n\n\t x\r\n\r\n  y  " * 9 + "1234567" * 9 + " 12 345" * 5 + "I'll I'LL 'll 'l l'' don't ''' I'd've" * 5
    )
    for text in (CODE[:3_000], runs, " " * 300 + "x", "\n" * 300, "9" * 300, "中文" * 150 + "AB" + "c" * 9, "'" * 90):
        check_against_whole(ours, text)


def test_any_text_gets_the_ids_of_the_whole_under_any_cuts(openai, hard_texts):
    ours, _ = openai

    @given(hard_texts, st.integers(1, 6), st.randoms(use_true_random=False))
    @settings(max_examples=250)
    def check(text, block, rng):
        assert streamed(ours, pieces_of(text, rng, 6), block) == ours.encode(text)

    check()


@pytest.mark.parametrize("pattern", [None, r"\d+|\w+"], ids=["gpt2", "a pattern of one's own"])
def test_a_tokenizer_of_ones_own_streams_as_well(small_bpe, hard_texts, pattern):
    tokenizer = small_bpe if pattern is None else train_bpe([CODE], 320, pattern)
    tokenizers = [tokenizer.with_special_tokens([t for t in SPECIAL if t not in tokenizer.special_tokens])]
    if pattern is None:
        tokenizers.append(CharacterTokenizer.from_text("".join(map(chr, range(0x250)))).with_special_tokens(SPECIAL))

    @given(hard_texts, st.integers(1, 6), st.randoms(use_true_random=False))
    def check(text, block, rng):
        for known in tokenizers:
            if isinstance(known, CharacterTokenizer):
                text = "".join(character for character in text if ord(character) < 0x250)
            pieces = pieces_of(text, rng, 6)
            assert streamed(known, pieces, block) == known.encode(text)
            assert streamed(known, pieces, block, allowed_special="all") == known.encode(text, "all")

    check()


def test_special_tokens_cut_by_pieces_are_found_the_longest_first(small_bpe):
    tokenizer = small_bpe.with_special_tokens(["<|endof", "|>", "<|endoftext|>x"])
    for text in ("a<|endoftext|>xb", "a<|endoftext|>yb", "<|endof<|endoftext|>", "<|end", "x|>|><|endoft|>"):
        for seed in range(20):
            pieces = pieces_of(text, random.Random(seed), 4)
            assert streamed(tokenizer, pieces, 1, allowed_special="all") == tokenizer.encode(text, "all")


def test_a_disallowed_special_token_is_refused_even_where_pieces_cut_it(small_bpe):
    text = "one two <|endoftext|> three"
    for seed in range(20):
        pieces = pieces_of(text, random.Random(seed), 5)
        with pytest.raises(ValueError, match=r"disallowed special token '<\|endoftext\|>'"):
            streamed(small_bpe, pieces, 1, disallowed_special="all")
        assert streamed(small_bpe, pieces, 1, allowed_special="all", disallowed_special="all") == small_bpe.encode(
            text, "all"
        )
    with pytest.raises(ValueError, match="no such special token"):
        small_bpe.encode_iterable(["x"], {"<|nosuch|>"})


@pytest.mark.parametrize("unit", ["the dog's tail, 2 dogs. ", "中文没有空格也没有换行。", "1234567", "x\n", "x  1"])
def test_memory_does_not_grow_with_the_text(unit):
    tokenizer = train_bpe([CODE], 300, CL100K_PATTERN)  # for GPT-2's pattern all digits in a row are one pre-token
    encoder, held = StreamEncoder(tokenizer, block=200), 0
    for _ in range(3_000):
        encoder.push(unit)
        held = max(held, encoder._size)
    assert held < 500
    encoder.finish()
    tracemalloc.start()
    assert sum(1 for _ in tokenizer.encode_iterable(unit * 100 for _ in range(200))) > 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24 << 20


def test_an_unknown_character_is_named_with_its_place_in_the_stream():
    tokenizer = CharacterTokenizer.from_text("ab").with_special_tokens(["<s>"])
    encoder = StreamEncoder(tokenizer, {"<s>"}, block=2)
    encoder.push("abab")
    with pytest.raises(ValueError, match=r"from character 7 on: character 'z' .*position 1"):
        encoder.push("<s>az")


def test_a_piece_that_is_no_text_is_refused(small_bpe):
    with pytest.raises(TypeError, match="must be a str; got bytes"):
        list(small_bpe.encode_iterable([b"x"]))
