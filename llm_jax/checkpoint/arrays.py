"""A pytree stored as named arrays, so that files depend on no Python class, and a part of the tree can be read by name.

A leaf's name is its path, `params.blocks.0.mlp.up.weight`. An index (name → shape and dtype) is stored with the arrays;
`restore` compares its template with the index before it reads. A random key (`jax.random.key`) is stored as its data
and the name of its generator. A Python number is stored as an array without dimensions and restored as a number.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

PyTree = Any
Index = dict[str, dict[str, Any]]


def name_leaves(tree: PyTree) -> dict[str, Any]:
    """Every leaf by its name.

    Raises:
        ValueError: two leaves have the same name.
    """
    leaves = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if name in leaves:
            raise ValueError(f"two leaves of the state are both called {name!r}: rename a dictionary key")
        leaves[name] = leaf
    return leaves


def index_of(leaves: Mapping[str, Any]) -> Index:
    """Name → shape and dtype, and for keys the generator. Accepts arrays, numbers and ShapeDtypeStructs."""
    return {name: _describe(name, leaf) for name, leaf in leaves.items()}


def storable(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves as arrays for orbax: keys become their data, numbers become arrays."""
    return {
        name: jax.random.key_data(leaf) if _is_key(leaf) else leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)
        for name, leaf in leaves.items()
    }


def restore(folder: Path, template: PyTree, index: Index, prefix: str = "") -> PyTree:
    """Reads the arrays that `template` describes. Each gets its leaf's sharding, or is put on the first device.

    Args:
        folder: the arrays, as orbax wrote them.
        template: pytree of arrays, ShapeDtypeStructs or numbers.
        index: the stored index.
        prefix: only names with this prefix are read; the template's names lack it.

    Raises:
        ValueError: arrays are missing, left over, or of another shape or dtype; it names them.
    """
    leaves = {prefix + name: leaf for name, leaf in name_leaves(template).items()}
    _refuse_differences({name: entry for name, entry in index.items() if name.startswith(prefix)}, index_of(leaves))
    targets = {name: _stored_form(leaf) for name, leaf in leaves.items()}
    arguments = {name: _restore_argument(target) for name, target in targets.items()}
    with ocp.PyTreeCheckpointer() as checkpointer:
        restoration = ocp.args.PyTreeRestore(targets, restore_args=arguments, partial_restore=bool(prefix))
        stored = checkpointer.restore(folder, args=restoration)
    restored = [_original_form(leaf, stored[name], index[name]) for name, leaf in leaves.items()]
    return jax.tree.unflatten(jax.tree.structure(template), restored)


def _describe(name: str, leaf: Any) -> dict[str, Any]:
    if isinstance(leaf, (bool, int, float, complex)):
        leaf = np.asarray(leaf)
    if not _is_key(leaf) and getattr(getattr(leaf, "dtype", None), "kind", "O") in "OSUMm":
        raise ValueError(
            f"leaf {name!r} of the state is {leaf!r:.60}: only arrays and numbers are stored; text and settings belong "
            "in the metadata"
        )
    entry = {"shape": list(leaf.shape), "dtype": str(leaf.dtype)}
    if _is_key(leaf) and isinstance(leaf, jax.Array):
        entry["generator"] = str(jax.random.key_impl(leaf))
    return entry


def _refuse_differences(stored: Index, wanted: Index) -> None:
    def show(entry: dict[str, Any]) -> str:
        return f"{entry['dtype']}[{', '.join(map(str, entry['shape']))}]"

    problems = [f"{name} is missing from the checkpoint" for name in wanted if name not in stored]
    problems += [f"{name} is only in the checkpoint" for name in stored if name not in wanted]
    problems += [
        f"{name} is {show(stored[name])} in the checkpoint and {show(wanted[name])} here"
        for name in wanted
        if name in stored and show(stored[name]) != show(wanted[name])
    ]
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise ValueError(
            f"the checkpoint holds another state than this run builds: {'; '.join(problems[:3])}{more}: "
            "resume with the model and optimizer it was saved with"
        )


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _stored_form(leaf: Any) -> Any:
    """A leaf of the template as it is on disk."""
    if _is_key(leaf):
        data = jax.eval_shape(jax.random.key_data, leaf)
        return jax.ShapeDtypeStruct(data.shape, data.dtype, sharding=getattr(leaf, "sharding", None))
    return leaf if isinstance(leaf, (jax.Array, jax.ShapeDtypeStruct)) else np.asarray(leaf)


def _restore_argument(target: Any) -> ocp.RestoreArgs:
    if isinstance(target, np.ndarray):
        return ocp.RestoreArgs(restore_type=np.ndarray)
    sharding = target.sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return ocp.ArrayRestoreArgs(sharding=sharding, global_shape=target.shape, dtype=target.dtype)


def _original_form(leaf: Any, stored: Any, entry: dict[str, Any]) -> Any:
    if _is_key(leaf):
        return jax.random.wrap_key_data(stored, impl=entry["generator"])
    if isinstance(leaf, (bool, int, float, complex)):
        return stored.item()
    return stored
