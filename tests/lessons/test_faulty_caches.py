"""Each cache of lesson 8 spoils the rows that its exercise says it spoils, and no others."""

import sys
from importlib import import_module
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.config import Execution, llama
from llm_jax.models import decoder

CONFIG = llama(vocab_size=50, context_length=16, d_model=16, n_heads=2, n_kv_heads=1, n_layers=1, mlp_width=16)
PLAN = decoder.make_plan(Execution(dtype="float32", kernels="plain"))
LENGTHS = np.array([4, 2, 1])  # prompts, padded on the right to four tokens
SPOILT = {"A": [False, True, True], "B": [True, True, True], "C": [False] * 3, "D": [True, False, False]}
SPOILT["E"] = [True, True, False]


@pytest.fixture(scope="module")
def check():
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lessons"))
    yield import_module("checks.kv_cache")
    sys.path.pop(0)
    for name in [name for name in sys.modules if name.split(".")[0] == "checks"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def run():
    """(hidden states without a cache, prefilled cache, function of one decoding step) of three rows of six tokens."""
    fresh = jax.jit(decoder.init, static_argnums=1)(jax.random.key(0, impl="rbg"), CONFIG)
    params = jax.tree.map(lambda p: 20 * p if p.ndim > 1 else p, fresh)
    rows = np.random.default_rng(0).integers(0, 50, (3, 6))
    forward = jax.jit(lambda tokens, cache: decoder.forward(params, tokens, CONFIG, PLAN, cache))
    prompts = np.where(np.arange(4) < LENGTHS[:, None], rows[:, :4], 0)
    _, prefilled = forward(prompts, decoder.empty_cache(CONFIG, 3, 6, jnp.dtype("float32")))
    return forward(rows, None)[0], prefilled, lambda cache: forward(rows[np.arange(3), LENGTHS][:, None], cache)[0]


@pytest.mark.parametrize("letter", SPOILT)
def test_a_faulty_cache_spoils_the_rows_that_it_is_said_to_spoil(check, run, letter):
    everything, prefilled, step = run
    found = step(check.after_prefill(letter, prefilled, LENGTHS, CONFIG))[:, 0]
    errors = np.abs(found - everything[np.arange(3), LENGTHS]).max(axis=-1)
    assert [bool(error > 1e-3) for error in errors] == SPOILT[letter]
    assert errors[~np.array(SPOILT[letter])].max(initial=0) < 1e-5
