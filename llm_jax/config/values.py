"""Config dataclasses from JSON, and the checks that their fields share."""

import dataclasses
import operator
from typing import Any, get_args, get_type_hints


def added(default: Any) -> Any:
    """A field that older files lack; where it is missing, its default applies."""
    return dataclasses.field(default=default, metadata={"added": True})


def from_dict(cls: type, values: dict[str, Any], fill: bool = False) -> Any:
    """Builds a dataclass from JSON values; an unknown or missing key is a ValueError that names it.

    With `fill`, what is missing takes its default: for settings that may have been added since the values were written.
    A field marked as added does so always.
    """
    known = {field.name for field in dataclasses.fields(cls)}
    needed = {field.name for field in dataclasses.fields(cls) if not field.metadata.get("added")}
    if not isinstance(values, dict):
        raise ValueError(f"{cls.__name__} must be an object of fields; got {values!r}")
    if unknown := sorted(set(values) - known):
        raise ValueError(f"{cls.__name__} has no field {unknown[0]!r}; it has {', '.join(sorted(known))}")
    if not fill and (missing := sorted(needed - set(values))):
        raise ValueError(f"{cls.__name__} needs a {missing[0]!r}, which is missing: restore it from a copy")
    return cls(**values)


def refuse_no_count(name: str, value: Any) -> None:
    if type(value) is not int:  # from a JSON file it may be anything: 2.0, "2", true, null
        raise ValueError(f"{name} must be a whole number; got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1; got {value}")


def whole_number(name: str, value: Any) -> int:
    """`value` as an int, from Python or NumPy. Raises TypeError for anything else, as 300.0 or "300"."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number; got {value!r}") from None


def refuse_no_switch(name: str, value: Any) -> None:
    if type(value) is not bool:
        raise ValueError(f"{name} must be true or false; got {value!r}")


def refuse_unknown(config: Any, name: str) -> None:
    value, known = getattr(config, name), get_args(get_type_hints(type(config))[name])
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")
