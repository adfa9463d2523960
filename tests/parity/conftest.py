import pytest
import torch
from planted import TINY

from llm_jax.config import Execution
from train.parity.comparison import Comparison
from train.parity.stages.models_compared import ModelsCompared, drawn
from train.parity.stages.stream import drawn as drawn_stream


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Matrices of this size are not worth PyTorch's threads, which wait in a loop."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def models() -> ModelsCompared:
    """Both models with the same weights."""
    return drawn(TINY, Execution(dtype="float32", loss_chunks=2), seed=0)


@pytest.fixture(scope="session")
def comparison(models: ModelsCompared) -> Comparison:
    """A comparison without a fault; `against` plants one."""
    return Comparison(models, drawn_stream(TINY.vocab_size, batch=2, length=16, seed=0), steps=5, new_tokens=16)
