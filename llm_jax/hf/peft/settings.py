"""`adapter_config.json` of PEFT ↔ LoraConfig. A setting that this code does not compute is refused by name.

PEFT's patterns (`rank_pattern`, `alpha_pattern`) are regular expressions. An unknown expression may run without end, so
only plain names of modules are read, with PEFT's meaning: the module itself, or any whose name ends with it; after ^
the module itself alone. Which modules have adapters is known from the tensors, so `target_modules` and
`exclude_modules` may be expressions.
"""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_jax.adapters.config import ALL_LINEAR, LoraConfig
from llm_jax.files.json_files import read_json
from llm_jax.hf.families import fields as read_fields

FILE_NAME = "adapter_config.json"
NAME = re.compile(r"\^?[A-Za-z0-9_]+(\\?\.[A-Za-z0-9_]+)*\$?")
# Values at which a field changes nothing, where these are not null, false and empty alone.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "bias": ("none",),
    # Others (pissa, olora, loftq, corda, …) change the base's weights when the adapter is made.
    "init_lora_weights": (True, "gaussian", "orthogonal", "eva"),
    "task_type": ("CAUSAL_LM",),
}
# They matter only to training, or to nothing.
IGNORED = {
    *("peft_version", "base_model_name_or_path", "revision", "auto_mapping", "inference_mode", "fan_in_fan_out"),
    *("eva_config", "megatron_core", "runtime_config", "qalora_group_size", "layers_pattern", "ensure_weight_tying"),
}
READ = {
    *("peft_type", "r", "lora_alpha", "lora_dropout", "use_rslora", "rank_pattern", "alpha_pattern"),
    *("target_modules", "exclude_modules", "layers_to_transform"),
}


@dataclass(frozen=True)
class Settings:
    """What adapter_config.json says."""

    rank: int
    alpha: float
    dropout: float
    rslora: bool
    base: str | None  # path or name of the base, as it was where the adapter was trained
    targets: tuple[str, ...] | None  # names of modules; None: an expression, one of what is excluded, or not said
    excluded: tuple[str, ...] = ()
    layers: frozenset[int] | None = None  # None: all
    ranks: dict[str, int] = field(default_factory=dict)  # by name of module, the first that fits
    alphas: dict[str, float] = field(default_factory=dict)

    def rank_of(self, module: str) -> int:
        """The rank of a module, such as `model.layers.0.mlp.up_proj`."""
        return next((rank for name, rank in self.ranks.items() if is_named(module, name)), self.rank)

    def scale_of(self, module: str) -> float:
        alpha = next((alpha for name, alpha in self.alphas.items() if is_named(module, name)), self.alpha)
        rank = self.rank_of(module)
        return alpha / (math.sqrt(rank) if self.rslora else rank)

    def has(self, module: str, layer: int) -> bool:
        """Whether a module has an adapter, where the targets are names."""
        is_target = any(name == ALL_LINEAR or is_named(module, name) for name in self.targets or ())
        is_excluded = any(is_named(module, name) for name in self.excluded)
        return is_target and not is_excluded and (self.layers is None or layer in self.layers)


def is_named(module: str, name: str) -> bool:
    """Whether `name` means the module in PEFT: it is the module's, or, without ^, its end from a point on."""
    return module == name.removeprefix("^") or module.endswith(f".{name}")


def write(lora: LoraConfig, modules: list[str], base: str, is_conv_1d: bool) -> dict[str, Any]:
    """The fields that PEFT and vLLM read.

    Args:
        lora: the settings.
        modules: names of the adapted modules, as their ends in a block.
        base: path or name of the base.
        is_conv_1d: the base stores its projections as (inputs, outputs), as GPT-2 does.
    """
    alpha = int(lora.alpha) if lora.alpha == int(lora.alpha) else lora.alpha
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "revision": None,
        "r": lora.rank,
        "lora_alpha": alpha,
        "lora_dropout": lora.dropout,
        "use_rslora": lora.rslora,
        "target_modules": modules,
        "rank_pattern": {},
        "alpha_pattern": {},
        "fan_in_fan_out": is_conv_1d,
        "bias": "none",
        "modules_to_save": None,
        "use_dora": False,
        "init_lora_weights": True,
        "layers_to_transform": None,
        "layers_pattern": None,
        "inference_mode": True,
    }


