"""Exercises that check themselves, and predictions that are compared with what is measured.

An exercise ends with one call, `check.slope(slope)`. It prints ✓, or ✗ with what is wrong and a hint, and it never
raises: "Run all cells" reaches the end of a lesson whose exercises are still open.

The checks of a lesson `NN_NAME.py` are in `checks/NAME.py`, so that the lesson does not give its answers away. There

    @exercise(hint="Which point lies in the middle?")
    def slope(answer):
        expect(answer(math.sin, 0.0, 0.1), 0.998334, {"That is half of it: divide by the distance, 2h.": 0.499167})

is handed the learner's function and compares what it returns with what is right, and with what comes out of the usual
mistakes. Whoever returns nothing has not begun; that needs no line of its own. Nor does a function that works in place:
it is given copies.
"""

import functools
import textwrap
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Outcome:
    """What became of one check."""

    exercise: str
    passed: bool
    message: str


outcomes: list[Outcome] = []
"""What the checks found since this module was imported, in their order."""


class Wrong(Exception):
    """An answer that is not right; the message is for the learner."""


def exercise(hint: str, lends: bool = False) -> Callable[[Callable[[Any], None]], Callable[[Callable], None]]:
    """Turns a judge, which raises `Wrong` where an answer is not right, into a check that prints what it found.

    Args:
        hint: where to look next, without the answer. It is printed whenever the check fails.
        lends: the judge hands out its own arrays in place of copies, to see whether they are changed.
    """

    def decorate(judge: Callable[[Any], None]) -> Callable[[Callable], None]:
        @functools.wraps(judge)
        def check(answer: Callable) -> None:
            name = judge.__name__
            try:
                judge(_answering(answer, lends))
            except Wrong as wrong:
                outcome = Outcome(name, False, _wrapped(f"✗ {name}: {wrong}", f"Hint: {hint}"))
            except Exception as error:  # whatever a learner's code raises is shown to the learner
                outcome = Outcome(name, False, _wrapped(f"✗ {name}: {_where_it_failed(error)}", f"Hint: {hint}"))
            else:
                outcome = Outcome(name, True, f"✓ {name}: right.")
            outcomes.append(outcome)
            print(outcome.message)

        return check

    return decorate


def expect(found: Any, right: Any, mistakes: Mapping[str, Any] | None = None, given: str = "") -> None:
    """Compares an answer: numbers, arrays, and dicts, lists and tuples of them, to 6 digits.

    Args:
        mistakes: message → what a usual mistake returns here.
        given: what the function was called with, in words.

    Raises:
        Wrong: with the message of the mistake that was recognised, or else with what was found and expected.
    """
    if _same(found, right):
        return
    for message, wrong in (mistakes or {}).items():
        if _same(found, wrong):
            raise Wrong(message)
    raise Wrong(f"{f'for {given}, ' if given else ''}it returned {_brief(found)}; expected {_brief(right)}")


def predicted(what: str, prediction: float | None, measured: float) -> None:
    """Prints a measurement beside the number that the learner wrote down before."""
    said = "you made no prediction" if prediction is None else f"you predicted {prediction:g}"
    print(f"{what}: {measured + 0.0:.6g} ({said})")  # + 0.0: zero has no sign here


def _answering(answer: Callable, lends: bool) -> Callable:
    """The learner's function; returning nothing counts as not begun."""

    def ask(*arguments):
        found = answer(*(arguments if lends else map(_copied, arguments)))
        if found is None:
            raise Wrong("not done yet: the function returns nothing.")
        return found

    return ask


def _copied(value: Any) -> Any:
    """Arrays, lists and dicts anew, with what they hold; all else, such as the nodes of a graph, is itself."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, list):
        return list(map(_copied, value))
    return {key: _copied(item) for key, item in value.items()} if isinstance(value, dict) else value


def _wrapped(*paragraphs: str) -> str:
    """A notebook breaks long lines in the middle of a word."""
    return "\n".join(
        textwrap.fill(text, 96, initial_indent="  " if i else "", subsequent_indent="  ")
        for i, text in enumerate(paragraphs)
    )


def _same(found: Any, right: Any) -> bool:
    if isinstance(right, Mapping):
        return (
            isinstance(found, Mapping)
            and found.keys() == right.keys()
            and all(_same(found[k], right[k]) for k in right)
        )
    if isinstance(right, list | tuple):
        return isinstance(found, list | tuple) and len(found) == len(right) and all(map(_same, found, right))
    if isinstance(right, str):
        return found == right
    try:
        found, right = np.asarray(found, dtype=float), np.asarray(right, dtype=float)
    except (TypeError, ValueError):
        return False
    return found.shape == right.shape and bool(np.allclose(found, right, rtol=1e-6, atol=1e-9, equal_nan=True))


def _brief(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_brief(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "(" + ", ".join(map(_brief, value)) + ")"
    if np.ndim(value) == 0 and isinstance(value, float | int | np.generic):
        return f"{float(value):.6g}"
    if isinstance(value, np.ndarray) or hasattr(value, "__array__"):
        array = np.asarray(value)
        numbers = np.array2string(array, precision=4, suppress_small=True, separator=", ").replace("\n", "")
        return f"an array of shape {array.shape}" + (f", {numbers}" if array.size <= 12 else "")
    return repr(value)


def _where_it_failed(error: Exception) -> str:
    """The learner's own line, not the checks', is what they have to look at."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    line = f" in {frames[-1].name}, line {frames[-1].lineno}: {frames[-1].line}" if frames else ""
    return f"it raised {type(error).__name__}: {error}{line}"
