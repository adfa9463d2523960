"""Packed rows: several texts in one row have the losses and gradients that each has alone."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from forms import forms
from small_models import opinionated

from llm_jax.config import DecoderConfig, Execution
from llm_jax.kernels.plan import FORMULAS, ON_CPU, make_plan
from llm_jax.layers import packing
from llm_jax.layers.attention import causal_attend, packed_attend
from llm_jax.models import decoder

LENGTHS = (5, 9, 2, 16)  # tokens of the texts; 32 in all
WIDTH = 40  # of the packed row
GPT2 = DecoderConfig(vocab_size=61, context_length=64, d_model=32, n_heads=4, n_layers=2)
LLAMA = DecoderConfig(
    vocab_size=61,
    context_length=64,
    d_model=32,
    n_heads=4,
    n_layers=2,
    n_kv_heads=2,
    mlp_width=48,
    norm="rms",
    positions="rotary",
    gated_mlp=True,
    activation="silu",
    attention_bias="none",
    mlp_bias=False,
    tied_head=False,
)
SHAPES = {"GPT-2": GPT2, "Llama": LLAMA}
KERNELS = {"formula": FORMULAS, "in pieces": ON_CPU}


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(3)
    return [rng.integers(0, 61, length) for length in LENGTHS]


def packed(texts, width=WIDTH):
    """(inputs, targets, weights, segments) of one row; the last token of a text has no target of its own."""
    row, segments = np.zeros(width + 1, int), np.full(width + 1, len(texts))
    weights, at = np.zeros(width + 1, np.float32), 0
    for number, text in enumerate(texts):
        row[at : at + len(text)], segments[at : at + len(text)] = text, number
        weights[at + 1 : at + len(text)] = 1 + np.arange(len(text) - 1) % 2
        at += len(text)
    return tuple(jnp.asarray(x)[None] for x in (row[:-1], row[1:], weights[1:], segments[:-1]))


def plan_of(kernels, **execution):
    return make_plan(Execution(dtype="float32", **execution), platform="cpu")._replace(kernels=KERNELS[kernels])


@partial(jax.jit, static_argnums=(5, 6))
def loss_and_gradient(params, inputs, targets, weights, segments, config, plan):
    def total(params):
        return decoder.loss(params, inputs, targets, config, plan, weights, segments)

    return jax.value_and_grad(total, has_aux=True)(params)


def alone(params, texts, config, plan):
    """The sum over texts, each in a row of its own."""
    parts = []
    for text in texts:
        inputs, targets, weights, _ = packed([text], len(text) - 1)
        parts.append(loss_and_gradient(params, inputs, targets, weights, None, config, plan))
    return jax.tree.map(lambda *leaves: sum(leaves), *parts)


def assert_same(found, expected, rtol=1e-6):
    (loss, weight), gradients = found
    (loss_alone, weight_alone), gradients_alone = expected
    np.testing.assert_allclose(loss, loss_alone, rtol=rtol)
    assert weight == weight_alone
    for a, b in zip(jax.tree.leaves(gradients), jax.tree.leaves(gradients_alone), strict=True):
        np.testing.assert_allclose(a, b, rtol=10 * rtol, atol=3 * rtol * float(np.abs(b).max()))


@pytest.mark.parametrize(
    ("shape", "kernels"),
    forms(itertools.product(SHAPES, KERNELS), [("GPT-2", "in pieces"), ("Llama", "formula")]),
)
def test_a_packed_row_has_the_loss_and_the_gradient_of_its_texts_alone(shape, kernels, texts):
    config, plan = SHAPES[shape], plan_of(kernels)
    params = opinionated(config, 4.0)
    assert_same(loss_and_gradient(params, *packed(texts), config, plan), alone(params, texts, config, plan))


@pytest.mark.parametrize("execution", [{"scan_layers": True}, {"remat": True}])
def test_packing_goes_together_with_scanned_and_rematerialised_layers(execution, texts):
    params = opinionated(LLAMA, 4.0)
    found = loss_and_gradient(params, *packed(texts), LLAMA, plan_of("in pieces", **execution))
    assert_same(found, loss_and_gradient(params, *packed(texts), LLAMA, plan_of("in pieces")))


@pytest.mark.long
@pytest.mark.parametrize("shape", SHAPES)
def test_texts_longer_than_a_piece_of_the_queries_are_kept_apart(shape):
    """The kernel computes 128 queries and more in four pieces: texts cross their borders."""
    rng = np.random.default_rng(5)
    texts = [rng.integers(0, 61, length) for length in (50, 7, 90, 33)]
    config = DecoderConfig(**{**SHAPES[shape].__dict__, "context_length": 256})
    params = opinionated(config, 4.0)
    plan = plan_of("in pieces")
    assert_same(loss_and_gradient(params, *packed(texts, 190), config, plan), alone(params, texts, config, plan), 3e-6)


def _shifted_by_one(q, k, v, starts_BT):
    return packed_attend(q, k, v, jnp.maximum(starts_BT - 1, 0))


def _without_segments(q, k, v, starts_BT):
    return causal_attend(q, k, v)


@pytest.mark.parametrize("shape", forms(SHAPES, ["Llama"]))
@pytest.mark.parametrize("fault", [_shifted_by_one, _without_segments])
def test_texts_that_see_each_other_have_another_loss(fault, shape, texts):
    """What the tests above would see: the loss moves by a hundred times their tolerance and more."""
    config, plan = SHAPES[shape], plan_of("formula")
    params = opinionated(config, 4.0)
    faulty = plan._replace(kernels=plan.kernels._replace(packed_attend=fault))
    found, expected = (loss_and_gradient(params, *packed(texts), config, one)[0][0] for one in (faulty, plan))
    assert abs(found / expected - 1) > 1e-4


def test_positions_that_go_on_have_another_loss_where_they_are_learned(texts, monkeypatch):
    """Rotary ones do not: a score depends on how far query and key are apart."""
    inputs, targets, weights, segments = packed(texts)
    kept = packing.starts(segments)

    def attend(q, k, v, starts_BT):
        return packed_attend(q, k, v, kept)

    moved = {}
    for shape, config in SHAPES.items():
        plan, params = plan_of("formula"), opinionated(config, 4.0)
        expected = decoder.loss(params, inputs, targets, config, plan, weights, segments)[0]
        with monkeypatch.context() as patch:
            patch.setattr(packing, "starts", jnp.zeros_like)
            faulty = plan._replace(kernels=plan.kernels._replace(packed_attend=attend))
            found = decoder.loss(params, inputs, targets, config, faulty, weights, segments)[0]
        moved[shape] = abs(float(found / expected) - 1)
    assert moved["GPT-2"] > 1e-4
    assert moved["Llama"] < 1e-5


def test_without_segments_the_program_is_the_one_of_ordinary_rows(texts):
    params = jax.eval_shape(lambda: decoder.init(jax.random.key(0), GPT2))
    inputs, targets, weights, segments = packed(texts)

    def program(segments):
        traced = jax.make_jaxpr(
            lambda p: decoder.loss(p, inputs, targets, GPT2, plan_of("in pieces"), weights, segments)
        )
        return str(traced(params))

    assert "cummax" in program(segments)
    assert "cummax" not in program(None)


def test_packed_rows_are_refused_where_they_cannot_be_computed(texts):
    inputs, _, _, segments = packed(texts)
    params, plan = decoder.init(jax.random.key(0), GPT2), plan_of("formula")
    cache = decoder.empty_cache(GPT2, 1, WIDTH, jnp.float32)
    with pytest.raises(ValueError, match="no cache"):
        decoder.forward(params, inputs, GPT2, plan, cache, segments_BT=segments)
    on_gpu = make_plan(Execution(attention="cudnn"), platform="gpu")
    assert on_gpu.attention == "cudnn"
    with pytest.raises(ValueError, match="attention=cudnn does not keep the texts of a packed row apart"):
        decoder.forward(params, inputs, GPT2, on_gpu, segments_BT=segments)


def test_the_plan_names_the_kernel_of_packed_rows():
    assert make_plan(Execution(kernels="plain"), platform="cpu").packed_attention == "plain"
    for platform in ("cpu", "gpu"):
        assert make_plan(Execution(), platform=platform).packed_attention == "xla"
