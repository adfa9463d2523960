"""LoRA: a second tree of parameters attached to a first.

config     rank, scale, targets
lora       the tree, its initialisation, attaching, merging
together   several adapters of one base in one batch
base       the hash of a base, which its adapters store

A command line reads `config` without JAX, so the others are imported at the first use of one of their names.
"""

import importlib
from typing import TYPE_CHECKING, Any

from llm_jax.adapters.config import LoraConfig

if TYPE_CHECKING:
    from llm_jax.adapters.base import base_hash
    from llm_jax.adapters.lora import Adapters, LowRank, attach, dimension_letters, init, merge, trainable, unmerge
    from llm_jax.adapters.together import attach_together

__all__ = [
    "Adapters",
    "LoraConfig",
    "LowRank",
    "attach",
    "attach_together",
    "base_hash",
    "dimension_letters",
    "init",
    "merge",
    "trainable",
    "unmerge",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = {"base_hash": "base", "attach_together": "together"}.get(name, "lora")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
