"""Cutting where `settled` says leaves the pre-tokens as they are."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_jax.tokenizer import CL100K_PATTERN, GPT2_PATTERN, O200K_PATTERN
from llm_jax.tokenizer.bpe.cuts import settled
from llm_jax.tokenizer.bpe.patterns import splitter

PATTERNS = pytest.mark.parametrize(
    "pattern", [GPT2_PATTERN, CL100K_PATTERN, O200K_PATTERN], ids=["gpt2", "cl100k", "o200k"]
)


@PATTERNS
@pytest.mark.parametrize(
    "known", ["\r\n\u00bdv", "\xa0\u2028\u01c5\r\n\t\u3000/\u01c5", "/l!! \u2028\u00bdra", "I'l", "中AB", "\n\n  "]
)
@pytest.mark.parametrize("more", ["", "l", "  ", "\n", "d e"])
def test_no_continuation_changes_the_pre_tokens_before_the_cut(pattern, known, more):
    split, cut = splitter(pattern), settled(known, pattern, splitter(pattern))
    assert split(known[:cut]) + split(known[cut:] + more) == split(known + more)


@PATTERNS
def test_any_text_cut_anywhere_keeps_its_pre_tokens(pattern, hard_texts):
    split = splitter(pattern)

    @given(hard_texts, st.integers(0, 60))
    @settings(max_examples=400)
    def check(text, known):
        cut = settled(text[:known], pattern, split)
        assert split(text[:cut]) + split(text[cut:]) == split(text)

    check()
