"""Which weights get a low-rank adapter, and of what rank: settings that are checked before anything is computed.

A target is a projection of attention or of the MLP, by the name that PEFT's users know. A name stands for every module
whose name ends with it, as in PEFT: `c_proj` means both of GPT-2's. Imports no JAX, so a command line reads it at once.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from llm_jax.config import DecoderConfig

ALL_LINEAR = "all-linear"
HEADS = ("lm_head", "embed_tokens", "wte", "wpe", "embed_out", "score")


class Target(NamedTuple):
    """A weight of a block that can have an adapter."""

    path: str  # in our block: `attention.qkv.q`
    module: str  # in a Hugging Face block: `self_attn.q_proj`
    inputs: str  # dimension letters
    outputs: str


@dataclass(frozen=True)
class LoraConfig:
    """LoRA (Hu et al. 2021): W + scale·A·B with A of shape (inputs, rank) and B of shape (rank, outputs).

    The defaults are those that most recipes use: every projection (Dettmers et al. 2023, §4) and alpha of twice the
    rank. PEFT's own are rank 8, alpha 8 and fewer targets.
    """

    rank: int = 8
    """Columns of A and rows of B."""
    alpha: float = 16.0
    """Numerator of the scale: alpha/rank."""
    rslora: bool = False
    """The scale is alpha/√rank instead, which does not shrink as the rank grows (rsLoRA, Kalajdzievski 2023)."""
    dropout: float = 0.0
    """Rate of dropout on the adapters' inputs, in training only."""
    targets: tuple[str, ...] = (ALL_LINEAR,)
    """Projections with an adapter: `all-linear`, or names such as q_proj, v_proj, c_attn, attn.c_proj."""

    def __post_init__(self) -> None:
        if type(self.rank) is not int or self.rank < 1:
            raise ValueError(f"rank of LoRA must be a whole number of at least 1; got {self.rank!r}")
        for name, is_right, bounds in (
            ("alpha", lambda x: 0 < x < math.inf, "a number above 0"),
            ("dropout", lambda x: 0 <= x < 1, "a number from 0 to below 1"),
        ):
            value = getattr(self, name)
            if type(value) not in (int, float) or not is_right(value):
                raise ValueError(f"{name} of LoRA must be {bounds}; got {value!r}")
        if type(self.rslora) is not bool:
            raise ValueError(f"rslora of LoRA must be true or false; got {self.rslora!r}")
        if isinstance(self.targets, str) or not all(isinstance(name, str) and name for name in self.targets):
            raise ValueError(f"targets of LoRA must be a list of names; got {self.targets!r}")
        object.__setattr__(self, "targets", tuple(self.targets))  # a list, from a JSON file
        if not self.targets:
            raise ValueError(f"targets of LoRA is empty: name the projections, or {ALL_LINEAR}")

    @property
    def scale(self) -> float:
        """s in W + s·A·B."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)


def possible_targets(config: DecoderConfig) -> tuple[Target, ...]:
    """The projections that a block of this model has."""
    if config.is_qkv_fused:
        attention = (
            Target("attention.qkv", "attn.c_attn", "D", "3NH"),
            Target("attention.out", "attn.c_proj", "NH", "D"),
        )
    else:
        attention = (
            Target("attention.qkv.q", "self_attn.q_proj", "D", "NH"),
            Target("attention.qkv.k", "self_attn.k_proj", "D", "KH"),
            Target("attention.qkv.v", "self_attn.v_proj", "D", "KH"),
            Target("attention.out", "self_attn.o_proj", "NH", "D"),
        )
    if config.gated_mlp:
        mlp = (
            Target("mlp.gate", "mlp.gate_proj", "D", "F"),
            Target("mlp.up", "mlp.up_proj", "D", "F"),
            Target("mlp.down", "mlp.down_proj", "F", "D"),
        )
    else:
        mlp = (Target("mlp.up", "mlp.c_fc", "D", "F"), Target("mlp.down", "mlp.c_proj", "F", "D"))
    return attention + mlp


def short_names(targets: tuple[Target, ...]) -> list[str]:
    """A name for each module: its last part, or more of it where two modules end alike."""
    last = [target.module.split(".")[-1] for target in targets]
    return [target.module if last.count(name) > 1 else name for target, name in zip(targets, last, strict=True)]


def targets_of(config: DecoderConfig, lora: LoraConfig) -> tuple[Target, ...]:
    """The projections of this model that get an adapter, in the order of a block.

    Raises:
        ValueError: a target that the model does not have, the embedding or the head, or a rank above the model's width.
    """
    possible = possible_targets(config)
    names = ", ".join(short_names(possible))
    chosen = set()
    for name in lora.targets:
        if name.split(".")[-1] in HEADS:
            raise ValueError(
                f"LoRA target {name!r} is an embedding or the head, which share one matrix in most models and get no "
                f"adapter here: leave it out; this model has {names}"
            )
        found = {target for target in possible if name == ALL_LINEAR or f".{target.module}".endswith(f".{name}")}
        if not found:
            raise ValueError(f"LoRA target {name!r} is no projection of this model: it has {names}, or {ALL_LINEAR}")
        chosen |= found
    if lora.rank > config.d_model:
        raise ValueError(
            f"rank {lora.rank} of LoRA is above the model's width of {config.d_model}, so an adapter would hold more "
            "numbers than the weight itself: choose 4 to 64"
        )
    return tuple(target for target in possible if target in chosen)
