"""Every kernel against its formula: the same value and the same gradients, over shapes, formats and masks.

Any kernel runs here on any machine, for it is called by its name and not chosen by the device. cuDNN's attention alone
needs one: JAX computes the same call without it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.kernels.attention.cached import attend_in_cache_layout
from llm_jax.kernels.attention.cudnn import attend_by_cudnn
from llm_jax.kernels.attention.in_pieces import (
    attend_branched_in_pieces,
    attend_in_pieces,
    attend_packed_in_pieces,
)
from llm_jax.kernels.gelu import gelu_tanh_from_x
from llm_jax.kernels.linear import linear_on_cpu, linear_on_gpu, output_first
from llm_jax.kernels.logits import logits_of_few
from llm_jax.kernels.loss import _one_reading, cross_entropy_on_cpu, cross_entropy_on_gpu
from llm_jax.kernels.norm import layer_norm_by_hand, rms_norm_by_hand
from llm_jax.kernels.plan import FORMULAS, ON_CPU, ON_GPU
from llm_jax.kernels.products import summed_product, transposed_product
from llm_jax.kernels.projections_apart import projections_apart
from llm_jax.kernels.stream import width_innermost
from llm_jax.kernels.weighted import sums_of_weighted, total_of_weighted
from llm_jax.layers.attention import branched_attend, cached_attend, causal_attend, packed_attend
from llm_jax.layers.cache import LayerCache
from llm_jax.layers.linear import Linear, linear
from llm_jax.layers.loss import cross_entropy, logits_of, of_all, token_losses
from llm_jax.layers.mlp import gelu_tanh
from llm_jax.layers.norm import Norm, RMSNorm, layer_norm, rms_norm
from llm_jax.layers.projections import queries_keys_values

LAYERS = (Linear, Norm)  # their parameters stay float32, whatever the format of what flows through them


@dataclass(frozen=True)
class Case:
    """One kernel for one shape; `inputs` draws its arguments, all of which are differentiated."""

    kernel: Callable[..., Any]
    formula: Callable[..., Any]
    inputs: tuple[Any, ...]  # shapes, or a layer of shapes
    form: str
    called: Callable[..., Any] | None = None  # how the kernel is called, where it is not by the inputs alone
    spread: float = 1.0
    in_bfloat16: bool = True

    def __str__(self) -> str:
        return f"{getattr(self.kernel, '__name__', '?')}-{self.form}"


def attention_cases():
    for shape in ((2, 1, 3, 8), (1, 7, 12, 8), (2, 127, 1, 4), (1, 131, 2, 24)):
        form = "×".join(map(str, shape))
        yield Case(attend_in_pieces, causal_attend, (shape,) * 3, form)
        yield Case(attend_by_cudnn, causal_attend, (shape,) * 3, form, partial(attend_by_cudnn, implementation="xla"))
    for queries, keys in (((2, 16, 4, 8), (2, 16, 2, 8)), ((1, 131, 6, 8), (1, 131, 2, 8))):
        form = f"{queries[1]} tokens, {keys[2]} of {queries[2]} heads"
        yield Case(attend_in_pieces, causal_attend, (queries, keys, keys), form)
        starts = jnp.asarray(np.sort(np.random.default_rng(0).integers(0, 9, queries[:2]), axis=1) * queries[1] // 9)
        starts = jnp.minimum(starts, jnp.arange(queries[1]))
        packed = [partial(attend, starts_BT=starts) for attend in (packed_attend, attend_packed_in_pieces)]
        yield Case(attend_packed_in_pieces, packed[0], (queries, keys, keys), f"packed, {form}", packed[1])
        ends = np.array([0.3, 0.5, 0.6, 1.0]) * queries[1]  # of the common beginning and of three branches
        branches = jnp.asarray(np.searchsorted(ends, np.arange(queries[1]), "right"))[None].repeat(queries[0], 0)
        branched = [partial(attend, branches_BT=branches) for attend in (branched_attend, attend_branched_in_pieces)]
        yield Case(attend_branched_in_pieces, branched[0], (queries, keys, keys), f"branched, {form}", branched[1])
    yield Case(attend_by_cudnn, causal_attend, ((1, 6, 1, 136),) * 3, "wider than cuDNN takes")


def cache_cases():
    for rows, heads, length, slots in ((1, 1, 1, 1), (2, 3, 1, 9), (3, 2, 4, 13), (8, 12, 1, 33)):
        seen = np.random.default_rng(slots).integers(1, slots + 1, (rows, length))
        mask = jnp.asarray(np.arange(slots) < seen[..., None]) ^ jnp.asarray(slots > 4 and np.arange(slots) == 1)
        mask = mask.at[:, :, 0].set(True)  # a query sees at least itself

        def call(attend, q, k, v, mask=mask):
            return attend(q, LayerCache(k, v), mask)

        shapes = ((rows, length, heads, 8), (rows * heads, slots, 8), (rows * heads, slots, 8))
        form = f"{rows} rows, {length} queries, {slots} slots"
        kernel, formula = partial(call, attend_in_cache_layout), partial(call, cached_attend)
        yield Case(attend_in_cache_layout, formula, shapes, form, kernel)


def linear_cases():
    for rows in (1, 5, 6, 16, 17):
        layer = Linear((24, 3, 8), (3, 8))  # type: ignore[arg-type]
        yield Case(linear_on_cpu, linear, (layer, (rows, 24)), f"{rows} rows")
        yield Case(linear_on_gpu, linear, (layer, (rows, 24)), f"{rows} rows")
        stored = lambda layer, x: linear_on_cpu(output_first(layer), x)  # noqa: E731
        yield Case(output_first, linear, (layer, (rows, 24)), f"{rows} rows", stored)
    layer = Linear((2, 3, 4, 5), (4, 5))  # type: ignore[arg-type]
    for rows in (1, 7):
        inputs, formula = (layer, (1, rows, 2, 3)), partial(linear, n_inputs=2)
        for kernel in (linear_on_cpu, linear_on_gpu):
            yield Case(kernel, formula, inputs, f"two inputs, {rows} rows", partial(kernel, n_inputs=2))
        stored = lambda layer, x: linear_on_cpu(output_first(layer, 2), x, n_inputs=2)  # noqa: E731
        yield Case(output_first, formula, inputs, f"two inputs, {rows} rows", stored)
    for heads, length in ((1, 1), (2, 5), (12, 7)):
        inputs = (Linear((8, 3, heads, 4), (3, heads, 4)), (2, length, 8))  # type: ignore[arg-type]
        # XLA for CPUs has no product of bfloat16 into float32 of this form.
        yield Case(projections_apart, queries_keys_values, inputs, f"{heads} heads, {length} tokens", in_bfloat16=False)
    for x, y in ((3, 5), (40, 3), (3, 40)):
        shapes, formula = ((2, 7, x), (2, 7, y)), partial(jnp.einsum, "bti,bto->io", preferred_element_type=jnp.float32)
        for kernel in (summed_product, transposed_product):
            yield Case(kernel, formula, shapes, f"{x}×{y}")


def loss_cases():
    for kernel in (cross_entropy_on_cpu, cross_entropy_on_gpu):
        for batch, length, n_chunks in ((1, 1, 1), (3, 7, 1), (3, 7, 7), (2, 130, 2)):
            rng = np.random.default_rng(length)
            targets = jnp.asarray(rng.integers(0, 50, (batch, length)))
            ragged = jnp.asarray(rng.uniform(0.2, 2, (batch, length)), jnp.float32)
            holes = ragged * (np.arange(batch * length).reshape(batch, length) % 3 != 1)
            marked = jnp.where(np.arange(length) % 4 == 2, -100, targets)
            masks = {"ragged": (targets, ragged), "holes": (marked, holes)}
            for form, (t, w) in masks.items() if length == 7 else [("ragged", masks["ragged"])]:

                def call(entropy, hidden, head, t=t, w=w, n_chunks=n_chunks):
                    total, weight = entropy(hidden, head, t, w, 50, n_chunks)
                    return total / jax.lax.stop_gradient(weight), weight

                shapes = ((batch, length, 16), (64, 16))
                name = f"{form}, {batch}×{length}, {n_chunks} slices"
                yield Case(kernel, partial(call, cross_entropy), shapes, name, partial(call, kernel))
    for rows in ((1,), (5, 1), (64,), (65,)):

        def of(logits, hidden, head):
            return logits(hidden, head, 50)[..., :50]

        yield Case(
            logits_of_few, partial(of, logits_of), ((*rows, 16), (64, 16)), f"{rows}", partial(of, logits_of_few)
        )


def weighted_cases():
    def total(hidden, head, targets, weights):
        return cross_entropy(hidden, head, targets, weights, 50)[0]

    def sums(hidden, head, targets, weights):
        return -(token_losses(hidden, head, targets, 50) * weights).sum(axis=1)

    for batch, length in ((1, 1), (3, 7), (4, 40)):
        rng = np.random.default_rng(length)
        targets = jnp.asarray(rng.integers(0, 50, (batch, length)))
        weights = rng.uniform(0.2, 2, (batch, length))
        for share in (0.0, 0.1, 0.4, 0.7, 1.0):  # of the positions
            here = jnp.asarray(
                weights * (rng.permuted(np.arange(batch * length)) < share * batch * length).reshape(weights.shape)
            )

            def call(which, loss, hidden, head, t=targets, w=here):
                return which(loss, hidden, head, t, w)

            for kernel, loss in ((total_of_weighted, total), (sums_of_weighted, sums)):
                shapes, form = ((batch, length, 16), (64, 16)), f"{batch}×{length}, {share:.0%}"
                yield Case(kernel, partial(call, of_all, loss), shapes, form, partial(call, kernel, loss))


def other_cases():
    for shape in ((1, 1, 8), (2, 5, 16), (1, 3, 768)):
        call = lambda norm, gain, x: norm(RMSNorm(gain), x, 1e-5)  # noqa: E731
        yield Case(
            rms_norm_by_hand,
            partial(call, rms_norm),
            ((shape[-1],), shape),
            f"{shape}",
            partial(call, rms_norm_by_hand),
        )
        norm = Norm((shape[-1],), (shape[-1],))  # type: ignore[arg-type]
        for epsilon in (1e-5, 0.5):
            calls = [
                partial(lambda f, e, norm, x: f(norm, 3 + 2 * x, e), f, epsilon)
                for f in (layer_norm_by_hand, layer_norm)
            ]
            yield Case(layer_norm_by_hand, calls[1], (norm, shape), f"{shape}, ε {epsilon}", calls[0])
        yield Case(width_innermost, lambda x: x, (shape,), f"{shape}")
        yield Case(gelu_tanh_from_x, gelu_tanh, (shape,), f"{shape}", spread=3.0)


CASES = [*attention_cases(), *cache_cases(), *linear_cases(), *loss_cases(), *weighted_cases(), *other_cases()]


def draw(rng: np.random.Generator, spec: Any, dtype: Any, spread: float = 1.0) -> Any:
    if isinstance(spec, LAYERS):
        return type(spec)(**{name: draw(rng, shape, jnp.float32) for name, shape in vars(spec).items()})
    return jnp.asarray(spread * rng.normal(size=spec), jnp.float32).astype(dtype)


@pytest.mark.parametrize(
    ("case", "dtype"),
    [(case, dtype) for case in CASES for dtype in (jnp.float32, jnp.bfloat16)[: 1 + case.in_bfloat16]],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_kernel_is_its_formula_in_value_and_gradients(case: Case, dtype):
    """In float32 to rounding; in bfloat16 as near to the float32 formula as roundings allow, in the same formats."""
    rng = np.random.default_rng(0)
    inputs = tuple(draw(rng, spec, dtype, case.spread) for spec in case.inputs)
    shapes = jax.eval_shape(case.formula, *inputs)
    d = jax.tree.map(lambda x: draw(rng, x.shape, x.dtype), shapes)  # another one for every number of the output

    @jax.jit
    def both(inputs, d):
        value, pull = jax.vjp(case.called or case.kernel, *inputs)
        inputs, d_wide = jax.tree.map(lambda x: x.astype(jnp.float32), (inputs, d))
        expected, pull_expected = jax.vjp(case.formula, *inputs)
        return (value, pull(d)), (expected, pull_expected(d_wide))

    (value, gradients), expected = both(inputs, d)
    assert jax.tree.map(lambda x: x.dtype, value) == jax.tree.map(lambda x: x.dtype, shapes)
    assert jax.tree.map(lambda x: x.dtype, gradients) == jax.tree.map(lambda x: x.dtype, inputs)
    bound = 1e-5 if dtype == jnp.float32 else 6 * 2**-8
    for found, wanted in zip(jax.tree.leaves((value, gradients)), jax.tree.leaves(expected), strict=True):
        found, wanted = (np.asarray(x, np.float64) for x in (found, wanted))
        # A gradient that is zero but for rounding (one key to attend to) has no scale of its own.
        assert np.linalg.norm(found - wanted) <= bound * max(np.linalg.norm(wanted), 1e-2)


def test_every_kernel_of_every_plan_has_a_case():
    named = {f for plan in (ON_CPU, ON_GPU) for f, formula in zip(plan, FORMULAS, strict=True) if f is not formula}
    kernels = {f for f in named if callable(f)} | {attend_by_cudnn, projections_apart}
    assert kernels <= {case.kernel for case in CASES}


def test_gelu_from_x_is_the_formula_to_float64_rounding():
    with jax.enable_x64(True):
        x = jnp.concatenate([jnp.linspace(-12, 12, 97), jnp.array([0.0, -1e-9, 60.0, -60.0])])
        found, expected = (jax.vjp(f, x)[1](jnp.cos(x))[0] for f in (gelu_tanh_from_x, gelu_tanh))
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_largest_and_sum_come_from_one_reading():
    logits = 30 * jax.random.normal(jax.random.key(1), (4, 301))
    logits = logits.at[0].set(-jnp.inf).at[0, 7].set(2.0).at[1, 100:].set(-jnp.inf).at[2].add(1e4)
    largest, sums = _one_reading(logits)
    wide = np.asarray(logits, np.float64)
    np.testing.assert_array_equal(largest, wide.max(-1))
    np.testing.assert_allclose(sums, np.exp(wide - wide.max(-1, keepdims=True)).sum(-1), rtol=1e-6)


def test_future_keys_change_nothing_in_any_causal_attention():
    q, k, v = (jax.random.normal(jax.random.key(i), (1, 130, 2, 8)) for i in range(3))
    for attend in map(jax.jit, (attend_in_pieces, partial(attend_by_cudnn, implementation="xla"))):
        changed = attend(q, k.at[:, 70:].add(100.0), v.at[:, 70:].add(100.0))
        np.testing.assert_array_equal(changed[:, :70], attend(q, k, v)[:, :70])


def test_positions_without_a_weight_are_not_multiplied_by_the_vocabulary():
    """The compiled program has a product for each number of positions; one of an eighth runs for an eighth."""

    def product_rows(share: float) -> int:
        asked = []

        def loss(hidden, head, targets, weights):
            jax.debug.callback(lambda h: asked.append(h.shape[1]), hidden)
            return cross_entropy(hidden, head, targets, weights, 50)[0]

        weights = (jnp.arange(64) < 64 * share).astype(jnp.float32).reshape(2, 32)
        hidden, head, targets = jnp.ones((2, 32, 8)), jnp.ones((64, 8)), jnp.zeros((2, 32), jnp.int32)
        jax.jit(partial(total_of_weighted, loss))(hidden, head, targets, weights).block_until_ready()
        jax.effects_barrier()
        assert len(asked) == 1
        return asked[0]

    assert [product_rows(share) for share in (0.0, 0.1, 0.25, 0.3, 1.0)] == [8, 8, 16, 24, 64]
