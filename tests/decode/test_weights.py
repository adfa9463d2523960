"""Weights of 32, 16 and 8 bits in decoding: what is stored, what is kept, and that the function is that of the rounded
weights.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from forms import forms
from small_models import opinionated

from llm_jax.config import Execution, llama
from llm_jax.decode import loop
from llm_jax.decode.options import Sampling
from llm_jax.kernels.linear import OutputFirst
from llm_jax.kernels.narrow import Int8Rows
from llm_jax.kernels.plan import FORMULAS, ON_CPU, ON_GPU, make_plan
from llm_jax.models import decoder

LLAMA = llama(
    vocab_size=300, context_length=48, d_model=48, n_heads=4, n_kv_heads=2, n_layers=2, mlp_width=96, tied_head=False
)
PLAN = make_plan(Execution(dtype="float32"), platform="cpu")
GREEDY = Sampling(temperature=0.0)
PROMPTS = [[3, 1, 4, 1, 5], [9, 2]]


@pytest.fixture(params=["gpt2", "llama"])
def model(request, params, config):
    return (params, config) if request.param == "gpt2" else (opinionated(LLAMA, 6), LLAMA)


def rounded(params: decoder.Decoder, weights: str) -> decoder.Decoder:
    """`params` with every matrix rounded by the formula, in float32: int8 has 255 steps for each output."""

    def matrix(x, inputs=(0,)):
        if weights == "bf16":
            return x.astype(jnp.bfloat16).astype(jnp.float32)
        step = jnp.abs(x).max(axis=inputs, keepdims=True) / 127
        return jnp.round(x / step) * step

    def block(one):
        def leaf(path, x):
            name = jax.tree_util.keystr(path)
            if not name.endswith("weight"):
                return x
            return matrix(x, (0, 1) if ".out" in name else (0,))

        return jax.tree_util.tree_map_with_path(leaf, one)

    is_looked_up_alone = params.head is not None and weights == "int8"
    return dataclasses.replace(
        params,
        token_embedding=params.token_embedding if is_looked_up_alone else _by_row(matrix, params.token_embedding),
        blocks=tuple(map(block, params.blocks)),
        head=None if params.head is None else _by_row(matrix, params.head),
    )


def _by_row(matrix, x_VD):
    """Rows that pad the vocabulary are zero, and have no step."""
    return jnp.nan_to_num(matrix(x_VD, (1,)))


@pytest.mark.parametrize(("weights", "number"), [("float32", "float32"), ("bf16", "bfloat16"), ("int8", "int8")])
def test_every_matrix_is_stored_in_the_format_and_vectors_stay_float32(model, weights, number):
    params, config = model
    prepared = loop.prepare(params, PLAN, 2, weights)
    if weights == "int8" and config.tied_head:
        assert isinstance(prepared.token_embedding, Int8Rows)
    block = prepared.blocks[0]
    layers = jax.tree.leaves((block.attention, block.mlp), is_leaf=lambda x: isinstance(x, OutputFirst))
    assert len(layers) == 4
    assert all(layer.weight.dtype == number for layer in layers)
    head = prepared.head_VD
    assert (head.weight if isinstance(head, Int8Rows) else head).dtype == number
    assert prepared.norm.gain.dtype == jnp.float32
    if prepared.position_embedding is not None:
        assert prepared.position_embedding.dtype == jnp.float32
    wide = sum(x.nbytes for x in jax.tree.leaves(params))
    share = sum(x.nbytes for x in jax.tree.leaves(prepared)) / wide
    assert share < {"float32": 1.01, "bf16": 0.6, "int8": 0.55}[weights]  # an embedding beside an int8 head stays


@pytest.mark.parametrize(
    ("model", "weights"),
    forms(itertools.product(["gpt2", "llama"], ["bf16", "int8"]), [("gpt2", "int8"), ("llama", "bf16")]),
    indirect=["model"],
)
def test_decoding_is_the_full_forward_of_the_rounded_weights(model, weights):
    params, config = model
    prepared = loop.prepare(params, PLAN, 2, weights)
    whole = rounded(params, weights)
    tokens = jnp.asarray([[5, 80, 17, 200, 3, 44, 150]])

    def logits(params, plan):
        return decoder.logits(params, decoder.forward(params, tokens, config, plan)[0], config, plan)

    found, expected = logits(prepared, PLAN), logits(whole, PLAN._replace(kernels=FORMULAS))
    scale = float(jnp.abs(expected).max())
    np.testing.assert_allclose(found, expected, atol=(1e-4 if weights == "bf16" else 5e-3) * scale)
    # The rounding itself is far larger than what the kernel loses.
    given = logits(params, PLAN._replace(kernels=FORMULAS))
    assert jnp.abs(given - expected).max() > 2 * jnp.abs(found - expected).max()
    assert loop.generate(prepared, PROMPTS, config, PLAN, GREEDY, 9) == loop.generate(
        whole, PROMPTS, config, PLAN, GREEDY, 9
    )


@pytest.mark.parametrize("weights", ["float32", "bf16", "int8"])
def test_one_row_decodes_as_in_a_batch(model, weights):
    params, config = model
    together = loop.generate(loop.prepare(params, PLAN, 2, weights), PROMPTS, config, PLAN, GREEDY, 9)
    alone = loop.generate(loop.prepare(params, PLAN, 1, weights), PROMPTS[:1], config, PLAN, GREEDY, 9)
    assert alone == together[:1]


@pytest.mark.parametrize("weights", ["auto", "float32", "bf16", "int8"])
def test_parameters_that_are_consumed_are_deleted_unless_they_are_used_as_they_are(config, weights):
    params = opinionated(config, 6)
    prepared = loop.prepare(params, PLAN, 1, weights, consumes=True)
    assert not any(x.is_deleted() for x in jax.tree.leaves(prepared))
    matrices = [block.mlp.up.weight for block in params.blocks]
    assert all(matrix.is_deleted() for matrix in matrices)
    assert params.token_embedding.is_deleted() == (weights in ("bf16", "int8"))
    assert loop.generate(prepared, [[1]], config, PLAN, GREEDY, 2)


@pytest.mark.parametrize(
    ("plan", "where"),
    [
        (PLAN._replace(kernels=FORMULAS), "kernels=plain"),
        (PLAN._replace(kernels=ON_GPU, platform="gpu"), "a GPU"),
    ],
)
def test_int8_is_refused_where_there_is_no_kernel_for_it(params, plan, where):
    with pytest.raises(ValueError, match=f"int8 needs the kernels for CPUs, which {where} has not"):
        loop.prepare(params, plan, 1, "int8")
    assert loop.prepare(params, plan, 1, "bf16").token_embedding.dtype == jnp.bfloat16


def test_the_plan_for_cpus_has_the_kernels():
    assert ON_CPU.store is not None
