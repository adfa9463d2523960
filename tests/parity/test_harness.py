"""The harness that every model's comparison goes through, shown on a two-layer network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from parity import assert_agrees

WIDTH, INPUTS = 16, np.random.default_rng(0).normal(size=(5, 16)).astype(np.float32)


@pytest.fixture
def module() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(WIDTH, WIDTH), torch.nn.Tanh(), torch.nn.Linear(WIDTH, 1))


def evaluate(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Output and first gradient."""
    out = module(torch.tensor(INPUTS, dtype=module[0].weight.dtype))
    out.square().mean().backward()
    return {"out": out, "gradient": module[0].weight.grad}


def ours(module: torch.nn.Module, activation=jnp.tanh) -> dict[str, jax.Array]:
    first, second = ((jnp.asarray(m.weight.detach()).T, jnp.asarray(m.bias.detach())) for m in (module[0], module[2]))

    def forward(weight):
        return activation(INPUTS @ weight + first[1]) @ second[0] + second[1]

    gradient = jax.grad(lambda weight: jnp.square(forward(weight)).mean())(first[0])
    return {"out": forward(first[0]), "gradient": gradient.T}


def test_two_right_implementations_agree(module):
    rows = assert_agrees(ours(module), module, evaluate)
    assert [row.name for row in rows] == ["out", "gradient"]


def test_a_difference_of_a_millionth_is_found(module):
    with pytest.raises(AssertionError, match=r"(?s)out: (suspicious|wrong).*gradient: (suspicious|wrong)"):
        assert_agrees(ours(module, lambda x: jnp.tanh(x) * (1 + 5e-6)), module, evaluate)


def test_a_gradient_that_is_forgotten_is_found(module):
    with pytest.raises(AssertionError, match="gradient: wrong"):
        assert_agrees(ours(module) | {"gradient": np.zeros((WIDTH, WIDTH))}, module, evaluate)


def test_a_name_that_pytorch_does_not_have_is_an_error_of_the_test(module):
    with pytest.raises(KeyError, match="hidden"):
        assert_agrees({"hidden": np.zeros(3)}, module, evaluate)
