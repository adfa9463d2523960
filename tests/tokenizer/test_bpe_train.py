"""Training: the fast algorithm learns what the textbook's learns, and what Hugging Face's learns."""

import itertools
import json
import logging
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_jax.tokenizer import (
    CL100K_PATTERN,
    GPT2_PATTERN,
    train_bpe,
    train_pair_encoding,
    train_unigram,
    train_wordpiece,
)
from llm_jax.tokenizer.bpe.patterns import splitter
from llm_jax.tokenizer.bpe.train import count_pre_tokens, learn_merges
from llm_jax.tokenizer.hf_files.tokenizer_json import to_characters


def learn_merges_naively(words: list[str], n_merges: int) -> list[tuple[int, int]]:
    """The textbook: count every pair of every word anew for each merge (Sennrich et al. 2016, algorithm 1)."""
    sequences = [list(word.encode()) for word in words]
    merges = []
    for new in range(256, 256 + n_merges):
        counts = Counter(pair for ids in sequences for pair in itertools.pairwise(ids))
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        for n, ids in enumerate(sequences):
            merged, i = [], 0
            while i < len(ids):
                if tuple(ids[i : i + 2]) == best:
                    merged.append(new)
                    i += 2
                else:
                    merged.append(ids[i])
                    i += 1
            sequences[n] = merged
    return merges


@given(st.lists(st.text("ab", max_size=14) | st.text("abc é", max_size=10), max_size=12))
def test_random_words_give_the_merges_of_the_textbook(words):
    assert learn_merges(Counter(words), 25) == learn_merges_naively(words, 25)


@settings(max_examples=50)
@given(st.lists(st.text(max_size=40).filter(str.isprintable), min_size=1, max_size=4))
def test_random_texts_give_the_merges_of_the_textbook(texts):
    words = [word for text in texts for word in splitter(GPT2_PATTERN)(text)]
    assert learn_merges(count_pre_tokens(texts), 40) == learn_merges_naively(words, 40)


@pytest.mark.parametrize("pattern", [GPT2_PATTERN, CL100K_PATTERN], ids=["gpt2", "cl100k"])
def test_real_text_gives_the_merges_of_the_textbook(shared_data, pattern):
    text = (shared_data / "text" / "tinyshakespeare.txt").read_text(encoding="utf-8")[:12_000]
    text += (shared_data / "flores200" / "tam_Taml.dev").read_text(encoding="utf-8")[:3_000]
    merges = learn_merges(count_pre_tokens([text], pattern), 100)
    assert merges == learn_merges_naively(splitter(pattern)(text), 100)


def test_hugging_face_trainer_learns_the_same_merges(shared_data):
    # Hugging Face breaks ties by its own ids of bytes, which are in our order as long as there are no spaces.
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    text = (shared_data / "text" / "tinyshakespeare.txt").read_text(encoding="utf-8")[:300_000]
    text = "".join(text.split())
    theirs = Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    theirs.train_from_iterator(
        [text], trainers.BpeTrainer(vocab_size=1000, initial_alphabet=alphabet, show_progress=False)
    )
    vocabulary = sorted(theirs.get_vocab(), key=theirs.get_vocab().get)[256:]
    ours = train_bpe([text], vocab_size=1000, special_tokens=())
    assert [token.decode() for token in sorted(ours.ranks, key=ours.ranks.get)[256:]] == vocabulary


def test_ids_are_bytes_then_merges_then_special_tokens():
    tokenizer = train_bpe(["abab abab"], vocab_size=260, special_tokens=("<|endoftext|>", "<|pad|>"))
    assert tokenizer.ranks == {bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b"abab": 257}
    assert tokenizer.special_tokens == {"<|endoftext|>": 258, "<|pad|>": 259}
    assert tokenizer.vocab_size == 260
    assert tokenizer.name == "bpe-260"


def test_order_of_documents_and_of_counting_does_not_matter():
    texts = ["one two three", "three two", "one one two", "ένα δύο"]
    trained = train_bpe(texts, 280)
    assert train_bpe(iter(reversed(texts)), 280).fingerprint == trained.fingerprint
    parts = count_pre_tokens(texts[:2]) + count_pre_tokens(texts[2:])
    assert parts == count_pre_tokens(texts)
    assert learn_merges(parts, 23) == learn_merges(count_pre_tokens(texts), 23)


def test_no_merge_crosses_pre_tokens():
    tokenizer = train_bpe(["a b a b a b"], vocab_size=300, special_tokens=())
    assert [token for token in tokenizer.ranks if len(token) > 1] == [b" b", b" a"]  # 3 times, 2 times


def test_texts_without_enough_pairs_give_a_smaller_vocabulary_and_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        tokenizer = train_bpe(["abc"], vocab_size=1000)
    assert tokenizer.vocab_size == 256 + 2 + 1
    assert tokenizer.end_of_text == 258
    assert "2 of 743 merges: the vocabulary has 259 tokens, not 1000" in caplog.text


def test_progress_is_told_each_merge():
    told = []
    train_bpe(["abcabc"], vocab_size=258, special_tokens=(), progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]


def test_faulty_requests_are_refused():
    with pytest.raises(ValueError, match=r"vocab_size must be at least 257 .*; got 256"):
        train_bpe(["abc"], vocab_size=256)
    for special_tokens in ("<s>", ("<s>", "<s>")):
        with pytest.raises(ValueError, match="special_tokens must be distinct strings"):
            train_bpe(["abc"], vocab_size=300, special_tokens=special_tokens)
    with pytest.raises(TypeError, match="got a single str"):
        train_bpe("abc", vocab_size=300)
    with pytest.raises(ValueError, match=r"lone surrogate U\+D800 at position 1"):
        train_bpe(["a\ud800"], vocab_size=300)


def test_merges_are_those_of_hugging_faces_trainer_one_by_one(shared_data):
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    texts = [(shared_data / f"flores200/{name}.dev").read_text()[:20_000] for name in ("eng_Latn", "tha_Thai")]
    core = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.pre_tokenizer = byte_level
    trainer = trainers.BpeTrainer(vocab_size=900, initial_alphabet=byte_level.alphabet(), show_progress=False)
    core.train_from_iterator(texts, trainer)
    theirs = json.loads(core.to_str())["model"]["merges"]
    ours = train_bpe(texts, 900, special_tokens=()).merges
    assert [[to_characters(left), to_characters(right)] for left, right in ours] == theirs


def test_several_processes_count_what_one_does():
    texts = ["the cat's cat, " * 30, "naïve ภาษา <|endoftext|> 中文", ""] * 5
    assert count_pre_tokens(texts, special_tokens=("<|endoftext|>",), processes=2) == count_pre_tokens(
        texts, special_tokens=("<|endoftext|>",)
    )


@pytest.mark.parametrize("train", [train_bpe, train_pair_encoding, train_unigram, train_wordpiece])
@pytest.mark.parametrize("size", [300.0, "300", None])
def test_a_vocabulary_size_that_is_no_whole_number_is_refused(train, size):
    with pytest.raises(TypeError, match=f"vocab_size must be a whole number; got {size!r}"):
        train(["abc abd"], size)
