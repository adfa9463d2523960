"""LoRA: trained low-rank matrices beside frozen weights (Hu et al. 2021, "LoRA", §4.1).

    W′ = W + s·A·B,   s = alpha/rank  (or alpha/√rank: rsLoRA, Kalajdzievski 2023, §3.2)

A is drawn and B is zero, so training starts at the base's function. The adapters are a tree of their own. `attach`
returns the base's tree with the adapters in it, and the decoder computes that one like any other; so gradients are
taken of `lambda adapters: decoder.loss(attach(base, adapters, …), …)`, and XLA computes none for frozen weights.
`merge` adds s·A·B to the weights, in float32.

Left out: adapters for embeddings, head, norms and biases; DoRA; quantised bases.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from llm_jax.adapters.config import LoraConfig, Target, targets_of
from llm_jax.config import DecoderConfig
from llm_jax.layers.adapted import Adapted
from llm_jax.layers.dropout import Dropout, split
from llm_jax.layers.linear import Linear
from llm_jax.models.decoder_parameters import Decoder
from llm_jax.shapes import Array, Float, Key, pytree


@pytree
class LowRank:
    a: Float[Array, "..."]  # input dimensions, then J, the rank
    b: Float[Array, "..."]  # J, then output dimensions


@pytree
class Adapters:
    """For every block of the decoder: path of a projection in the block → its two matrices."""

    blocks: tuple[dict[str, LowRank], ...]


def init(key: Key[Array, ""], config: DecoderConfig, lora: LoraConfig) -> Adapters:
    """A uniform in ±1/√inputs (PEFT's: He et al. 2015, eq. 14, with slope √5), B zero; float32.

    Raises:
        ValueError: as `targets_of`.
    """
    sizes = config.sizes

    def one(key: Key[Array, ""], target: Target) -> LowRank:
        inputs, outputs = (tuple(sizes[letter] for letter in letters) for letters in (target.inputs, target.outputs))
        bound = 1 / math.sqrt(math.prod(inputs))
        a = jax.random.uniform(key, (*inputs, lora.rank), minval=-bound, maxval=bound)
        return LowRank(a=a, b=jnp.zeros((lora.rank, *outputs)))

    targets = targets_of(config, lora)
    keys = jax.random.split(key, (config.n_layers, len(targets)))
    return Adapters(tuple({t.path: one(k, t) for k, t in zip(row, targets, strict=True)} for row in keys))


def dimension_letters(config: DecoderConfig, lora: LoraConfig) -> Adapters:
    """A tree like the adapters, each leaf a string with one letter per axis; the rank's is J."""

    def letters(target: Target) -> Any:
        a, b = target.inputs + "J", "J" + target.outputs
        return LowRank(a=_text(a), b=_text(b))

    block = {target.path: letters(target) for target in targets_of(config, lora)}
    return Adapters((block,) * config.n_layers)


def trainable(adapters: Adapters) -> int:
    """Numbers that are trained."""
    return sum(leaf.size for leaf in jax.tree.leaves(adapters))


def attach(
    params: Decoder, adapters: Adapters, config: DecoderConfig, lora: LoraConfig, noise: Dropout | None = None
) -> Decoder:
    """The base with the adapters beside its weights. The base's arrays are shared, not copied.

    `noise` drops inputs of the adapters, in training; its rate is the caller's (`lora.dropout`), and a rate of 0 is no
    noise.

    Raises:
        ValueError: the adapters are not those that config and `lora` describe.
    """
    check(adapters, config, lora)
    is_noisy = noise is not None and not (isinstance(noise.rate, int | float) and noise.rate == 0)
    paths = [target.path for target in targets_of(config, lora)]
    noises = split(noise if is_noisy else None, config.n_layers * len(paths))

    def with_adapter(number: int, path: str) -> Callable[[Linear], Adapted]:
        pair = adapters.blocks[number][path]
        here = noises[number * len(paths) + paths.index(path)]
        return lambda layer: Adapted(layer, Linear(weight=pair.a), Linear(weight=lora.scale * pair.b), here)

    return change_projections(params, paths, with_adapter)


def merge(params: Decoder, adapters: Adapters, config: DecoderConfig, lora: LoraConfig) -> Decoder:
    """An ordinary decoder of the same function: every weight plus s·A·B, computed and stored in float32.

    In bfloat16 the sum would lose most of a small s·A·B: a weight of 0.02 has steps of 0.0001.
    """
    return _merged(params, adapters, config, lora, lora.scale)


def unmerge(params: Decoder, adapters: Adapters, config: DecoderConfig, lora: LoraConfig) -> Decoder:
    """The base of a merged decoder, up to rounding in float32."""
    return _merged(params, adapters, config, lora, -lora.scale)


def _merged(params: Decoder, adapters: Adapters, config: DecoderConfig, lora: LoraConfig, scale: float) -> Decoder:
    check(adapters, config, lora)

    def with_delta(number: int, path: str) -> Callable[[Linear], Linear]:
        pair = adapters.blocks[number][path]

        def change(layer: Linear) -> Linear:
            return dataclasses.replace(layer, weight=layer.weight.astype(jnp.float32) + scale * product(pair))

        return change

    return change_projections(params, [target.path for target in targets_of(config, lora)], with_delta)


def product(pair: LowRank) -> Float[Array, "..."]:
    """A·B in float32: input dimensions, then output dimensions."""
    a, b = pair.a.astype(jnp.float32), pair.b.astype(jnp.float32)
    return jnp.tensordot(a, b, 1, precision=jax.lax.Precision.HIGHEST)


def change_projections(
    params: Decoder, paths: list[str], change_of: Callable[[int, str], Callable[[Linear], Any]]
) -> Decoder:
    """Replaces the projections at `paths` of every block: that of block i at path p becomes `change_of(i, p)` of it."""
    blocks = []
    for number, block in enumerate(params.blocks):
        for path in paths:
            block = _change(block, path.split("."), change_of(number, path))
        blocks.append(block)
    return dataclasses.replace(params, blocks=tuple(blocks))


def _change(part: Any, names: list[str], change: Callable[[Any], Any]) -> Any:
    if not names:
        return change(part)
    return dataclasses.replace(part, **{names[0]: _change(getattr(part, names[0]), names[1:], change)})


def check(adapters: Adapters, config: DecoderConfig, lora: LoraConfig) -> None:
    """Raises ValueError where the adapters are not those of this model and these settings: it names the first one."""
    sizes = config.sizes | {"J": lora.rank}
    if len(adapters.blocks) != config.n_layers:
        raise ValueError(
            f"the adapters are those of {len(adapters.blocks)} blocks, and the model has {config.n_layers}: "
            "take the base they were trained with"
        )
    targets = {target.path: target for target in targets_of(config, lora)}
    for number, block in enumerate(adapters.blocks):
        if block.keys() != targets.keys():
            raise ValueError(
                f"block {number} has adapters of {', '.join(block)}; expected {', '.join(targets)}: "
                "take the targets they were trained with"
            )
        for path, pair in block.items():
            target = targets[path]
            for name, letters in (("a", target.inputs + "J"), ("b", "J" + target.outputs)):
                shape, expected = getattr(pair, name).shape, tuple(sizes[letter] for letter in letters)
                if shape != expected:
                    raise ValueError(
                        f"the adapter of {path} in block {number} has {name} of shape {shape}; this base and these "
                        f"settings have {expected}: take the base and the rank it was trained with"
                    )


def _text(letters: str) -> Any:
    return letters
