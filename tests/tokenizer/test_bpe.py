"""Encoding and decoding: the ids are tiktoken's, the text comes back, nothing is special without leave."""

import itertools
import pickle

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_jax.tokenizer import BytePairTokenizer, Tokenizer, train_bpe
from llm_jax.tokenizer.bpe.merge import merge, merges_from_ranks

BYTES = {bytes([byte]): byte for byte in range(256)}


def test_wikipedia_example_gives_minbpe_ids():
    # https://en.wikipedia.org/wiki/Byte_pair_encoding, ids as in minbpe's test
    tokenizer = train_bpe(["aaabdaaabac"], vocab_size=256 + 3, special_tokens=())
    assert tokenizer.encode("aaabdaaabac") == [258, 100, 258, 97, 99]


def test_ids_equal_tiktoken_on_any_text(openai, hard_texts):
    ours, theirs = openai

    @given(hard_texts)
    @settings(max_examples=400)
    def check(text):
        expected = theirs.encode_ordinary(text)
        assert ours.encode(text) == expected
        assert ours.encode_array(text).tolist() == expected
        assert ours.decode(expected) == text

    check()


def test_ids_equal_tiktoken_on_a_megabyte_of_random_unicode(openai, random_unicode):
    ours, theirs = openai
    expected = theirs.encode_ordinary(random_unicode)
    assert ours.encode(random_unicode) == expected
    assert ours.encode_array(random_unicode).tolist() == expected
    assert ours.decode(expected) == random_unicode


def test_ids_equal_tiktoken_on_all_of_flores(openai, shared_data):
    ours, theirs = openai
    files = sorted([*shared_data.glob("flores200/*.dev"), *shared_data.glob("flores200/*.devtest")])
    texts = [file.read_text(encoding="utf-8") for file in files]
    assert len(texts) == 34
    assert ours.encode_batch(texts) == theirs.encode_ordinary_batch(texts, num_threads=2)
    for text in texts:
        assert ours.encode(text[:4_000]) == theirs.encode_ordinary(text[:4_000])


def test_fertility_totals_equal_the_published_ones(openai, shared_data):
    # references.md; the GPT-2 and cl100k columns are in flores200/tokenization_lengths.csv too
    totals = {
        "gpt2": {"eng_Latn": 52_567, "ind_Latn": 104_006, "tam_Taml": 819_110, "khm_Khmr": 805_983},
        "cl100k_base": {"eng_Latn": 52_835, "ind_Latn": 82_006, "tam_Taml": 404_265, "khm_Khmr": 469_026},
        "o200k_base": {"eng_Latn": 52_279, "ind_Latn": 64_852, "tam_Taml": 102_458, "khm_Khmr": 175_665},
    }
    ours, _ = openai
    for language, total in totals[ours.name].items():
        parts = [shared_data / "flores200" / f"{language}.{part}" for part in ("dev", "devtest")]
        lines = [line for part in parts for line in part.read_text(encoding="utf-8").split("\n")]
        assert len(ours.encode_array(" ".join(lines))) == total


def test_tinyshakespeare_has_the_known_number_of_gpt2_tokens(gpt2, shared_data):
    # nanoGPT, data/shakespeare/prepare.py
    text = (shared_data / "text" / "tinyshakespeare.txt").read_text(encoding="utf-8")
    split = int(len(text) * 0.9)
    assert len(gpt2.encode(text[:split])) == 301_966
    assert len(gpt2.encode(text[split:])) == 36_059


def test_both_paths_give_the_same_ids_for_a_trained_vocabulary(small_bpe, hard_texts):
    @given(hard_texts)
    def check(text):
        ids = small_bpe.encode(text, "all")
        assert small_bpe.encode_array(text, "all").tolist() == ids
        assert small_bpe.encode_batch([text, "", text], "all", threads=2) == [ids, [], ids]
        assert small_bpe.decode(ids) == text

    check()


def test_a_very_long_pre_token_is_merged_like_a_short_one(gpt2):
    import tiktoken

    text = "a" * 100_001
    assert gpt2.encode(text) == tiktoken.get_encoding("gpt2").encode_ordinary(text)


