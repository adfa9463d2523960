"""A small model whose choices vary: larger weights than at initialisation, so that attention and positions matter."""

import jax
import pytest

from llm_jax.config import Execution, GPTConfig
from llm_jax.models import gpt


@pytest.fixture(scope="session")
def config() -> GPTConfig:
    return GPTConfig(vocab_size=300, context_length=48, d_model=48, n_heads=3, n_layers=2)


@pytest.fixture(scope="session")
def how() -> gpt.Plan:
    return gpt.plan(Execution(dtype="float32"))


@pytest.fixture(scope="session")
def params(config) -> gpt.GPT:
    return jax.tree.map(lambda x: 6 * x if x.ndim > 1 else x, gpt.init(jax.random.key(0), config))
