"""A small state with every kind of leaf, meshes of fake devices, and ways to damage files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec


@pytest.fixture
def state() -> dict[str, Any]:
    """Matrices, a bfloat16 vector, counters, random keys of two generators, Python and numpy numbers, empty nodes."""
    weights = jax.random.normal(jax.random.key(0), (16, 8))
    return {
        "params": {"weight": weights, "nested": ({"bias": jnp.arange(8, dtype=jnp.bfloat16)}, None)},
        "optimizer": (jnp.square(weights), ()),
        "step": jnp.int32(7),
        "key": jax.random.key(3),
        "keys": jax.random.split(jax.random.key(4, impl="rbg"), 2),
        "best": np.float64(0.1),
        "skipped": 2**40,
        "scale": 0.1,
        "done": False,
    }


@pytest.fixture
def template() -> Callable[[Any], Any]:
    """State → what `restore` needs to know of it: shapes, dtypes and shardings; numbers stay numbers."""

    def describe(leaf):
        if isinstance(leaf, jax.Array):
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
        return leaf

    return lambda tree: jax.tree.map(describe, tree)


@pytest.fixture
def sharded() -> Callable[[int], NamedSharding]:
    """Rows split over the first N of the eight fake devices."""
    return lambda count: NamedSharding(Mesh(np.array(jax.devices()[:count]), ("fsdp",)), PartitionSpec("fsdp"))


@pytest.fixture
def assert_equal() -> Callable[[Any, Any], None]:
    """Two trees agree in structure, in the types and dtypes of their leaves, and in every bit."""

    def plain(leaf):
        is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if is_key else leaf)

    def compare(found, expected):
        assert jax.tree.structure(found) == jax.tree.structure(expected)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            assert isinstance(a, jax.Array) == isinstance(b, jax.Array)
            assert getattr(a, "dtype", type(a)) == getattr(b, "dtype", type(b))
            assert plain(a).shape == plain(b).shape
            assert plain(a).tobytes() == plain(b).tobytes()

    return compare


@pytest.fixture
def flip() -> Callable[[Path, int], None]:
    """Inverts one bit of the byte at a position (negative: from the end)."""

    def invert(path: Path, position: int) -> None:
        content = bytearray(path.read_bytes())
        content[position] ^= 1
        path.write_bytes(content)

    return invert


@pytest.fixture
def truncate() -> Callable[[Path, int], None]:
    """Cuts bytes off the end."""

    def cut(path: Path, count: int) -> None:
        path.write_bytes(path.read_bytes()[:-count])

    return cut