def read(path: Path) -> Settings:
    """Raises FileNotFoundError, or ValueError naming the file, the field and its value."""
    fields = read_json(path, "download or export the adapter again")
    if fields.get("peft_type") != "LORA":
        raise ValueError(f"{path}: peft_type is {fields.get('peft_type')!r}; this code computes 'LORA'")
    for name, value in fields.items():
        is_neutral = value in (None, False) or value in ([], {}) or value in NEUTRAL.get(name, ())
        if name == "init_lora_weights" and not is_neutral:
            raise ValueError(
                f"{path}: init_lora_weights is {value!r}, which changes the base's weights: save the adapter with "
                "PEFT's path_initial_model_for_weight_conversion, or take another"
            )
        if name not in READ | IGNORED and not is_neutral:
            raise ValueError(
                f"{path}: {name} is {value!r}, which this code does not compute: merge the adapter with PEFT "
                "(merge_and_unload) and take the result"
            )
    if "r" not in fields or "lora_alpha" not in fields:
        raise ValueError(f"{path}: r and lora_alpha must be there: download or export the adapter again")
    rank = _rank(path, "r", fields["r"])
    base, excluded = fields.get("base_model_name_or_path"), fields.get("exclude_modules")
    is_said_by_name = not isinstance(excluded, str)
    return Settings(
        rank=rank,
        alpha=read_fields.number(path, fields, "lora_alpha", None),
        dropout=_dropout(path, fields.get("lora_dropout") or 0.0),
        rslora=fields.get("use_rslora") is not None and read_fields.switch(path, fields, "use_rslora", False),
        base=base if isinstance(base, str) and base else None,
        targets=_names(path, fields, "target_modules") if is_said_by_name else None,
        excluded=(_names(path, fields, "exclude_modules") or ()) if is_said_by_name else (),
        layers=_layers(path, fields.get("layers_to_transform")),
        ranks={name: _rank(path, name, value) for name, value in _pattern(path, fields, "rank_pattern").items()},
        alphas={
            name: read_fields.number(path, {name: value}, name, None)
            for name, value in _pattern(path, fields, "alpha_pattern").items()
        },
    )


def _rank(path: Path, name: str, value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"{path}: rank {name} is {value!r}; expected a whole number of at least 1")
    return value


def _dropout(path: Path, value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < 1:
        raise ValueError(f"{path}: lora_dropout is {value!r}; expected a number from 0 to below 1")
    return float(value)


def _names(path: Path, fields: dict[str, Any], name: str) -> tuple[str, ...] | None:
    """A list of names; None for an expression or where nothing is said."""
    value = fields.get(name)
    if value == ALL_LINEAR:
        return (ALL_LINEAR,)
    if value is None or isinstance(value, str):
        return None
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise ValueError(f"{path}: {name} is {value!r:.80}; expected a list of names of modules")
    return tuple(value) if value or name == "exclude_modules" else None


def _layers(path: Path, value: Any) -> frozenset[int] | None:
    if value is None or value == []:
        return None
    numbers = value if isinstance(value, list) else [value]
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError(f"{path}: layers_to_transform is {value!r:.80}; expected whole numbers")
    return frozenset(numbers)


def _pattern(path: Path, fields: dict[str, Any], name: str) -> dict[str, Any]:
    found = fields.get(name) or {}
    if not isinstance(found, dict):
        raise ValueError(f"{path}: {name} is {found!r:.80}; expected an object of names")
    for key in found:
        if not NAME.fullmatch(key):
            raise ValueError(f"{path}: {name} has the expression {key!r:.80}; only plain names of modules are read")
    return {key.replace("\\.", ".").removesuffix("$"): value for key, value in found.items()}
