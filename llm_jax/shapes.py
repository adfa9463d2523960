"""The letters that name every dimension in this code base, and the types of annotations.

A variable's suffix lists its dimensions in order: `q_BTNH` has batch, query position, head and head width.
Einsum strings and jaxtyping annotations use the same letters, and `llm_jax.sharding` maps each letter to a
mesh axis, so a dimension has the same name in the formula and on the mesh.

| letter | dimension                                   |
|--------|---------------------------------------------|
| A      | accumulation: micro-batches in a step       |
| B      | batch: sequences                            |
| T      | query position in the sequence              |
| S      | key position (T and S differ with a cache)  |
| P      | position in the table of learned positions  |
| D      | model width (the residual stream)           |
| E      | width of a character's embedding (makemore) |
| N      | attention heads                             |
| K      | heads of keys and values (N, or fewer)      |
| R      | rows: batch and heads merged, or batch and T|
| H      | width of one head                           |
| F      | hidden width of the MLP                     |
| J      | rank of an adapter (LoRA)                   |
| V      | vocabulary; cut into C pieces of W tokens   |
| L      | layers                                      |
| G      | tokens generated                            |
| Z      | tokens that stop a row                      |
"""

from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

from flax import struct
from jax import Array

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Key, UInt
else:
    try:
        from jaxtyping import Bool, Float, Int, Key, UInt
    except ImportError:  # on a machine that has JAX, Flax, optax and NumPy alone, nobody checks annotations

        class _Unchecked:
            def __class_getitem__(cls, _: Any) -> Any:
                return Any

        Bool = Float = Int = Key = UInt = _Unchecked

__all__ = ["Array", "Bool", "Float", "Int", "Key", "UInt", "constant", "pytree"]

Class = TypeVar("Class", bound=type)


@dataclass_transform(frozen_default=True)
def pytree(cls: Class) -> Class:
    """A frozen dataclass whose fields are children of a pytree (`flax.struct.dataclass`).

    Its annotations are for readers. They are not checked when an instance is built, because the same class also holds
    gradients, shardings, dimension letters and everything else that a tree map puts in its leaves.
    """
    cls = struct.dataclass(cls)
    cls.__no_type_check__ = True
    return cls


def constant() -> Any:
    """A field of a `pytree` that is no child but part of its structure: under `jit` its value is known."""
    return struct.field(pytree_node=False)
