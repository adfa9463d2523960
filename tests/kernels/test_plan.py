"""A plan: decided from platform and flags alone; and the model is the same function under all of them."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from forms import forms

from llm_jax.config import DecoderConfig, Execution
from llm_jax.kernels.attention.cudnn import attend_by_cudnn
from llm_jax.kernels.attention.in_pieces import attend_in_pieces
from llm_jax.kernels.plan import FORMULAS, ON_CPU, ON_GPU, make_plan
from llm_jax.models import decoder

CONFIG = DecoderConfig(vocab_size=90, context_length=24, d_model=32, n_heads=4, n_layers=2)
LIBRARY = Path(__file__).resolve().parents[2] / "llm_jax"


@pytest.mark.parametrize(
    ("execution", "platform", "dtype", "attention"),
    [
        (Execution(), "cpu", "float32", "xla"),
        (Execution(), "gpu", "bfloat16", "cudnn"),
        (Execution(dtype="float32"), "gpu", "float32", "xla"),
        (Execution(attention="xla"), "gpu", "bfloat16", "xla"),
        (Execution(attention="cudnn"), "gpu", "bfloat16", "cudnn"),
        (Execution(dtype="bfloat16"), "cpu", "bfloat16", "xla"),
        (Execution(kernels="plain"), "cpu", "float32", "plain"),
        (Execution(kernels="plain"), "gpu", "bfloat16", "plain"),
    ],
)
def test_a_plan_follows_from_platform_and_flags(execution, platform, dtype, attention):
    plan = make_plan(execution, platform=platform)
    assert (plan.dtype.name, plan.attention, plan.platform) == (dtype, attention, platform)
    assert hash(plan) == hash(make_plan(execution, platform=platform))  # or `jit` would compile anew


@pytest.mark.parametrize(
    ("execution", "platform", "message"),
    [
        (Execution(attention="cudnn"), "cpu", "needs a GPU and bfloat16; got cpu and float32: use attention=xla"),
        (Execution(attention="cudnn", dtype="float32"), "gpu", "got gpu and float32"),
        (
            Execution(attention="cudnn", kernels="plain"),
            "gpu",
            "attention=cudnn is a kernel and kernels=plain has none",
        ),
        (Execution(attention="xla", kernels="plain"), "cpu", "attention=xla is a kernel and kernels=plain has none"),
    ],
)
def test_kernels_that_cannot_run_are_refused_by_name(execution, platform, message):
    with pytest.raises(ValueError, match=message):
        make_plan(execution, platform=platform)


@pytest.mark.parametrize("folder", ["layers", "kernels", "models", "decode", "scoring"])
def test_below_the_plan_nothing_asks_for_the_device(folder):
    below = [path for path in (LIBRARY / folder).rglob("*.py") if path.name != "plan.py"]
    assert not [path for path in below if re.search(r"default_backend|devices\(", path.read_text())]


@partial(jax.jit, static_argnames=("config", "plan"))
def both(params, tokens, config, plan):
    """The loss and its gradients."""
    return jax.value_and_grad(lambda p: decoder.loss(p, tokens[:, :-1], tokens[:, 1:], config, plan)[0])(params)


@pytest.mark.parametrize(
    ("n_heads", "length"),  # heads of width 8, and of width 4, which cuDNN has no kernel for
    forms([(4, 12), (4, 13), (8, 12), (8, 13)], [(4, 13), (8, 12)]),
)
@pytest.mark.parametrize("name", ["CPU", "GPU", "GPU with cuDNN"])
def test_the_model_is_the_same_function_under_every_plan(name, length, n_heads):
    config = replace(CONFIG, n_heads=n_heads)
    params = decoder.init(jax.random.key(3), config)
    tokens = jax.random.randint(jax.random.key(4), (2, length + 1), 0, 90)
    plan = make_plan(Execution(dtype="float32"), platform="cpu")
    fused = make_plan(Execution(), platform="gpu").kernels
    kernels = {
        "CPU": ON_CPU,
        "GPU": ON_GPU,
        # cuDNN's call, computed by JAX where there is no cuDNN.
        "GPU with cuDNN": fused._replace(causal_attend=partial(attend_by_cudnn, implementation="xla")),
    }[name]

    found = both(params, tokens, config, plan._replace(kernels=kernels))
    expected = both(params, tokens, config, plan._replace(kernels=FORMULAS))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5 * float(np.abs(b).max()))


def test_cudnn_s_call_is_made_of_even_lengths_and_widths_it_takes():
    """What cuDNN would refuse on its machine is not asked of it."""
    shapes = []

    def record(q, k, v, is_causal, implementation):
        shapes.append((q.shape, is_causal, implementation))
        return jax.nn.dot_product_attention(q, k, v, is_causal=is_causal)

    by_cudnn = partial(attend_by_cudnn, attend=record)
    for shape in ((1, 7, 2, 8), (1, 8, 2, 128), (1, 7, 2, 4), (1, 7, 2, 136)):
        q = jax.random.normal(jax.random.key(0), shape)
        found, expected = (jax.jit(attend)(q, q, q) for attend in (by_cudnn, attend_in_pieces))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert shapes == [((1, 8, 2, 8), True, "cudnn"), ((1, 8, 2, 128), True, "cudnn")]
