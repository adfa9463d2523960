"""Logits are changed as vLLM changes them: compared with its formulas, written out token by token."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.decode import adjust
from llm_jax.decode.choose import choose, keep_min_p, keys_of, rule_of_rows
from llm_jax.decode.options import Adjustment, Sampling

VOCABULARY = 11
ADJUSTMENTS = [
    Adjustment(),
    Adjustment(presence_penalty=1.5),
    Adjustment(frequency_penalty=-0.7),
    Adjustment(repetition_penalty=1.3),
    Adjustment(repetition_penalty=0.6, frequency_penalty=0.4, presence_penalty=-2.0),
    Adjustment(logit_bias=((3, 5.5), (10, -100.0))),
    Adjustment(min_tokens=3, ends=frozenset({0, 7}), logit_bias=((7, 100.0),)),
    Adjustment(min_tokens=2, ends=frozenset({0, 7})),  # it has been reached
    Adjustment(allowed_tokens=frozenset({1, 2, 9}), logit_bias=((1, 1.0), (4, 50.0)), presence_penalty=0.5),
]
PROMPT, ANSWER = [1, 5, 5, 9], [2, 9]


def reference(logits, adjustment: Adjustment, prompt, answer):
    """vLLM 0.32: `Sampler.apply_logits_processors`, then `apply_penalties`."""
    logits = np.array(logits, np.float32)
    for token in range(len(logits)):
        if adjustment.allowed_tokens is not None and token not in adjustment.allowed_tokens:
            logits[token] = -np.inf
        if token in adjustment.ends and len(answer) < adjustment.min_tokens:
            logits[token] = -np.inf
        logits[token] += np.float32(dict(adjustment.logit_bias).get(token, 0))
        if token in prompt or token in answer:
            factor = np.float32(adjustment.repetition_penalty)
            logits[token] = logits[token] / factor if logits[token] > 0 else logits[token] * factor
        logits[token] -= np.float32(adjustment.frequency_penalty) * np.float32(answer.count(token))
        logits[token] -= np.float32(adjustment.presence_penalty) * np.float32(token in answer)
    return logits


@pytest.fixture(scope="module")
def batch() -> adjust.Adjusted:
    """A row for each adjustment, after two tokens."""
    adjusted = adjust.unchanged(len(ADJUSTMENTS), VOCABULARY)
    for row, adjustment in enumerate(ADJUSTMENTS):
        adjusted = adjust.put(adjusted, jnp.int32(row), adjust.row_of(adjustment, PROMPT, VOCABULARY))
    for token in ANSWER:
        adjusted = adjust.count(adjusted, jnp.full(len(ADJUSTMENTS), token, jnp.int32))
    return adjusted


def test_every_adjustment_is_vllm_s_formula_and_rows_do_not_mix(batch):
    logits = np.random.default_rng(0).normal(0, 3, (len(ADJUSTMENTS), VOCABULARY)).astype(np.float32)
    lengths = jnp.full(len(ADJUSTMENTS), len(PROMPT) + len(ANSWER), jnp.int32)
    found = np.asarray(jax.jit(adjust.adjust)(jnp.array(logits), batch, lengths))
    for row, adjustment in enumerate(ADJUSTMENTS):
        np.testing.assert_allclose(found[row], reference(logits[row], adjustment, PROMPT, ANSWER), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(found[0], logits[0])  # to the last bit


def test_an_adjustment_says_whether_it_changes_anything():
    assert [each.changes_logits for each in ADJUSTMENTS] == [False] + [True] * (len(ADJUSTMENTS) - 1)
    assert not Adjustment(min_tokens=5).changes_logits  # nothing would end it
    assert not Adjustment(ends=frozenset({1})).changes_logits


@pytest.mark.parametrize(
    "wrong",
    [
        {"presence_penalty": 2.5},
        {"frequency_penalty": float("nan")},
        {"repetition_penalty": 0.0},
        {"repetition_penalty": float("inf")},
        {"min_tokens": -1},
        {"allowed_tokens": frozenset()},
    ],
)
def test_nonsense_is_refused_by_name(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        Adjustment(**wrong)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_a_min_p_that_is_no_part_is_refused(wrong):
    with pytest.raises(ValueError, match="min_p must lie between"):
        Sampling(min_p=wrong)


def test_min_p_keeps_what_is_likely_enough_beside_the_likeliest():
    logits = np.random.default_rng(1).normal(0, 2, (40, 50)).astype(np.float32)
    min_p = np.linspace(0, 1, 40, dtype=np.float32)
    kept = np.isfinite(keep_min_p(jnp.array(logits), jnp.array(min_p)))
    probabilities = np.asarray(jax.nn.softmax(logits.astype(np.float64)))
    wanted = probabilities >= probabilities.max(-1, keepdims=True) * min_p[:, None]
    np.testing.assert_array_equal(kept, wanted)
    assert kept[0].all()
    assert kept[-1].sum() == 1


def test_a_row_without_min_p_draws_as_if_nobody_had_one():
    logits = jax.random.normal(jax.random.key(0), (2, 300))
    rows = [Sampling(1.3, seed=1), Sampling(1.3, seed=2, min_p=1.0)]
    keys = keys_of([1, 2])
    together = choose(logits, keys, rule_of_rows(rows))
    assert together[0] == choose(logits[:1], keys[:1], rule_of_rows(rows[:1]))[0]
    assert together[1] == logits[1].argmax()
