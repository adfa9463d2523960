"""The examples in the docstrings are true."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", ["bpe.encode", "bpe.train", "characters"])
def test_docstring_examples_run(module):
    module = importlib.import_module(f"llm_jax.tokenizer.{module}")
    failed, attempted = doctest.testmod(module)
    assert attempted > 0
    assert failed == 0
