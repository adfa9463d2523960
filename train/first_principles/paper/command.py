"""Compute one example through a two-layer network, with every value and every derivative as one would on paper.

The network has two inputs, two hidden units (tanh) and two classes (softmax, cross-entropy). Each line uses only the
lines above it. At the end, the derivatives are checked against four engines, and one step of gradient descent is taken.
"""

import math
from dataclasses import dataclass

from train.first_principles.paper.two_layers import PARAMETERS, Line, gradient_of, short, with_numbers, work_through

TOLERANCE = 1e-9


@dataclass(frozen=True)
class Options:
    x1: float = 1.0
    """First input."""

    x2: float = 0.5
    """Second input."""

    label: int = 2
    """The right class, 1 or 2."""

    rate: float = 0.5
    """Learning rate of the step at the end."""

    decimals: int = 4
    """Decimals to print (the calculation has 16)."""

    def __post_init__(self) -> None:
        for name in ("x1", "x2"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be a finite number; got {getattr(self, name)}")
        if not 0 < self.rate <= 10:
            raise ValueError(f"rate must lie above 0 and not above 10; got {self.rate}")
        if not 0 <= self.decimals <= 16:
            raise ValueError(f"decimals must lie between 0 and 16; got {self.decimals}")


def main(options: Options) -> int:
    from rich.console import Console

    console = Console(highlight=False)
    example = (options.x1, options.x2, options.label)
    sheet = work_through(*example, PARAMETERS)
    known = {"x1": options.x1, "x2": options.x2, "t1": float(options.label == 1), "t2": float(options.label == 2)}
    print_given(console, known | PARAMETERS, options.decimals)
    print_sheet(console, sheet, known | PARAMETERS, options.decimals)
    agree = print_check(console, gradient_of(sheet), example)
    print_step(console, sheet, example, options)
    return 0 if agree else 1


def print_given(console, known: dict[str, float], decimals: int) -> None:
    console.print("given (t is 1 for the right class)", style="bold")
    names = ["x1 x2 t1 t2", "w11 w12 w21 w22 b1 b2", "v11 v12 v21 v22 c1 c2"]
    for row in names:
        console.print("  " + "".join(f"{name + ' = ' + short(known[name], decimals):<13}" for name in row.split()))


def print_sheet(console, sheet: list[Line], known: dict[str, float], decimals: int) -> None:
    """Prints each line of the sheet: name, formula, formula with numbers, value; in aligned columns."""
    known = known | {line.name: line.value for line in sheet}
    rows = [(line, with_numbers(line.formula, known, decimals)) for line in sheet]
    formula_width = max(len(line.formula) for line in sheet)
    numbers_width = max(len(numbers) for _, numbers in rows)
    section = ""
    for line, numbers in rows:
        if line.section != section:
            section = line.section
            console.print(f"\n{section}", style="bold")
        text = f"  {line.name:<4} = {line.formula:<{formula_width}} = {numbers:<{numbers_width}}"
        console.print(f"{text} = [green]{short(line.value, decimals)}[/green]", soft_wrap=True)


def print_check(console, by_hand: dict[str, float], example: tuple[float, float, int]) -> bool:
    """Prints the largest difference to each engine over the twelve derivatives; returns whether all agree."""
    from train.first_principles.paper.engines import ENGINES

    console.print("\ncheck: the largest difference between these twelve derivatives and those of", style="bold")
    agree = True
    for name, engine in ENGINES.items():
        try:
            gradient = engine(*example, PARAMETERS)
        except ImportError:
            console.print(f"  {name:<32} not installed (uv sync --group test)")
            continue
        difference = max(abs(gradient[parameter] - by_hand[parameter]) for parameter in PARAMETERS)
        agree &= difference < TOLERANCE
        console.print(f"  {name:<32} {difference:.1e}{'' if difference < TOLERANCE else '  they disagree'}")
    return agree


def print_step(console, sheet: list[Line], example: tuple[float, float, int], options: Options) -> None:
    gradient = gradient_of(sheet)
    stepped = {name: value - options.rate * gradient[name] for name, value in PARAMETERS.items()}
    before, after = (
        next(line.value for line in lines if line.name == "L") for lines in (sheet, work_through(*example, stepped))
    )
    predicted = before - options.rate * sum(g * g for g in gradient.values())
    console.print(f"\none step: every parameter minus {options.rate:g} times its derivative", style="bold")
    console.print(f"  the loss goes from {before:.4f} to {after:.4f}")
    console.print(f"  (a linear approximation, from the derivatives alone, predicts {predicted:.4f})")
