import jax
import pytest

from llm_jax.config import Execution, GPTConfig
from llm_jax.models import gpt
from llm_jax.tokenizer.bpe import BytePairTokenizer
from llm_jax.tokenizer.patterns import GPT2_PATTERN


@pytest.fixture(scope="session")
def bytes_tokenizer() -> BytePairTokenizer:
    """A token for every byte, and one for the end of a text."""
    return BytePairTokenizer({bytes([i]): i for i in range(256)}, GPT2_PATTERN, {"<|endoftext|>": 256})


@pytest.fixture(scope="session")
def config() -> GPTConfig:
    return GPTConfig(vocab_size=257, context_length=64, d_model=32, n_heads=2, n_layers=2)


@pytest.fixture(scope="session")
def how() -> gpt.Plan:
    return gpt.plan(Execution(dtype="float32"))


@pytest.fixture(scope="session")
def params(config) -> gpt.GPT:
    """Large weights: a model that is sure of itself, so that a wrong position or mask would show."""
    return jax.tree.map(lambda x: 3 * x, gpt.init(jax.random.key(0), config))
