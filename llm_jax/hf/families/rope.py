"""Rotary positions in a config.json ↔ θ and `RotaryScaling`.

transformers 5 writes one object, `rope_parameters`; earlier versions, vLLM and llama.cpp read `rope_theta` and
`rope_scaling`. Both forms are read; an export writes the second, which every one of them reads.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_jax.config import DecoderConfig, RotaryScaling
from llm_jax.hf.families import fields as read_fields

KINDS = ("linear", "llama3", "yarn")
THETA = 10000.0  # where a file names none


def write(config: DecoderConfig) -> dict[str, Any]:
    return {"rope_theta": config.rotary_theta, "rope_scaling": _scaling_fields(config.rotary_scaling)}


def _scaling_fields(scaling: RotaryScaling | None) -> dict[str, Any] | None:
    if scaling is None:
        return None
    fields: dict[str, Any] = {"rope_type": scaling.kind, "factor": scaling.factor}
    if scaling.kind != "linear":
        fields["original_max_position_embeddings"] = scaling.original_context_length
    if scaling.kind == "llama3":
        fields |= {"low_freq_factor": scaling.low_freq_factor, "high_freq_factor": scaling.high_freq_factor}
    if scaling.kind == "yarn":
        fields |= {"beta_fast": scaling.beta_fast, "beta_slow": scaling.beta_slow}
        fields |= {} if scaling.attention_factor is None else {"attention_factor": scaling.attention_factor}
        fields |= {} if scaling.truncate else {"truncate": False}
    return fields


def read(path: Path, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `DecoderConfig` about rotary positions. Raises ValueError naming file, field and value.

    Where a file has `rope_scaling` and `rope_parameters`, the former counts and the latter is left out, as in
    transformers: people add `rope_scaling` by hand to what transformers 5 has written.
    """
    name = "rope_scaling" if fields.get("rope_scaling") else "rope_parameters"
    found = fields.get(name)
    if found is not None and not isinstance(found, Mapping):
        raise ValueError(f"{path}: {name} is {found!r}; expected an object or null")
    found = dict(found or {})
    theta_there = found if "rope_theta" in found else fields
    theta = read_fields.number(path, theta_there, "rope_theta", THETA)
    left_out = fields.get("rope_parameters") if name == "rope_scaling" else None
    other = left_out.get("rope_theta", theta) if isinstance(left_out, Mapping) else theta
    if other != theta:
        raise ValueError(
            f"{path}: rope_scaling counts where rope_parameters is there too, and its rope_theta is {theta:g}, not "
            f"the {other} of rope_parameters: write the right rope_theta into rope_scaling"
        )
    read_fields.refuse_others(
        path, fields, {"partial_rotary_factor": (1.0, 1, None), "rope_interleaved": (False, None)}
    )
    read_fields.refuse_others(path, found, {"partial_rotary_factor": (1.0, 1, None)})
    kind = found.get("rope_type", found.get("type", "default"))
    scaling = None if kind in ("default", None) else _scaling(path, name, kind, found, fields)
    return {"rotary_theta": theta, "rotary_scaling": scaling}


def _scaling(path: Path, name: str, kind: Any, found: Mapping[str, Any], fields: Mapping[str, Any]) -> RotaryScaling:
    if kind not in KINDS:
        raise ValueError(f"{path}: {name} is of type {kind!r}; this code computes default, {', '.join(KINDS)}")
    longest = fields["max_position_embeddings"]
    original = read_fields.whole_or_none(path, found, "original_max_position_embeddings")
    outside = read_fields.whole_or_none(path, fields, "original_max_position_embeddings")
    if kind != "linear" and original and outside and original != outside:
        raise ValueError(
            f"{path}: original_max_position_embeddings is {outside} and, in {name}, {original}; which one counts "
            "depends on the edition of transformers: remove the wrong one"
        )
    original = original or outside
    if original is None and kind == "llama3":
        raise ValueError(f"{path}: {name} lacks original_max_position_embeddings, which llama3 needs")
    original = original or longest
    default_factor = longest / original if kind == "yarn" and found.get("factor") is None else None
    factor = read_fields.number(path, {k: v for k, v in found.items() if v is not None}, "factor", default_factor)
    more: dict[str, Any] = {}
    for field in {"llama3": ("low_freq_factor", "high_freq_factor"), "yarn": ("beta_fast", "beta_slow")}.get(kind, ()):
        if found.get(field) is not None:
            more[field] = read_fields.number(path, found, field, None)
        elif kind == "llama3":
            raise ValueError(f"{path}: {name} lacks {field}, which llama3 needs")
    if kind == "yarn":
        more |= {"attention_factor": _attention_factor(path, found, factor)}
        more |= {"truncate": read_fields.switch(path, found, "truncate", True)}
    return RotaryScaling(kind, factor, original, **more)


def _attention_factor(path: Path, found: Mapping[str, Any], factor: float) -> float | None:
    """YaRN's factor on queries and keys; DeepSeek's files give it as a ratio of two."""
    if found.get("attention_factor") is not None:
        return read_fields.number(path, found, "attention_factor", None)
    scale, all_dims = found.get("mscale"), found.get("mscale_all_dim")
    if not scale or not all_dims:
        return None
    scale, all_dims = (read_fields.number(path, found, name, None) for name in ("mscale", "mscale_all_dim"))
    log = math.log(factor) if factor > 1 else 0.0
    return (0.1 * scale * log + 1.0) / (0.1 * all_dims * log + 1.0)
