import pytest
import small_models

from llm_jax.config import GPTConfig
from llm_jax.models import gpt
from llm_jax.tokenizer.bpe.encode import BytePairTokenizer


@pytest.fixture(scope="session")
def bytes_tokenizer() -> BytePairTokenizer:
    return small_models.bytes_tokenizer()


@pytest.fixture(scope="session")
def config() -> GPTConfig:
    return GPTConfig(vocab_size=257, context_length=64, d_model=32, n_heads=2, n_layers=2)


@pytest.fixture(scope="session")
def params(config) -> gpt.GPT:
    return small_models.opinionated(config, 3)
