"""Vocabularies that several tests look at, and texts that are hard to tokenize."""

import random
from pathlib import Path

import pytest
from forms import forms
from hypothesis import settings
from hypothesis import strategies as st

from llm_jax.tokenizer import BytePairTokenizer, load, train_bpe

settings.register_profile("tokenizer", deadline=None, derandomize=True, max_examples=150)
settings.load_profile("tokenizer")

TRAINING_TEXT = Path(__file__).read_text(encoding="utf-8") + " the dog's tail, the dogs' tails: 2 dogs, 3 tails 😀" * 3

# What the split patterns look at: spaces and newlines of all kinds, contractions, digits, signs, marks, cases, letters
# younger than some editions of Unicode (Sidetic, Seal), and bytes that are no token by themselves.
FRAGMENTS = [
    *(" ", "  ", "\n", "\r\n", "\r", "\t", "\x0b", "\x1c", "\x85", "\xa0", "\u2003", "\u2028", "\u3000", "\ufeff"),
    *("'s", "'S", "'ſ", "'ll", "'LL", "'lL", "'re", "'x", "’s", "'", "''"),
    *("1", "12", "1234", "½", "٣", "५", "²", "Ⅷ", "a", "Z", "the", " the", "ǅ", "ʰ", "ß", "İ", "ʕ"),
    *(
        "é",
        "e\u0301",
        "中文",
        "ไทย",
        "தமிழ்",
        "ភាសា",
        "😀",
        "👨‍👩‍👧",
        "🇸🇬",
        "\u200d",
        "\U00010940",
        "\U0003d000",
        "\U0010ffff",
        "\x00",
    ),
    *("!", "...", "/", "//", "_", "-", "(", "<|endoftext|>", "<|", "|>"),
]


@pytest.fixture(scope="session")
def hard_texts() -> st.SearchStrategy[str]:
    """Any Unicode text, and mixtures of what the patterns treat specially."""
    anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
    return st.one_of(anything, st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join))


@pytest.fixture(scope="session")
def small_bpe() -> BytePairTokenizer:
    """A vocabulary of 400, trained here: no file needed."""
    return train_bpe([TRAINING_TEXT], vocab_size=400)


@pytest.fixture(scope="session", params=forms(["gpt2", "cl100k_base", "o200k_base"], ["gpt2", "o200k_base"]))
def openai(request, shared_data):
    """(ours, tiktoken's) of one of OpenAI's vocabularies."""
    import tiktoken

    return load(request.param), tiktoken.get_encoding(request.param)


@pytest.fixture(scope="session")
def gpt2(shared_data) -> BytePairTokenizer:
    return load("gpt2")  # type: ignore[return-value]


@pytest.fixture(scope="session")
def random_unicode() -> str:
    """A megabyte of UTF-8: code points drawn evenly, and half of the text from the first 0x3000."""
    rng = random.Random(0)
    characters: list[str] = []
    size = 0
    while size < 1_000_000:
        code_point = rng.randrange(rng.choice([0x110000, 0x3000]))
        if not 0xD800 <= code_point < 0xE000:
            characters.append(chr(code_point))
            size += len(characters[-1].encode())
    return "".join(characters)
