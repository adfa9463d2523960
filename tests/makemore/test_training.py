"""The trainer: what a step does, where it stops, and the same training with gradients derived by hand."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.config import DecoderConfig
from llm_jax.models.makemore import lookup, mlp
from train.first_principles.makemore import by_hand, models, training
from train.first_principles.makemore.dataset.examples import Examples
from train.first_principles.makemore.training import Diverged, Recipe
from train.optim.config import OptimizerConfig, ScheduleConfig

RECIPE = Recipe(
    steps=12,
    batch_size=16,
    optimizer=OptimizerConfig(learning_rate=1e-2, weight_decay=0.1, clip_norm=1.0),
    schedule=ScheduleConfig(warmup_steps=2),
)


def small(data) -> models.Model:
    return models.build(mlp.Config(data.vocab_size, embedding=4, width=16, batch_norm=True), data.longest)


def follow(data, chunk: int, gradients=None):
    """Final parameters and the losses of all steps."""
    model = small(data)
    examples = model.examples(data.splits["train"])
    chunks = list(training.train(model, RECIPE, model.init(jax.random.key(0)), examples, chunk, gradients))
    return chunks[-1][1], [loss for _, _, measured in chunks for loss in measured.loss_S.tolist()]


def test_how_steps_are_chunked_changes_nothing(data):
    (a, a_losses), (b, b_losses) = follow(data, 12), follow(data, 5)
    assert len(a_losses) == 12
    np.testing.assert_allclose(a_losses, b_losses, rtol=1e-6)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), a, b)


def test_dropout_is_for_training_and_the_same_however_steps_are_chunked(data):
    model = models.build(
        DecoderConfig(data.vocab_size, data.longest + 1, d_model=16, n_heads=2, n_layers=1), data.longest
    )
    examples, start = model.examples(data.splits["train"]), model.init(jax.random.key(0))

    def losses(chunk: int, dropout: float) -> list[float]:
        recipe = dataclasses.replace(RECIPE, dropout=dropout)
        chunks = training.train(model, recipe, start, examples, chunk)
        return [loss for _, _, measured in chunks for loss in measured.loss_S.tolist()]

    with_dropout, without = losses(12, 0.5), losses(12, 0.0)
    np.testing.assert_allclose(losses(6, 0.5), with_dropout, rtol=1e-5)
    assert min(abs(a - b) for a, b in zip(with_dropout, without, strict=True)) > 1e-4
    batch = Examples(*(array[:32] for array in examples))
    assert training.evaluate(model, start, batch) == pytest.approx(
        float(jax.jit(partial(training.batch_loss, model))(start, batch)), rel=1e-5
    )


def test_training_by_hand_is_the_same_training(data):
    """Step by step: the losses, and the parameters at the end."""
    (a, a_losses), (b, b_losses) = follow(data, 6), follow(data, 6, by_hand.gradients)
    np.testing.assert_allclose(a_losses, b_losses, rtol=1e-5)
    # The hidden bias is arbitrary: batch norm takes it out again, and Adam makes steps of rounding errors.
    a, b = (dataclasses.replace(p, hidden=dataclasses.replace(p.hidden, bias=0)) for p in (a, b))
    jax.tree.map(partial(np.testing.assert_allclose, atol=2e-4), a, b)


def test_gradients_by_hand_equal_autodiff(data):
    """The whole batch-norm MLP, in float64, all parameters: far below the 1e-6 that would do."""
    model = small(data)
    part = model.examples(data.splits["train"])
    with jax.enable_x64(True):
        params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), model.init(jax.random.key(1)))
        params = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(jax.random.key(2), x.shape, x.dtype), params)
        batch = Examples(part.inputs[:50], part.targets[:50], part.weights[:50].astype(np.float64))
        loss, expected = jax.jit(jax.value_and_grad(partial(training.batch_loss, model)))(params, batch)
        found_loss, found = by_hand.gradients(params, batch)
    assert found_loss == pytest.approx(float(loss), rel=1e-12)
    sizes = jax.tree.map(lambda g: float(np.abs(g).max()), expected)
    assert min(size for size in jax.tree.leaves(dataclasses.replace(sizes, hidden=sizes.hidden.weight))) > 1e-4
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12), found, expected)


def test_gradients_by_hand_want_batch_norm(data):
    model = models.build(mlp.Config(data.vocab_size), data.longest)
    with pytest.raises(ValueError, match="has no batch norm"):
        by_hand.gradients(model.init(jax.random.key(0)), model.examples(data.splits["dev"]))


def test_every_row_is_seen_once_before_any_is_seen_twice():
    order = training._row_order(10, dataclasses.replace(RECIPE, batch_size=4))
    rows = np.concatenate([next(order) for _ in range(5)])
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))


def test_the_neural_bigram_finds_the_counts(data):
    """The least loss of a softmax over a table is that of the frequencies."""
    from train.first_principles.makemore import counting

    model = models.build(lookup.Config(data.vocab_size), data.longest)
    examples = model.examples(data.splits["train"])
    recipe = dataclasses.replace(
        RECIPE, steps=400, batch_size=240, optimizer=OptimizerConfig(learning_rate=0.3, weight_decay=0.0)
    )
    *_, (_, params, _) = training.train(model, recipe, model.init(jax.random.key(0)), examples, 100)
    least = counting.fit(data, 2, 0.0).losses["train"]
    assert least - 1e-6 < training.evaluate(model, params, examples) < least + 2e-3


def test_update_ratios_are_update_over_parameter(data):
    """With a plain gradient this would be lr·σ(g)/σ(p); here the whole step is compared."""
    model = small(data)
    examples = model.examples(data.splits["train"])
    start = model.init(jax.random.key(0))
    recipe = dataclasses.replace(RECIPE, steps=1)
    ((_, after, measured),) = training.train(model, recipe, start, examples, 1)
    before = np.asarray(start.out.weight)
    moved = float((np.asarray(after.out.weight) - before).std() / before.std())
    assert measured.update_ratios["out.weight"][0] == pytest.approx(moved, rel=1e-3)
    assert set(measured.update_ratios) == {"embedding", "hidden.weight", "out.weight"}


def test_evaluation_is_the_mean_over_predictions_and_not_over_batches(data, monkeypatch):
    model = models.build(lookup.Config(data.vocab_size), data.longest)
    examples = model.examples(data.splits["train"])
    table = jax.random.normal(jax.random.key(0), (data.vocab_size, data.vocab_size))
    whole = training.evaluate(model, lookup.Lookup(table=table), examples)
    monkeypatch.setattr(training, "EVALUATION_ROWS", 7)
    assert training.evaluate(model, lookup.Lookup(table=table), examples) == pytest.approx(whole, rel=1e-6)
    pairs = [(a, b) for line in data.splits["train"] for a, b in zip([0, *line], [*line, 0], strict=True)]
    log_p = np.asarray(jax.nn.log_softmax(table))
    assert whole == pytest.approx(-np.mean([log_p[a, b] for a, b in pairs]), rel=1e-5)


def test_divergence_names_the_step_and_the_rate(data):
    model = small(data)
    examples = model.examples(data.splits["train"])
    recipe = dataclasses.replace(
        RECIPE, steps=40, optimizer=dataclasses.replace(RECIPE.optimizer, learning_rate=50.0, weight_decay=0.0)
    )
    start = model.init(jax.random.key(0))
    with pytest.raises(Diverged, match=r"step \d+: the loss is .* diverges at a learning rate of \d") as error:
        list(training.train(model, recipe, start, examples, 1))
    step = int(str(error.value).split(":")[0].removeprefix("step "))
    assert step > 1
    with pytest.raises(Diverged, match=f"step {step}:"):  # the same step, wherever chunks begin
        list(training.train(model, recipe, start, examples, 40))
