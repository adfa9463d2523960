"""Parameters as a decoding step reads them: each matrix in one number format, stored as the plan's kernels want it.

A step reads every weight, so on a CPU the format decides the time of a step: bfloat16 is half of float32, int8 a
quarter. Matrices with the same input are joined, because every product has a fixed cost of some microseconds.
Activations, norms, biases, adapters and the cache keep the compute format; projections with adapters are not joined.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from llm_jax.backend import release_memory
from llm_jax.config import NUMBERS, Weights
from llm_jax.kernels.narrow import int8_rows
from llm_jax.layers.adapted import Adapted
from llm_jax.layers.linear import Linear
from llm_jax.layers.mlp import MLP, JoinedMLP
from llm_jax.layers.projections import Attention, Joined, Projections
from llm_jax.models import decoder
from llm_jax.shapes import Array


def prepare(
    params: decoder.Decoder,
    plan: decoder.Plan,
    n_rows: int | None = None,
    weights: Weights = "auto",
    consumes: bool = False,
) -> decoder.Decoder:
    """Parameters for decoding: converts the matrices once, so that no step has to.

    Args:
        params: parameters as they were trained or loaded.
        plan: says how weights are stored, and the compute format.
        n_rows: sequences decoded at once, for which the plan may store weights in another order. Weights so stored
            decode any number of rows. None: keeps the order, unless the format needs another.
        weights: number format of the matrices; auto: the compute format.
        consumes: deletes every matrix of `params` when it is converted, so that memory never holds the model twice.

    Raises:
        ValueError: `weights` is int8 and the plan has no kernel for it.
    """
    if weights == "int8" and plan.kernels.store is None:
        where = "kernels=plain" if plan.platform == "cpu" else f"a {plan.platform.upper()}"
        raise ValueError(f"weights=int8 needs the kernels for CPUs, which {where} has not: use bf16 or leave it out")
    number = plan.dtype.name if weights == "auto" else NUMBERS[weights]
    keep = _Keeper(plan, number, n_rows is not None or weights != "auto", consumes)
    blocks = tuple(map(keep.block, params.blocks))  # first: the head, the largest matrix, is converted in their room
    token_embedding = params.token_embedding
    if params.head is None:
        token_embedding = keep.rows(token_embedding)
    elif number != "int8":  # a step reads only one row of it for each token
        token_embedding = keep.matrix(token_embedding)
    head = None if params.head is None else keep.rows(params.head)
    if consumes:
        jax.block_until_ready((token_embedding, head))
        release_memory()
    return dataclasses.replace(params, token_embedding=token_embedding, blocks=blocks, head=head)


@dataclasses.dataclass(frozen=True)
class _Keeper:
    """Converts the parts of a decoder."""

    plan: decoder.Plan
    number: str  # number format: float32, bfloat16, int8
    reorders: bool  # whether weights may be stored in another order
    consumes: bool

    def matrix(self, matrix: Array) -> Array:
        return self._replaced([matrix], matrix.astype(self.number))

    def rows(self, matrix_VD: Array) -> Any:
        """The head, which may be the embedding as well."""
        return self._replaced([matrix_VD], int8_rows(matrix_VD)) if self.number == "int8" else self.matrix(matrix_VD)

    def block(self, block: decoder.Block) -> decoder.Block:
        """The projection after attention has two input dimensions."""
        old: Attention = block.attention
        attention = dataclasses.replace(old, qkv=self._qkv(old.qkv), out=self._linear(old.out, 2))
        new = dataclasses.replace(block, attention=attention, mlp=self._mlp(block.mlp))
        if self.consumes:
            jax.block_until_ready(new)
            release_memory()
        return new

    def _qkv(self, qkv: Any) -> Any:
        if not isinstance(qkv, Projections):
            return self._linear(qkv)
        parts: tuple[Any, ...] = (qkv.q, qkv.k, qkv.v)
        if self._may_join(*parts):
            return Joined(self._linear(self._joined(parts, jnp.concatenate)), parts[1].weight.shape[1])
        return Projections(*map(self._linear, parts))

    def _mlp(self, mlp: Any) -> MLP | JoinedMLP:
        if mlp.gate is not None and self._may_join(mlp.gate, mlp.up):
            return JoinedMLP(self._linear(self._joined((mlp.gate, mlp.up), jnp.stack)), self._linear(mlp.down))
        return MLP(self._linear(mlp.up), self._linear(mlp.down), mlp.gate and self._linear(mlp.gate))

    def _may_join(self, *layers: Linear | Adapted) -> bool:
        is_adapted = any(isinstance(layer, Adapted) for layer in layers)
        return self.reorders and self.plan.kernels.store is not None and not is_adapted

    def _linear(self, layer: Linear | Adapted, n_inputs: int = 1) -> Any:
        if isinstance(layer, Adapted):
            small = dataclasses.replace(self, number=self.plan.dtype.name)
            down, up = small._linear(layer.down, n_inputs), small._linear(layer.up)
            return dataclasses.replace(layer, base=self._linear(layer.base, n_inputs), down=down, up=up)
        store = self.plan.kernels.store
        if store is None or not self.reorders:
            return dataclasses.replace(layer, weight=self.matrix(layer.weight))
        return self._replaced([layer.weight], store(layer, n_inputs, self.number))

    def _joined(self, layers: Sequence[Linear], join: Callable[..., Array]) -> Linear:
        """Joins linear maps of the same input, along their first output dimension or along a new one before it."""
        weights = [layer.weight for layer in layers]
        biases = [layer.bias for layer in layers if layer.bias is not None]
        weight = self._replaced(weights, join(weights, axis=1))
        return Linear(weight, join(biases, axis=0) if biases else None)

    def _replaced(self, old: Sequence[Array], new: Any) -> Any:
        """`new`. If `params` are consumed, deletes the arrays from which it was made, unless they are a part of it."""
        if self.consumes and not {id(x) for x in old} & {id(leaf) for leaf in jax.tree.leaves(new)}:
            jax.block_until_ready(new)
            for x in old:
                x.delete()
        return new
