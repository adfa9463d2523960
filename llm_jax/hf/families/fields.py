"""Reads fields of a config.json, each with a refusal that names the file, the field and its value."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Our name → transformers' names of the same function; an export writes the first.
ACTIVATIONS = {
    "gelu_tanh": ("gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "gelu_accurate"),
    "gelu": ("gelu", "gelu_python"),
    "relu": ("relu",),
    "silu": ("silu", "swish"),
}

Fields = Mapping[str, Any]


def whole(path: Path, fields: Fields, name: str, family: str) -> int:
    """A size that every config of the family has."""
    if name not in fields:
        raise ValueError(f"{path}: field {name!r} is missing; expected the config of a {family}")
    if type(fields[name]) is not int:
        raise ValueError(f"{path}: {name} is {fields[name]!r}; expected a whole number")
    return fields[name]


def whole_or_none(path: Path, fields: Fields, name: str) -> int | None:
    value = fields.get(name)
    if value is not None and (type(value) is not int or value < 1):
        raise ValueError(f"{path}: {name} is {value!r}; expected a whole number of at least 1, or null")
    return value


def fraction(path: Path, fields: Fields, name: str, default: float) -> float:
    value = fields.get(name, default)
    if type(value) is not float:
        raise ValueError(f"{path}: {name} is {value!r}; expected a number between 0 and 1")
    return value


def number(path: Path, fields: Fields, name: str, default: float | None) -> float:
    """A number above 0; without a default the field has to be there."""
    value = fields.get(name, default)
    if type(value) not in (int, float) or not 0 < value < float("inf"):
        raise ValueError(f"{path}: {name} is {value!r}; expected a number above 0")
    return float(value)


def switch(path: Path, fields: Fields, name: str, default: bool) -> bool:
    value = fields.get(name, default)
    if type(value) is not bool:
        raise ValueError(f"{path}: {name} is {value!r}; expected true or false")
    return value


def activation(path: Path, fields: Fields, name: str, default: str) -> Any:
    """Our name of an activation function."""
    known = {theirs: ours for ours, names in ACTIVATIONS.items() for theirs in names}
    value = fields.get(name, default)
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{path}: {name} is {value!r}; this code computes {', '.join(known)}")
    return known[value]


def refuse_others(path: Path, fields: Fields, allowed: Mapping[str, tuple[Any, ...]]) -> None:
    """Raises ValueError for a setting that changes the function and is not computed here."""
    for name, values in allowed.items():
        value = fields.get(name, values[0])
        if not any(value == other and type(value) is type(other) for other in values):
            raise ValueError(f"{path}: {name} is {value!r}; this code computes {' or '.join(map(repr, values))}")
