"""What is computed in another way on a GPU, computed here in that way: the results are the same.

The kernels themselves need the machine (`benchmarks/gpu.py`); that XLA compiles them does not
(`benchmarks/gpu_compiled.py`).
"""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.config import Execution, GPTConfig
from llm_jax.decode import loop
from llm_jax.decode.options import Sampling
from llm_jax.layers import loss
from llm_jax.layers.linear import init_linear, linear, linear_apart
from llm_jax.layers.loss import cross_entropy
from llm_jax.layers.mlp import gelu
from llm_jax.models import gpt

CONFIG = GPTConfig(vocab_size=90, context_length=24, d_model=32, n_heads=4, n_layers=2)


@pytest.fixture
def on_gpu(monkeypatch):
    """The library takes this for a GPU. cuDNN's attention is replaced by XLA's, with what cuDNN's would refuse."""
    attend = jax.nn.dot_product_attention

    def like_cudnn(q, k, v, is_causal, implementation):
        assert implementation == "cudnn"
        assert q.shape[1] % 2 == 0
        assert q.shape[3] % 8 == 0
        return attend(q, k, v, is_causal=is_causal)

    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax.nn, "dot_product_attention", like_cudnn)


def close(found, expected, rtol: float = 1e-5):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * float(jnp.abs(b).max()))


def test_gelu_and_its_gradient_are_those_of_the_tanh_form(on_gpu):
    with jax.enable_x64(True):
        x = jnp.concatenate([jnp.linspace(-12, 12, 97), jnp.array([0.0, -1e-9, 60.0, -60.0])])
        plain = partial(jax.nn.gelu, approximate=True)
        np.testing.assert_array_equal(gelu(x), plain(x))
        found, expected = (jax.vjp(f, x)[1](jnp.cos(x))[0] for f in (gelu, plain))
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("parts", [1, 3])
def test_products_apart_are_one_product_cut_up(parts):
    keys = jax.random.split(jax.random.key(0), 3)
    layer = init_linear(keys[0], (8,), (parts, 2, 4), std=1.0)
    layer = layer.__class__(weight=layer.weight, bias=jax.random.normal(keys[1], layer.bias.shape))
    x = jax.random.normal(keys[2], (2, 5, 8))

    def whole(layer, x):
        return tuple(jnp.moveaxis(linear(layer, x), 2, 0))

    def weighed(f, layer, x):  # each part weighed in its own way, or gradients of exchanged parts would agree
        return sum((number + 1) * jnp.sin(part).sum() for number, part in enumerate(f(layer, x)))

    close(linear_apart(layer, x), whole(layer, x))
    found, expected = (jax.grad(partial(weighed, f), argnums=(0, 1))(layer, x) for f in (linear_apart, whole))
    close(found, expected)


def test_largest_and_sum_come_from_one_reading(on_gpu):
    logits = 30 * jax.random.normal(jax.random.key(1), (4, 301))
    logits = logits.at[0].set(-jnp.inf).at[0, 7].set(2.0).at[1, 100:].set(-jnp.inf).at[2].add(1e4)
    largest, sums = loss._largest_and_sum(logits)
    wide = np.asarray(logits, np.float64)
    np.testing.assert_array_equal(largest, wide.max(-1))
    np.testing.assert_allclose(sums, np.exp(wide - wide.max(-1, keepdims=True)).sum(-1), rtol=1e-6)


@pytest.mark.parametrize("n_chunks", [1, 3])
def test_loss_and_gradients_are_those_of_a_cpu(monkeypatch, n_chunks):
    keys = jax.random.split(jax.random.key(2), 4)
    hidden, embedding = jax.random.normal(keys[0], (2, 6, 16)), jax.random.normal(keys[1], (64, 16))
    targets, weights = jax.random.randint(keys[2], (2, 6), 0, 50), jax.random.uniform(keys[3], (2, 6))

    def both():
        f = jax.value_and_grad(cross_entropy, argnums=(0, 1))
        return f(hidden, embedding, targets, weights, 50, n_chunks)

    expected = both()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    close(both(), expected)


@pytest.mark.parametrize("length", [12, 13])
@pytest.mark.parametrize("n_heads", [4, 8])  # of width 8, and of width 4, which cuDNN has no kernel for
def test_the_model_is_the_same_function(on_gpu, monkeypatch, length, n_heads):
    config = replace(CONFIG, n_heads=n_heads)
    params = gpt.init(jax.random.key(3), config)
    tokens = jax.random.randint(jax.random.key(4), (2, length + 1), 0, 90)
    how = gpt.plan(Execution(dtype="float32"))
    cudnn, xla = how._replace(kernel="cudnn"), how

    def both(how):
        return jax.value_and_grad(gpt.loss)(params, tokens[:, :-1], tokens[:, 1:], config, how)

    found = both(cudnn)
    monkeypatch.undo()
    close(found, both(xla), rtol=2e-5)


def test_one_prompt_is_decoded_as_two_rows_of_which_one_is_shown(monkeypatch):
    params, how = gpt.init(jax.random.key(5), CONFIG), gpt.plan(Execution(dtype="float32"))
    answer = partial(loop.generate, params, [[3, 1, 4]], CONFIG, how, Sampling(seed=2), 12)
    expected = answer()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert loop._pad([[3, 1, 4]])[0].shape[0] == 2
    assert answer() == expected
