"""Lines that are made."""

from collections import Counter

import jax
import numpy as np
import pytest

from llm_jax.models.makemore import mlp, recurrent
from train.first_principles.makemore import counting, models, sampling


def test_lines_are_drawn_from_the_models_probabilities(data):
    """2,000 first characters of a bigram: no frequency further than 4 standard errors from its probability."""
    counted = counting.fit(data, 2, 0.0)
    made = sampling.sample(counted.log_probabilities, [], 2000, data.longest, 1.0, seed=0)
    first = Counter(line[0] if line else 0 for line in made)
    for symbol, p in enumerate(np.exp(counted.log_probabilities(np.array([[0]])))[0]):
        assert abs(first[symbol] - 2000 * p) <= 4 * np.sqrt(2000 * p * (1 - p)) + 1e-9


def test_a_cold_model_always_says_the_same(data):
    counted = counting.fit(data, 3, 0.1)
    made = sampling.sample(counted.log_probabilities, [], 20, data.longest, 0.01, seed=0)
    assert len({tuple(line) for line in made}) == 1


def test_every_line_begins_with_the_prompt_and_none_is_longer_than_the_longest(data):
    counted = counting.fit(data, 2, 0.1)
    prompt = sampling.encode_prompt(data.alphabet, "ba", data.longest)
    made = sampling.sample(counted.log_probabilities, prompt, 50, data.longest, 1.0, seed=0)
    assert all(line[:2] == prompt and len(line) <= data.longest and 0 not in line for line in made)


@pytest.mark.parametrize("config", [mlp.Config, recurrent.Config])
def test_predictions_of_a_prefix_are_those_of_training(data, config):
    """Wherever the prefix ends: windows are filled up on the left, sequences on the right."""
    model = models.build(config(data.vocab_size), data.longest)
    params = model.init(jax.random.key(0))
    out = jax.random.normal(jax.random.key(1), params.out.weight.shape)
    params = jax.tree.map(lambda x: x, params).replace(out=params.out.replace(weight=out))
    line = next(line for line in data.splits["train"] if len(line) >= 4)
    examples = model.examples([line])
    logits = np.asarray(jax.nn.log_softmax(model.logits(params, jax.numpy.asarray(examples.inputs))))
    expected = logits if model.reads == "windows" else logits[0]
    predict = sampling.neural(model, params)
    for end in range(len(line) + 1):
        np.testing.assert_allclose(predict(np.array([[0, *line[:end]]]))[0], expected[end], atol=1e-5)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (
            "bé",
            r"--prompt 'bé' cannot begin a line: character 'é' \(U\+00E9\) at position 1 is not among the 7 characters",
        ),
        ("b\nd", "a prompt is the beginning of one line; got a line break"),
        ("babababababa", r"the prompt has 12 characters; the longest line of the data has 8"),
    ],
)
def test_a_prompt_that_cannot_begin_a_line_is_refused(data, prompt, message):
    with pytest.raises(ValueError, match=message):
        sampling.encode_prompt(data.alphabet, prompt, data.longest)
