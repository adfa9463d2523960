"""One comparison: our numbers against a PyTorch module's, both against the same module in float64.

`Theirs` holds a module and a function `evaluate(module)` that returns named tensors: outputs, activations or gradients.
`gather` calls it on a copy of the module in the compared format, on a float64 copy (the reference), and on float64
copies with simulated rounding errors (the yardstick). `compare` compares our arrays with the results of the same names.
Layers, whole models and the optimizer all go through these two functions; `tests/parity.py` asserts on their rows.
"""

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from train.parity.rounding import Float64, Format, Rounding
from train.parity.verdict import Row, measure

DRAWS = 2  # runs with rounding noise. One is enough for a tensor; a loss is one number, and its error may cancel.

Tensors = Mapping[str, torch.Tensor | np.ndarray]


@dataclass(frozen=True)
class Theirs:
    """A PyTorch module and the function that reads its numbers. `evaluate` gets a copy, so it may change the module."""

    module: torch.nn.Module
    evaluate: Callable[[Any], Tensors]


@dataclass(frozen=True)
class Gathered:
    """PyTorch's numbers in the compared format and in float64, and the norm of the rounding noise in each tensor."""

    format: Format
    theirs: dict[str, np.ndarray]
    reference: dict[str, np.ndarray]
    noise: dict[str, float]


def gather(theirs: Theirs, format: Format, draws: int = DRAWS) -> Gathered:
    """Runs the module once in `format`, once in float64, and `draws` times in float64 with rounding noise.

    The float64 runs are on the CPU, whatever device the module is on.
    """
    with autocast(theirs.module, format):
        measured = _to_numpy(theirs.evaluate(copy.deepcopy(theirs.module)))
    double = copy.deepcopy(theirs.module).cpu().double()
    with Float64():
        reference = _to_numpy(theirs.evaluate(copy.deepcopy(double)))
    squares = dict.fromkeys(reference, 0.0)
    for seed in range(draws):
        with Rounding(format, seed):
            disturbed = theirs.evaluate(copy.deepcopy(double))
        for name, numbers in _to_numpy(disturbed).items():
            squares[name] += float(np.square(numbers - reference[name]).sum())
    return Gathered(format, measured, reference, {name: float(np.sqrt(s / draws)) for name, s in squares.items()})


def compare(section: str, ours: Mapping[str, Any], gathered: Gathered) -> list[Row]:
    """One row for each of our arrays, in their order.

    Raises:
        KeyError: an array has a name that PyTorch's results do not have.
    """
    return [
        measure(
            section,
            name,
            np.asarray(array, np.float64),
            gathered.theirs[name],
            gathered.reference[name],
            gathered.noise[name],
            gathered.format.name,
            stored_as(array),
        )
        for name, array in ours.items()
    ]


@contextlib.contextmanager
def autocast(module: torch.nn.Module, format: Format) -> Iterator[None]:
    """PyTorch's mixed precision if the format is bfloat16: float32 parameters, bfloat16 matrix products."""
    device = next((p.device.type for p in module.parameters()), "cpu")
    with torch.autocast(device, torch.bfloat16, enabled=format.name == "bfloat16"):
        yield


def stored_as(array: Any) -> str:
    """The format our array is stored in: a bfloat16 model stores its loss in float32, and it is judged as float32."""
    return "bfloat16" if str(getattr(array, "dtype", "")) == "bfloat16" else "float32"


def _to_numpy(tensors: Tensors) -> dict[str, np.ndarray]:
    def convert(x: torch.Tensor | np.ndarray) -> np.ndarray:
        x = x.detach().float().cpu().numpy() if isinstance(x, torch.Tensor) and x.dtype == torch.bfloat16 else x
        return x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else x

    return {name: convert(x) for name, x in tensors.items()}
