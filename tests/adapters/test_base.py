"""The hash of a base tells bases apart, and nothing else."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from small_models import opinionated

from llm_jax import sharding
from llm_jax.adapters import base_hash
from llm_jax.config import llama
from llm_jax.models import decoder

CONFIG = llama(vocab_size=128, context_length=16, d_model=32, n_heads=4, n_kv_heads=2, n_layers=1, mlp_width=64)


@pytest.fixture(scope="module")
def params():
    return opinionated(CONFIG, 1)


def with_weight(params, change):
    """The same parameters with another weight of the MLP."""
    block = params.blocks[0]
    up = dataclasses.replace(block.mlp.up, weight=change(block.mlp.up.weight))
    block = dataclasses.replace(block, mlp=dataclasses.replace(block.mlp, up=up))
    return dataclasses.replace(params, blocks=(block,))


def test_a_mesh_has_the_same_hash_as_one_device(params):
    mesh = sharding.make_mesh(2, 2, 2)
    placed = jax.device_put(params, sharding.shardings(mesh, decoder.dimension_letters(CONFIG)))
    assert base_hash(placed) == base_hash(params)


def test_a_format_that_holds_the_values_exactly_has_the_same_hash(params):
    rounded = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
    assert base_hash(rounded) == base_hash(jax.tree.map(lambda x: x.astype(jnp.float32), rounded))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.at[3, 5].set(jnp.nextafter(x[3, 5], jnp.inf)),  # one bit
        lambda x: x.at[3, 5].set(-x[3, 5]),
        lambda x: x.at[0].set(x[1]).at[1].set(x[0]),  # the same numbers elsewhere
        lambda x: -x,
    ],
    ids=["one bit", "one sign", "two rows exchanged", "all signs"],
)
def test_another_weight_has_another_hash(params, change):
    assert base_hash(with_weight(params, change)) != base_hash(params)


def test_equal_numbers_under_another_name_or_shape_have_another_hash(params):
    block = params.blocks[0]
    swapped = dataclasses.replace(block.mlp, up=block.mlp.gate, gate=block.mlp.up)
    other = dataclasses.replace(params, blocks=(dataclasses.replace(block, mlp=swapped),))
    assert base_hash(other) != base_hash(params)
    assert base_hash(with_weight(params, lambda x: x.reshape(64, 32))) != base_hash(params)
