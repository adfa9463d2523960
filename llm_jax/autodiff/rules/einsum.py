"""The rule of `np.einsum`: it is linear in each operand, and its transpose with respect to one is an einsum too.

For y_ik = Σⱼ a_ij·b_jk and the gradient g of y, the gradient of a is Σₖ g_ik·b_jk: g replaces a among the operands, and
the letters of a become the output's. Two cases need an additional operand. A letter that only a has is summed over, so
the gradient is constant along its axis: a vector of ones adds the axis. A letter that occurs twice in a selects a
diagonal: an identity matrix writes the gradient to that diagonal.
"""

import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from llm_jax.autodiff.rules.jacobian import Array, Jacobian, Result


def parse(operands: Sequence[Any]) -> tuple[list[str], str, list[Array]]:
    """The letters of each operand and of the output, without ellipses, and the arrays.

    Args:
        operands: arguments of `np.einsum`, ("ij,jk", a, b) or (a, [0, 1], b, [1, 2]), with or without output.
    """
    if not operands or len(operands) < 2:
        raise ValueError("einsum: subscripts and at least one array are needed, as in np.einsum('ij->i', x)")
    text, arrays = (operands[0], operands[1:]) if isinstance(operands[0], str) else _as_text(operands)
    left, arrow, output = text.replace(" ", "").partition("->")
    inputs = left.split(",")
    if len(inputs) != len(arrays):
        raise ValueError(f"einsum: {text!r} names {len(inputs)} operands; there are {len(arrays)}")
    wrong = set(left + output) - set(string.ascii_letters + ",.")
    if wrong or any(part.replace("...", "", 1).count(".") for part in (*inputs, output)):
        raise ValueError(f"einsum: {text!r} must be made of letters, commas, '...' and one '->'")
    hidden = [np.ndim(array) - len(letters) + 3 for letters, array in zip(inputs, arrays, strict=True)]
    hidden = [count if "..." in letters else 0 for letters, count in zip(inputs, hidden, strict=True)]
    free = [letter for letter in string.ascii_letters if letter not in text]
    most = max((0, *hidden))
    if min((0, *hidden)) < 0 or most > len(free):
        raise ValueError(f"einsum: {text!r} does not fit arrays of shape {[np.shape(array) for array in arrays]}")
    ellipsis = "".join(free[:most])
    if not arrow:
        output = "..." + "".join(sorted(x for x in set(left) - set(",.") if left.count(x) == 1))
    elif most and "..." not in output:
        raise ValueError(f"einsum: the output of {text!r} must have '...', like the operands")
    full = [letters.replace("...", ellipsis[most - count :]) for letters, count in zip(inputs, hidden, strict=True)]
    return full, output.replace("...", ellipsis), list(arrays)


def einsum(*arrays: Array, inputs: list[str], output: str, optimize: Any = False) -> Result:
    def product(letters: Sequence[str], operands: Sequence[Array], result: str, optimize: Any) -> Array:
        return np.einsum(f"{','.join(letters)}->{result}", *operands, optimize=optimize)

    def by_operand(k: int) -> Jacobian:
        other_letters, others = inputs[:k] + inputs[k + 1 :], arrays[:k] + arrays[k + 1 :]

        def push(v: Array) -> Array:
            return product([inputs[k], *other_letters], [v, *others], output, bool(optimize))

        def pull(g: Array) -> Array:
            added_letters, added, letters = _additional_operands(arrays[k], k, inputs, output)
            shape = np.shape(arrays[k])
            gradient = product([output, *other_letters, *added_letters], [g, *others, *added], letters, bool(optimize))
            broadcast = tuple(i for i, n in enumerate(shape) if n == 1 != np.shape(gradient)[i])
            return np.broadcast_to(np.sum(gradient, axis=broadcast, keepdims=True), shape)

        return Jacobian(push, pull)

    return Result(product(inputs, arrays, output, optimize), [by_operand(k) for k in range(len(arrays))])


def _additional_operands(x: Array, k: int, inputs: list[str], output: str) -> tuple[list[str], list[Array], str]:
    """The vectors of ones and identity matrices that operand k needs.

    Returns:
        Their letters, the arrays themselves, and k's letters, in which a repeated one has a new name.
    """
    elsewhere = set(output).union(*inputs[:k], *inputs[k + 1 :])
    free = iter(sorted(set(string.ascii_letters) - elsewhere - set(inputs[k])))
    letters, added_letters, added = "", [], []
    for letter, length in zip(inputs[k], np.shape(x), strict=True):
        if letter in letters:
            twin = next(free)
            added_letters.append(letter + twin)
            added.append(np.eye(length, dtype=x.dtype))
            letters += twin
        else:
            if letter not in elsewhere:
                added_letters.append(letter)
                added.append(np.ones(length, dtype=x.dtype))
            letters += letter
    return added_letters, added, letters


def _as_text(operands: Sequence[Any]) -> tuple[str, list[Array]]:
    """(a, [0, 1], b, [1, 2], [0, 2]) as "AB,BC->AC" and [a, b]."""

    def letters(numbers: Sequence[Any]) -> str:
        return "".join(
            "..." if n is Ellipsis else (string.ascii_uppercase + string.ascii_lowercase)[n] for n in numbers
        )

    try:
        text = ",".join(letters(numbers) for numbers in operands[1::2])
        if len(operands) % 2:
            text += "->" + letters(operands[-1])
    except (TypeError, IndexError):
        raise TypeError("einsum: after each array comes the list of its axes, numbers from 0 to 51") from None
    return text, list(operands[: len(operands) // 2 * 2 : 2])
