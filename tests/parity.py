"""The one harness for comparing a model with PyTorch, for every model of this code base.

    def test_encoder_agrees_with_hf_bert():
        ours = {"hidden": forward(params, tokens), **gradients}
        def evaluate(module):            # called on float32, float64 and disturbed float64 copies of the module
            hidden = module(ids)[0]
            hidden.square().mean().backward()
            return {"hidden": hidden, "pooler.weight": module.pooler.dense.weight.grad}
        assert_agrees(ours, hf_model, evaluate)

No tolerance is given. What rounding may do to each tensor is measured on the PyTorch module itself
(`train.parity.rounding`), and the rule of `train.parity.verdict` says what is more than that. `python -m train parity`
is the same comparison for whole decoders, as a command.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from train.parity.compare import Tensors, Theirs, compare, gather
from train.parity.rounding import FORMATS
from train.parity.verdict import Row


def assert_agrees(
    ours: Mapping[str, Any],
    module: torch.nn.Module,
    evaluate: Callable[[Any], Tensors],
    dtype: str = "float32",
) -> list[Row]:
    """Asserts that rounding to `dtype` explains every difference from float64; returns the rows.

    ours: arrays by name. evaluate: module → tensors of the same names and shapes; it may change the module, which is
    always a copy. Every draw of inputs belongs outside it, so that all copies see the same.
    """
    rows = compare("", ours, gather(Theirs(module, evaluate), FORMATS[dtype]))
    beyond = [f"{row.name}: {describe(row)}" for row in rows if row.verdict not in ("equal", "rounding")]
    assert not beyond, "more than rounding explains:\n" + "\n".join(beyond)
    return rows


def describe(row: Row) -> str:
    """One line on a row: verdict and figures."""
    return (
        f"{row.verdict}, {row.ours.yardsticks:.3g} yardsticks from float64 (PyTorch {row.theirs.yardsticks:.3g}), "
        f"largest difference {row.largest_absolute:.3g}"
    )
