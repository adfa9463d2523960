import pytest
import small_models

from llm_jax.config import DecoderConfig
from llm_jax.models import decoder
from llm_jax.tokenizer.bpe.encode import BytePairTokenizer


@pytest.fixture(scope="session")
def bytes_tokenizer() -> BytePairTokenizer:
    return small_models.bytes_tokenizer()


@pytest.fixture(scope="session")
def config() -> DecoderConfig:
    return DecoderConfig(vocab_size=257, context_length=64, d_model=32, n_heads=2, n_layers=2)


@pytest.fixture(scope="session")
def params(config) -> decoder.Decoder:
    return small_models.opinionated(config, 3)
