"""Several adapters of one base in one batch, each row with its own or with none.

The columns of all A and the rows of all s·B lie side by side, and a row of the batch keeps only the columns of its own
adapter (`llm_jax.layers.adapted`). So every row costs the products with all adapters, but one program serves any
mixture, nothing is gathered, and a row's result does not depend on the other rows' adapters. Ranks and targets may
differ. Many adapters of a high rank would need kernels that gather (Chen et al. 2023, "Punica").
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from llm_jax.adapters.config import LoraConfig, targets_of
from llm_jax.adapters.lora import Adapters, change_projections, check
from llm_jax.config import DecoderConfig
from llm_jax.layers.adapted import Adapted
from llm_jax.layers.linear import Linear
from llm_jax.models.decoder_parameters import Decoder
from llm_jax.shapes import Array, Int


def attach_together(params: Decoder, several: Sequence[tuple[Adapters, LoraConfig]], config: DecoderConfig) -> Decoder:
    """The base with all adapters beside its weights, numbered from 1; `choose` says which row has which.

    Raises:
        ValueError: adapters are not those that config and settings describe.
    """
    paths: dict[str, None] = {}
    for adapters, lora in several:
        check(adapters, config, lora)
        paths |= dict.fromkeys(target.path for target in targets_of(config, lora))

    def beside(number: int, path: str) -> Callable[[Linear], Adapted]:
        here = [
            (order, lora, adapters.blocks[number][path])
            for order, (adapters, lora) in enumerate(several, 1)
            if path in adapters.blocks[number]
        ]
        down = jnp.concatenate([pair.a for _, _, pair in here], axis=-1)
        up = jnp.concatenate([lora.scale * pair.b for _, lora, pair in here])
        owner_J = jnp.concatenate([jnp.full(lora.rank, order, jnp.int32) for order, lora, _ in here])
        return lambda layer: Adapted(layer, Linear(weight=down), Linear(weight=up), owner_J=owner_J)

    return change_projections(params, list(paths), beside)


def choose(params: Decoder, number_B: Int[Array, "B"]) -> Decoder:
    """The same decoder for a batch whose row b has adapter `number_B[b]`; 0 is the base alone.

    A decoder without adapters stays as it is.
    """

    def chosen(layer: Any) -> Any:
        return dataclasses.replace(layer, number_B=number_B) if isinstance(layer, Adapted) else layer

    return jax.tree.map(chosen, params, is_leaf=lambda layer: isinstance(layer, Adapted))