def test_spaces_that_overflow_the_stack_of_tiktoken_are_encoded(gpt2):
    import tiktoken

    text = "x" + " " * 1_000_000 + "y"
    with pytest.raises(ValueError, match="stack"):
        tiktoken.get_encoding("gpt2").encode_to_numpy(text)
    expected = gpt2.encode(text)
    assert gpt2.decode(expected) == text
    assert gpt2.encode_array(text).tolist() == expected


@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=2, max_size=6), unique=True, max_size=12))
def test_merge_joins_the_lowest_rank_and_leftmost_pair_first(text, tokens):
    ranks = {b"a": 0, b"b": 1} | {token.encode(): 2 + rank for rank, token in enumerate(tokens)}
    parts = [bytes([byte]) for byte in text.encode()]
    while True:  # the textbook's loop
        candidates = [(ranks.get(left + right), i) for i, (left, right) in enumerate(itertools.pairwise(parts))]
        possible = [candidate for candidate in candidates if candidate[0] is not None]
        if not possible:
            break
        _, i = min(possible)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    assert merge(text.encode(), ranks) == parts


def test_merges_of_gpt2_are_those_of_its_own_file(gpt2, shared_data):
    # vocab.bpe, OpenAI 2019, as stored by tiktoken under the SHA-1 of its URL
    vocab_bpe = shared_data / "tiktoken" / "6d1cbeee0f20b3d9449abfede4726ed8212e3aee"
    lines = vocab_bpe.read_text(encoding="utf-8").splitlines()[1:]
    from llm_jax.tokenizer.hf_files.tokenizer_json import to_characters

    assert [f"{to_characters(a)} {to_characters(b)}" for a, b in merges_from_ranks(gpt2.ranks)] == lines


def test_a_token_that_its_bytes_never_come_to_has_no_merge():
    with pytest.raises(ValueError, match=r"token 257 .* not the union of two"):
        merges_from_ranks(BYTES | {b"ab": 256, b"xyz": 257})


def test_special_tokens_are_ordinary_text_unless_allowed(gpt2):
    text = "a<|endoftext|>b"
    assert gpt2.encode(text) == [64, 27, 91, 437, 1659, 5239, 91, 29, 65]
    assert gpt2.encode(text, {"<|endoftext|>"}) == [64, 50256, 65]
    assert gpt2.encode_array(text, "all").tolist() == [64, 50256, 65]
    assert gpt2.encode_batch([text, text], {"<|endoftext|>"}) == [[64, 50256, 65]] * 2
    assert gpt2.decode([64, 50256, 65]) == text
    assert gpt2.end_of_text == 50256
    assert gpt2.vocab_size == 50257


def test_only_the_allowed_special_tokens_are_recognised_and_the_longest_first():
    tokenizer = BytePairTokenizer(BYTES, special_tokens={"<s>": 256, "<s>x": 257})
    assert tokenizer.encode("<s>x", "all") == tokenizer.encode_array("<s>x", "all").tolist() == [257]
    assert tokenizer.encode("<s>x", {"<s>"}) == [256, ord("x")]
    with pytest.raises(ValueError, match=r"no such special token: \['<eos>'\]"):
        tokenizer.encode("x", {"<eos>"})
    with pytest.raises(TypeError, match="must be a set of strings"):
        tokenizer.encode("x", "<s>")  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["encode", "encode_array"])
def test_lone_surrogates_are_refused_with_their_position(small_bpe, method):
    with pytest.raises(ValueError, match=r"lone surrogate U\+D83D at position 3"):
        getattr(small_bpe, method)("abc\ud83d")
    with pytest.raises(ValueError, match=r"lone surrogate U\+DE00 at position 0"):
        small_bpe.encode_batch(["fine", "\ude00"])
    with pytest.raises(TypeError, match="must be a str; got bytes"):
        getattr(small_bpe, method)(b"abc")


def test_incomplete_utf8_is_decoded_as_tiktoken_does(gpt2):
    import tiktoken

    ids = gpt2.encode("😀é")
    for cut in range(len(ids)):
        assert gpt2.decode(ids[cut:]) == tiktoken.get_encoding("gpt2").decode(ids[cut:])
        assert gpt2.decode_bytes(ids[:cut]) + gpt2.decode_bytes(ids[cut:]) == "😀é".encode()


