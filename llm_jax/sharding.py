"""Maps dimension letters to mesh axes: one table for data, fully sharded and tensor parallelism.

The mesh has three axes. `data` splits the batch and replicates the parameters. `fsdp` splits the batch and also the
parameters' model width (ZeRO-3, Rajbhandari et al. 2020); XLA gathers a weight where it is used. `tensor` splits heads,
MLP width and vocabulary (Megatron, Shoeybi et al. 2019). Arrays carry letters (`llm_jax.shapes`), the table below maps
letters to axes, and XLA's partitioner inserts the communication.

A mesh axis can split only one dimension of an array: the first one whose letter maps to the axis. In "BTD", `fsdp`
splits the batch, and the width is not split; in "DF", a weight, `fsdp` splits the width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from llm_jax.config import DecoderConfig

AXES = ("data", "fsdp", "tensor")

RULES: dict[str, tuple[str, ...]] = {
    "B": ("data", "fsdp"),
    "D": ("fsdp",),
    "N": ("tensor",),
    "K": ("tensor",),
    "F": ("tensor",),
    "V": ("tensor",),
}


def make_mesh(data: int, fsdp: int, tensor: int, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh of data × fsdp × tensor devices. With `data=0`, the data axis gets all devices that the others leave.

    Raises:
        ValueError: the product is not the number of devices.
    """
    devices = jax.devices() if devices is None else list(devices)
    if not devices:
        raise ValueError("a mesh needs at least one device; got an empty list")
    if data < 0 or fsdp < 1 or tensor < 1:
        raise ValueError(
            f"mesh axes must be at least 1 (data may be 0: the rest); got data={data}, fsdp={fsdp}, tensor={tensor}"
        )
    if data == 0:
        data = max(1, len(devices) // (fsdp * tensor))
    if data * fsdp * tensor != len(devices):
        raise ValueError(
            f"the mesh data={data} × fsdp={fsdp} × tensor={tensor} needs {data * fsdp * tensor} devices, but JAX sees "
            f"{len(devices)} ({devices[0].platform}): change the mesh flags, or give the job the devices it asks for"
        )
    return jax.make_mesh((data, fsdp, tensor), AXES, axis_types=(AxisType.Auto,) * 3, devices=devices)


def check_divides(config: DecoderConfig, mesh: Mesh) -> None:
    """Checks that the mesh axes divide the model's dimensions.

    Raises:
        ValueError: a dimension cannot be split evenly over its mesh axis.
    """
    sizes = {
        "d_model": (config.d_model, "fsdp"),
        "n_heads": (config.n_heads, "tensor"),
        "n_kv_heads": (config.kv_heads, "tensor"),
        "d_hidden": (config.d_hidden, "tensor"),
        "padded vocabulary": (config.padded_vocab_size, "tensor"),
    }
    for name, (size, axis) in sizes.items():
        if size % mesh.shape[axis]:
            raise ValueError(f"mesh axis {axis}={mesh.shape[axis]} must divide the model's {name}={size}")


def spec(letters: str) -> PartitionSpec:
    """The dimension letters of an array → the mesh axes that split each dimension."""
    free = set(AXES)
    entries = []
    for letter in letters:
        axes = tuple(axis for axis in RULES.get(letter, ()) if axis in free)
        free -= set(axes)
        entries.append(axes or None)
    return PartitionSpec(*entries)


def named(mesh: Mesh, letters: str) -> NamedSharding:
    """The sharding of an array with these dimension letters; "" is replicated."""
    return NamedSharding(mesh, spec(letters))


def shardings(mesh: Mesh, letters_tree: Any) -> Any:
    """A tree of dimension letters → the same tree of shardings."""
    return jax.tree.map(lambda letters: named(mesh, letters), letters_tree)


@dataclass(frozen=True)
class Constrain:
    """Constrains the sharding of activations by their letters. The model calls it without knowing the mesh."""

    mesh: Mesh

    def __call__(self, x: jax.Array, letters: str) -> jax.Array:
        return jax.lax.with_sharding_constraint(x, named(self.mesh, letters))

    def gathered(self, table: jax.Array, letters: str) -> jax.Array:
        """The rows of a table that fsdp splits, whole on every device; its gradient is split again.

        Once, where it is first used: in a loop XLA would gather it, and sum its gradient, in every turn. Left to itself
        it also gathers what is looked up in a split table, the activations of all devices, on each of them.
        """

        @jax.custom_vjp
        def whole(table: jax.Array) -> jax.Array:
            return self(table, letters[0])

        whole.defvjp(lambda table: (whole(table), None), lambda _, gradient: (self(gradient, letters),))
        return table if self.mesh.shape["fsdp"] == 1 else whole(table)

    def summed(self, function: Callable[..., tuple[jax.Array, ...]], table_VD: jax.Array, *rows: jax.Array) -> Any:
        """The numbers that `function(table, *rows)` returns, each summed over the devices' own rows."""
        if not self._splits(rows):
            return function(self.gathered(table_VD, "VD"), *rows)

        def on_one(*arguments: jax.Array) -> tuple[jax.Array, ...]:
            return tuple(number[None] for number in function(*arguments))

        return tuple(parts.sum() for parts in self._with_table(on_one, table_VD, *rows))

    def looked_up(self, table_VD: jax.Array, tokens_BT: jax.Array) -> jax.Array:
        """The tokens' rows of a table."""
        if not self._splits((tokens_BT,)):
            return self.gathered(table_VD, "VD")[tokens_BT]
        return self._with_table(lambda table_VD, tokens_BT: table_VD[tokens_BT], table_VD, tokens_BT)

    def _splits(self, rows: Sequence[jax.Array]) -> bool:
        n_parts = self.mesh.shape["data"] * self.mesh.shape["fsdp"]
        return n_parts > 1 and len(rows[0]) % n_parts == 0

    def _with_table(self, function: Callable[..., Any], table_VD: jax.Array, *rows: jax.Array) -> Any:
        """`function(table, *rows)` on each device, of the whole table (V, D) and the device's own rows of the batch.

        So the table's gradient is summed over all rows of a device before it is sent, once. XLA's partitioner would
        send it in every turn of a loop, or all devices' activations instead. The tensor axis is left to it.
        """
        batch = ("data", "fsdp")

        def on_one(share_VD: jax.Array, *rows: jax.Array) -> Any:
            return function(jax.lax.all_gather(share_VD, "fsdp", axis=1, tiled=True), *rows)

        specs = (PartitionSpec(None, "fsdp"), *[PartitionSpec(batch)] * len(rows))
        mapped = jax.shard_map(
            on_one,
            mesh=self.mesh,
            in_specs=specs,
            out_specs=PartitionSpec(batch),
            axis_names=set(batch),
            check_vma=False,
        )
        return mapped(table_VD, *rows)

    def on_each_device(self, function: Callable[[jax.Array], jax.Array], x: jax.Array, letters: str) -> jax.Array:
        """`function` of each device's part of `x`, which must keep its shape.

        XLA's partitioner cannot split every operation: one that it does not know gets the whole array on every device.
        """
        if self.mesh.size == 1:
            return function(x)
        return jax.shard_map(function, mesh=self.mesh, in_specs=spec(letters), out_specs=spec(letters))(x)
