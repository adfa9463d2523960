"""The example worked through on paper: every line true, every derivative that of the engines."""

import math
import re

import pytest

from llm_jax.autodiff import numerical_grad
from train.first_principles.paper.command import Options, main
from train.first_principles.paper.engines import ENGINES
from train.first_principles.paper.two_layers import PARAMETERS, gradient_of, short, with_numbers, work_through


def value_of(text: str) -> float:
    """Calculates a line of the sheet, as a reader would with a pocket calculator."""
    return eval(text.replace("·", "*"), {"tanh": math.tanh, "exp": math.exp, "log": math.log})


@pytest.mark.parametrize("label", [1, 2])
def test_every_line_is_a_true_equation_of_what_stands_above_it(label):
    known = {"x1": 1.0, "x2": 0.5, "t1": float(label == 1), "t2": float(label == 2)} | PARAMETERS
    for line in work_through(1.0, 0.5, label, PARAMETERS):
        assert value_of(with_numbers(line.formula, known, decimals=15)) == pytest.approx(line.value, abs=1e-12)
        known[line.name] = line.value


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("example", [(1.0, 0.5, 2), (-2.0, 3.0, 1)])
def test_derivatives_equal_those_of(engine, example):
    by_hand = gradient_of(work_through(*example, PARAMETERS))
    assert ENGINES[engine](*example, PARAMETERS) == pytest.approx(by_hand, abs=1e-12)


def test_derivatives_equal_the_measured_ones():
    def loss(values):
        return next(line.value for line in work_through(*values, 2, PARAMETERS) if line.name == "L")

    sheet = {line.name: line.value for line in work_through(1.0, 0.5, 2, PARAMETERS)}
    assert numerical_grad(loss, [1.0, 0.5]) == pytest.approx([sheet["dx1"], sheet["dx2"]], abs=1e-8)


def test_command_prints_the_sheet_and_agrees_with_the_engines(capsys):
    assert main(Options()) == 0
    printed = capsys.readouterr().out
    assert re.search(r"dz1 += dh1·\(1 - h1·h1\) += 1.5193·\(1 - 0.7616·0.7616\) += 0.6381", printed)
    assert len(re.findall(r"\de-1[0-9]", printed)) == len(ENGINES)
    assert "the loss goes from 1.4256 to 0.3101" in printed


def test_missing_pytorch_is_named_with_its_group(capsys, monkeypatch):
    def missing(*_):
        raise ImportError("No module named 'torch'")

    monkeypatch.setitem(ENGINES, "PyTorch", missing)
    assert main(Options()) == 0
    assert "not installed (uv sync --group test)" in capsys.readouterr().out


def test_an_engine_that_disagrees_is_a_failure(capsys, monkeypatch):
    monkeypatch.setitem(ENGINES, "PyTorch", lambda *example: dict.fromkeys(PARAMETERS, 0.0))
    assert main(Options()) == 1
    assert "they disagree" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": 3}, "the label is class 1 or class 2; got 3"),
        ({"x1": math.nan}, "x1 must be a finite number; got nan"),
        ({"rate": math.inf}, "rate must lie above 0"),
        ({"decimals": -1}, "decimals must lie between 0 and 16; got -1"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        main(Options(**options))


def test_numbers_are_written_short():
    assert [short(x, 4) for x in (1.0, -0.00001, 0.12345, 10.0, -2.5)] == ["1", "0", "0.1235", "10", "-2.5"]
    assert short(10.0, 0) == "10"
    assert with_numbers("exp(a) - b·a", {"a": -1.0, "b": -2.0}, 2) == "exp(-1) - (-2)·(-1)"
