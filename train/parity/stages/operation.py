"""An operation: one function, computed by us and by PyTorch on the same inputs, with the gradient of every input."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from train.parity.compare import Theirs

Draw = Callable[..., np.ndarray]  # (*shape, spread=1.0) → normal numbers, rounded to the compared format


@dataclass(frozen=True)
class Operation:
    """The same function by us and by PyTorch, on the same named inputs. Every input is differentiated."""

    name: str
    inputs: dict[str, np.ndarray]
    ours: Callable[..., jax.Array]
    theirs: Callable[..., torch.Tensor]


class Inputs(torch.nn.Module):
    """An operation's inputs as a module's parameters, so that `gather` can copy and cast them."""

    def __init__(self, inputs: dict[str, np.ndarray], cotangent: np.ndarray) -> None:
        super().__init__()
        self.tensors = torch.nn.ParameterDict({name: torch.tensor(value) for name, value in inputs.items()})
        self.cotangent = torch.nn.Buffer(torch.tensor(cotangent))


def ours_and_theirs(operation: Operation, seed: int) -> tuple[dict[str, Any], Theirs]:
    """Our output and input gradients for one random cotangent, and the module by which PyTorch computes the same."""
    inputs = {name: jnp.asarray(value) for name, value in operation.inputs.items()}
    shape = jax.eval_shape(lambda given: operation.ours(**given), inputs)
    cotangent = np.random.default_rng(seed + 1).normal(size=shape.shape).astype(np.float32)

    # Inputs and cotangent are arguments: XLA would fold constants, with the sums of its interpreter.
    @jax.jit
    def forward_and_gradient(given, cotangent):
        out, pull_back = jax.vjp(lambda given: operation.ours(**given), given)
        return out, pull_back(cotangent.astype(out.dtype))[0]

    out, gradients = forward_and_gradient(inputs, jnp.asarray(cotangent))
    ours = {operation.name: out} | {_gradient_name(operation, name): g for name, g in gradients.items()}

    def evaluate(module: Inputs) -> dict[str, torch.Tensor]:
        tensors: dict[str, torch.Tensor] = dict(module.tensors.items())
        out = operation.theirs(**tensors)
        gradients = torch.autograd.grad(out, list(tensors.values()), grad_outputs=module.cotangent.to(out.dtype))
        named = {_gradient_name(operation, name): g for name, g in zip(tensors, gradients, strict=True)}
        return {operation.name: out} | named

    return ours, Theirs(Inputs(operation.inputs, cotangent), evaluate)


def _gradient_name(operation: Operation, name: str) -> str:
    return f"{operation.name}, gradient of {name}"
