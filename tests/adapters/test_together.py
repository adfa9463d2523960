"""Several adapters in one batch: every row gets what it gets from its own adapter alone."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from adapting import CONFIGS, FOUR, moved
from small_models import opinionated

from llm_jax import adapters as lora
from llm_jax.adapters import LoraConfig
from llm_jax.adapters.together import attach_together, choose
from llm_jax.config import DecoderConfig, Execution
from llm_jax.decode import loop, slots
from llm_jax.decode.choose import rule_of_rows
from llm_jax.decode.options import Sampling
from llm_jax.models import decoder


def two_of(config: DecoderConfig) -> list[tuple[lora.Adapters, LoraConfig]]:
    """Of other ranks, scales and targets."""
    targets = ("c_proj",) if config.is_qkv_fused else ("v_proj", "down_proj")
    settings = (FOUR, LoraConfig(rank=2, alpha=5.0, rslora=True, targets=targets))
    return [(moved(config, one, seed), one) for seed, one in enumerate(settings, 5)]


@pytest.mark.parametrize("kernels", ["auto", pytest.param("plain", marks=pytest.mark.long)])
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_each_row_is_computed_with_its_own_adapter(name, kernels):
    config, plan = CONFIGS[name], decoder.make_plan(Execution(kernels=kernels))
    params, two = opinionated(config, 4), two_of(CONFIGS[name])
    tokens = jnp.asarray(np.random.default_rng(0).integers(0, 60, (4, 10)))

    @jax.jit
    def logits(params, tokens):
        return decoder.logits(params, decoder.forward(params, tokens, config, plan)[0], config, plan)

    found = logits(choose(attach_together(params, two, config), jnp.array([2, 0, 1, 2])), tokens)
    for row, number in enumerate((2, 0, 1, 2)):
        alone = lora.merge(params, two[number - 1][0], config, two[number - 1][1]) if number else params
        np.testing.assert_allclose(found[row], logits(alone, tokens[row : row + 1])[0], rtol=1e-4, atol=2e-5)


def test_requests_that_join_and_leave_keep_their_adapters():
    """Rows change hands and places: a row that had an adapter serves the base afterwards."""
    config, plan = replace(CONFIGS["llama"], n_layers=1), decoder.make_plan(Execution())
    params = opinionated(config, 12)
    two = [(jax.tree.map(lambda x: 3 * x, one), settings) for one, settings in two_of(config)]
    together = loop.prepare(attach_together(params, two, config), plan, 2)
    drawn = Sampling(temperature=0.5, seed=0)
    prompt, rule = np.array([3, 4, 5, *[0] * 13], np.int32), rule_of_rows([drawn, drawn])

    def alone(number: int) -> list[int]:
        merged = lora.merge(params, two[number - 1][0], config, two[number - 1][1]) if number else params
        return loop.generate(loop.prepare(merged, plan), [[3, 4, 5]], config, plan, drawn, 6)[0]

    expected = [alone(number) for number in range(3)]
    assert len({tuple(one) for one in expected}) == 3
    state = slots.empty(config, plan, 2, 32)

    def join(state, row, number):
        state, first, _ = slots.join(
            together, state, row, prompt, 3, 0, rule_of_rows([drawn]), config, plan, adapter=number
        )
        return state, [int(first)]

    state, first = join(state, 0, 1)
    state, second = join(state, 1, 2)
    for _ in range(3):
        state, tokens, _ = slots.advance(together, state, rule, config, plan)
        first, second = [*first, int(tokens[0])], [*second, int(tokens[1])]
    assert (first, second) == (expected[1][:4], expected[2][:4])
    state = slots.resize(state, np.array([1, 0], np.int32), 32)
    state, third = join(state, 1, 0)
    for _ in range(2):
        state, tokens, _ = slots.advance(together, state, rule, config, plan)
        second, third = [*second, int(tokens[0])], [*third, int(tokens[1])]
    assert (second, third) == (expected[2], expected[0][:3])


def test_a_text_is_scored_with_the_adapter_that_is_asked():
    config, plan = CONFIGS["gpt2"], decoder.make_plan(Execution())
    params, two = opinionated(config, 4), two_of(config)
    text = jnp.arange(16)
    scores = slots.score(attach_together(params, two, config), text, config, plan, adapter=2)
    expected = slots.score(lora.merge(params, two[1][0], config, two[1][1]), text, config, plan)
    np.testing.assert_allclose(scores.chosen, expected.chosen, rtol=1e-4, atol=1e-5)