@pytest.mark.parametrize("number", [-1, 400, 50_257])
def test_an_id_without_token_is_refused(small_bpe, number):
    with pytest.raises(ValueError, match=rf"id {number} has no token in 'bpe-400'; its ids lie in 0…399"):
        small_bpe.decode([0, number])


def test_ids_between_special_tokens_have_no_token(openai):
    ours, theirs = openai
    assert ours.vocab_size == theirs.n_vocab
    used = {*ours.ranks.values(), *ours.special_tokens.values()}
    for number in set(range(ours.vocab_size)) - used:
        with pytest.raises(ValueError, match=f"id {number} has no token"):
            ours.decode([number])


def test_ids_of_jax_and_pytorch_decode(small_bpe):
    ids = small_bpe.encode("the dog")
    assert small_bpe.decode(jnp.array(ids)) == small_bpe.decode(torch.tensor(ids)) == "the dog"
    with pytest.raises(ValueError, match="id 400 has no token"):
        small_bpe.decode(torch.tensor([400]))


def test_numpy_ids_decode(small_bpe):
    ids = small_bpe.encode_array("the dogs")
    assert ids.dtype == np.uint32
    assert small_bpe.decode(ids.astype(np.uint16)) == "the dogs"


@pytest.mark.parametrize(
    ("ranks", "special_tokens", "message"),
    [
        ({b"a": 0}, {}, "missing"),
        (BYTES | {b"ab": 257}, {}, "found 257 .* where 256 belongs"),
        (BYTES | {b"ab": 256, b"cd": 256}, {}, "found 256 .* where 257 belongs"),
        (BYTES | {b"ab": 256}, {"<s>": 256}, "are ranks too"),
        (BYTES, {"<s>": 256, "<t>": 256}, "distinct ids"),
        (BYTES, {"": 256}, "spelling"),
        (BYTES, {"<s>": -1}, "distinct ids from 0"),
    ],
)
def test_a_vocabulary_with_gaps_or_clashes_is_refused(ranks, special_tokens, message):
    with pytest.raises(ValueError, match=message):
        BytePairTokenizer(ranks, special_tokens=special_tokens)


def test_special_tokens_may_come_first_in_the_vocabulary():
    ranks = {token: rank + 1 for token, rank in BYTES.items()} | {b"ab": 257}
    tokenizer = BytePairTokenizer(ranks, special_tokens={"<|endoftext|>": 0})
    assert tokenizer.encode("<|endoftext|>ab", "all") == [0, 257]
    assert tokenizer.encode_array("ab").tolist() == [257]


def test_fingerprint_changes_with_everything_that_changes_ids():
    def fingerprint(ranks=BYTES, pattern=r"\w+|\W+", special_tokens=None):
        return BytePairTokenizer(ranks, pattern, special_tokens).fingerprint

    swapped = BYTES | {b"a": 98, b"b": 97}
    fingerprints = {
        fingerprint(),
        fingerprint(ranks=swapped),
        fingerprint(ranks=BYTES | {b"ab": 256}),
        fingerprint(pattern=r"\w|\W+"),
        fingerprint(special_tokens={"<s>": 256}),
        fingerprint(special_tokens={"<s>": 257}),
        fingerprint(special_tokens={"<t>": 256}),
    }
    assert len(fingerprints) == 7
    assert fingerprint() in fingerprints


def test_a_tokenizer_travels_to_another_process(small_bpe):
    small_bpe.encode_array("build the core, which cannot travel")
    copy = pickle.loads(pickle.dumps(small_bpe))
    assert copy.fingerprint == small_bpe.fingerprint
    assert copy.name == small_bpe.name
    assert copy.encode("the dogs") == small_bpe.encode("the dogs")


def test_the_cache_of_pre_tokens_is_bounded(monkeypatch):
    monkeypatch.setattr("llm_jax.tokenizer.bpe.encode.CACHE_ENTRIES", 10)
    tokenizer = BytePairTokenizer(BYTES | {b"ab": 256})
    for number in range(100):
        tokenizer.encode(f"ab{number} " + "x" * 100)
    assert len(tokenizer._cache) <= 10
    assert tokenizer.encode("ab") == [256]


def test_it_is_a_tokenizer(small_bpe):
    assert isinstance(small_bpe, Tokenizer)
