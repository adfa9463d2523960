import pytest
from small_models import opinionated

from llm_jax.config import DecoderConfig
from llm_jax.models import decoder


@pytest.fixture(scope="session")
def config() -> DecoderConfig:
    return DecoderConfig(vocab_size=300, context_length=48, d_model=48, n_heads=3, n_layers=2)


@pytest.fixture(scope="session")
def params(config) -> decoder.Decoder:
    return opinionated(config, 6)
