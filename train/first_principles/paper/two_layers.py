"""One example through a two-layer network, calculated as with pencil and paper.

Two inputs, two hidden units with tanh, two classes with softmax and cross-entropy: twelve parameters. `work_through`
writes every value of the forward pass and every derivative of the backward pass as a line that uses only the lines
above it. dz stands for ∂L/∂z.
"""

import math
import re
from typing import NamedTuple

# w12 connects input 1 to hidden unit 2, v12 hidden unit 1 to class 2.
PARAMETERS: dict[str, float] = dict(
    zip(
        ("w11", "w12", "w21", "w22", "b1", "b2", "v11", "v12", "v21", "v22", "c1", "c2"),
        (0.5, -0.5, 1.0, 0.5, 0.0, 0.5, 1.0, -1.0, 0.5, 1.0, 0.0, 0.25),
        strict=True,
    )
)


class Line(NamedTuple):
    """One line of the sheet: `name = formula = value`."""

    section: str
    name: str
    formula: str
    value: float


def work_through(x1: float, x2: float, label: int, parameters: dict[str, float]) -> list[Line]:
    """The forward pass and the backward pass, line by line.

    Args:
        x1: first input.
        x2: second input.
        label: the right class, 1 or 2.
        parameters: twelve numbers with the names of `PARAMETERS`.

    Raises:
        ValueError: the label is neither 1 nor 2.
    """
    if label not in (1, 2):
        raise ValueError(f"the label is class 1 or class 2; got {label}")
    sheet: list[Line] = []

    def write(section: str, name: str, formula: str, value: float) -> float:
        sheet.append(Line(section, name, formula, value))
        return value

    w11, w12, w21, w22, b1, b2, v11, v12, v21, v22, c1, c2 = (parameters[name] for name in PARAMETERS)
    t1, t2 = float(label == 1), float(label == 2)

    hidden = "forward: hidden units"
    z1 = write(hidden, "z1", "x1·w11 + x2·w21 + b1", x1 * w11 + x2 * w21 + b1)
    z2 = write(hidden, "z2", "x1·w12 + x2·w22 + b2", x1 * w12 + x2 * w22 + b2)
    h1 = write(hidden, "h1", "tanh(z1)", math.tanh(z1))
    h2 = write(hidden, "h2", "tanh(z2)", math.tanh(z2))

    output = "forward: probabilities and loss"
    o1 = write(output, "o1", "h1·v11 + h2·v21 + c1", h1 * v11 + h2 * v21 + c1)
    o2 = write(output, "o2", "h1·v12 + h2·v22 + c2", h1 * v12 + h2 * v22 + c2)
    s = write(output, "s", "exp(o1) + exp(o2)", math.exp(o1) + math.exp(o2))
    p1 = write(output, "p1", "exp(o1) / s", math.exp(o1) / s)
    p2 = write(output, "p2", "exp(o2) / s", math.exp(o2) / s)
    write(output, "L", f"-log(p{label})", -math.log(p1 if label == 1 else p2))

    second = "backward: second layer"
    do1 = write(second, "do1", "p1 - t1", p1 - t1)
    do2 = write(second, "do2", "p2 - t2", p2 - t2)
    write(second, "dv11", "h1·do1", h1 * do1)
    write(second, "dv12", "h1·do2", h1 * do2)
    write(second, "dv21", "h2·do1", h2 * do1)
    write(second, "dv22", "h2·do2", h2 * do2)
    write(second, "dc1", "do1", do1)
    write(second, "dc2", "do2", do2)

    first = "backward: first layer"
    dh1 = write(first, "dh1", "do1·v11 + do2·v12", do1 * v11 + do2 * v12)
    dh2 = write(first, "dh2", "do1·v21 + do2·v22", do1 * v21 + do2 * v22)
    dz1 = write(first, "dz1", "dh1·(1 - h1·h1)", dh1 * (1 - h1 * h1))
    dz2 = write(first, "dz2", "dh2·(1 - h2·h2)", dh2 * (1 - h2 * h2))
    write(first, "dw11", "x1·dz1", x1 * dz1)
    write(first, "dw12", "x1·dz2", x1 * dz2)
    write(first, "dw21", "x2·dz1", x2 * dz1)
    write(first, "dw22", "x2·dz2", x2 * dz2)
    write(first, "db1", "dz1", dz1)
    write(first, "db2", "dz2", dz2)
    write(first, "dx1", "dz1·w11 + dz2·w12", dz1 * w11 + dz2 * w12)
    write(first, "dx2", "dz1·w21 + dz2·w22", dz1 * w21 + dz2 * w22)
    return sheet


def with_numbers(formula: str, known: dict[str, float], decimals: int) -> str:
    """The formula with values in place of names; negative values are in parentheses."""

    def number(match: re.Match) -> str:
        text = short(known[match[0]], decimals)
        return f"({text})" if text.startswith("-") else text

    if formula in known:
        return short(known[formula], decimals)
    text = re.sub(r"\b(?!exp|log|tanh)[a-z]+\d?\d?\b", number, formula)
    return re.sub(r"\(\((-[\d.]+)\)\)", r"(\1)", text)  # exp((-1)) is exp(-1)


def short(value: float, decimals: int) -> str:
    """A number with at most `decimals` decimals, without trailing zeros."""
    text = f"{value:.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def gradient_of(sheet: list[Line]) -> dict[str, float]:
    """The derivative of the loss with respect to each parameter, read from the sheet."""
    values = {line.name: line.value for line in sheet}
    return {name: values[f"d{name}"] for name in PARAMETERS}
