"""The losses of fine-tuning beside their definitions, one token and one pair at a time."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_models import opinionated

from llm_jax.adapters.config import LoraConfig
from llm_jax.config import Execution, llama
from llm_jax.models import decoder
from train.finetune.config import ObjectiveConfig
from train.finetune.measure.evaluate import macro_f1
from train.finetune.objectives import Batch, objective
from train.finetune.step import cut, head_of, init_state, make_sums, make_train_step, mean_and_gradients
from train.finetune.trained import Trainable
from train.optim.config import OptimizerConfig
from train.optim.optimizer import make_optimizer

TINY = llama(vocab_size=60, context_length=16, d_model=16, n_heads=2, n_kv_heads=1, n_layers=1, mlp_width=24)
PLAN = decoder.make_plan(Execution(dtype="float32", loss_chunks=4))
BASE = opinionated(TINY, 8.0)
ROWS, LENGTH = 8, 12


def rows(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of random ids of different lengths, padded with id 0; the tokens behind a prompt are trained."""
    draw = np.random.default_rng(seed)
    tokens = draw.integers(1, 60, (ROWS, LENGTH + 1), dtype=np.int32)
    lengths = np.array([13, 5, 12, 4, 9, 3, 13, 6])
    prompts = np.array([2, 1, 8, 3, 4, 1, 12, 2])
    place = np.arange(1, LENGTH + 1)
    weights = ((place >= prompts[:, None]) & (place < lengths[:, None])).astype(np.float32)
    tokens[np.arange(LENGTH + 1) >= lengths[:, None]] = 0
    return tokens, weights


TOKENS, WEIGHTS = rows()


def log_probabilities(params: decoder.Decoder) -> np.ndarray:
    """[B, T] of every target, from whole logits."""
    hidden, _ = decoder.forward(params, jnp.asarray(TOKENS[:, :-1]), TINY, PLAN)
    every = jax.nn.log_softmax(decoder.logits(params, hidden, TINY))
    return np.asarray(jnp.take_along_axis(every, TOKENS[:, 1:, None], axis=-1)[..., 0], np.float64)


def sums(task: str, batch: Batch, params=BASE, trainable: Trainable | None = None, **settings):
    trainable = trainable or Trainable(TINY)
    compiled = jax.jit(make_sums(trainable, objective(task, ObjectiveConfig(**settings)), PLAN))
    return compiled(params, None, batch)


def test_next_tokens_sums_the_losses_of_trained_tokens_alone():
    loss, weight, _ = sums("sft", Batch(TOKENS, WEIGHTS))
    assert float(weight) == WEIGHTS.sum()
    assert float(loss) == pytest.approx(-(log_probabilities(BASE) * WEIGHTS).sum(), rel=1e-5)


def log_sigmoid(x: np.ndarray) -> np.ndarray:
    return -np.log1p(np.exp(-x))


@pytest.mark.parametrize("preference", ["dpo", "ipo"])
@pytest.mark.parametrize("sft_weight", [0.0, 0.7])
def test_preferences_are_the_papers_formula_on_sums_of_log_probabilities(preference, sft_weight):
    policy = (log_probabilities(BASE) * WEIGHTS).sum(axis=1)
    reference = policy + np.linspace(-3, 5, ROWS)
    batch = Batch(TOKENS, WEIGHTS, reference_B=np.float32(reference))
    loss, weight, further = sums("dpo", batch, beta=0.3, preference=preference, sft_weight=sft_weight)
    chosen, rejected = np.split(policy - reference, 2)
    h = chosen - rejected
    expected = -log_sigmoid(0.3 * h) if preference == "dpo" else (h - 1 / 0.6) ** 2
    expected += sft_weight * -policy[:4] / WEIGHTS[:4].sum(axis=1)
    assert float(weight) == 4
    assert float(loss) == pytest.approx(expected.sum(), rel=1e-4)
    assert float(further["reward_chosen"]) == pytest.approx(0.3 * chosen.sum(), rel=1e-3)
    assert float(further["reward_rejected"]) == pytest.approx(0.3 * rejected.sum(), rel=1e-3)
    assert float(further["reward_margin"]) == pytest.approx(0.3 * h.sum(), rel=1e-3)
    assert float(further["reward_accuracy"]) == (h > 0).sum()


def test_dpo_by_hand_on_four_numbers(monkeypatch):
    """−log σ(0.1·((−10 + 12) − (−14 + 13))) = −log σ(0.3)."""
    policy = jnp.array([-10.0, -14.0])
    monkeypatch.setattr("train.finetune.objectives.answer_log_probabilities", lambda *_: policy)
    batch = Batch(TOKENS[:2], WEIGHTS[:2], reference_B=jnp.array([-12.0, -13.0]))
    loss, _, further = sums("dpo", batch)
    assert float(loss) == pytest.approx(math.log1p(math.exp(-0.3)), rel=1e-6)
    assert float(further["reward_chosen"]) == pytest.approx(0.2)
    assert float(further["reward_rejected"]) == pytest.approx(-0.1)


def classifier() -> tuple[Trainable, dict]:
    trainable = Trainable(TINY, n_classes=3)
    params = trainable.init(jax.random.key(1), BASE)
    return trainable, {**params, "head": params["head"].replace(weight=20 * params["head"].weight)}


LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1], np.int32)
LAST = np.array([11, 3, 10, 2, 7, 1, 11, 4])  # places of the last inputs that are no padding
AT_LAST = np.eye(LENGTH, dtype=np.float32)[LAST]


def test_classes_read_the_last_real_token():
    trainable, params = classifier()
    loss, weight, further = sums("classify", Batch(TOKENS, AT_LAST, labels_B=LABELS), params, trainable)
    hidden, _ = jax.jit(lambda tokens: decoder.forward(BASE, tokens, TINY, PLAN))(jnp.asarray(TOKENS[:, :-1]))
    expected, right, confusion = 0.0, 0, np.zeros((3, 3))
    for row, last, label in zip(np.asarray(hidden), LAST, LABELS, strict=True):
        logits = row[last] @ np.asarray(params["head"].weight) + np.asarray(params["head"].bias)
        expected -= logits[label] - np.log(np.exp(logits).sum())
        confusion[label, logits.argmax()] += 1
        right += int(logits.argmax() == label)
    assert float(weight) == ROWS
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)
    assert float(further["accuracy"]) == right
    np.testing.assert_array_equal(further["confusion"], confusion)


@pytest.mark.parametrize("task", ["sft", "dpo", "classify"])
def test_padding_changes_nothing(task):
    """Neither which ids stand there, nor rows without an example."""
    trainable, params = classifier() if task == "classify" else (Trainable(TINY), BASE)
    weights = AT_LAST if task == "classify" else WEIGHTS
    more = {"dpo": {"reference_B": np.zeros(ROWS, np.float32)}, "classify": {"labels_B": LABELS}}.get(task, {})
    expected = sums(task, Batch(TOKENS, weights, **more), params, trainable)
    is_padding = np.arange(LENGTH + 1) > LAST[:, None] + 1 - (task == "classify")
    longer = Batch(*(np.pad(x, ((0, 0), (0, 4))) for x in (np.where(is_padding, 7, TOKENS), weights)), **more)
    filled = jax.tree.map(
        lambda x: np.concatenate([part for half in np.split(x, 2) for part in (half, 0 * half[:1])]), longer
    )
    found = sums(task, filled, params, trainable)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, expected)


TRAINABLES = {
    "full": Trainable(TINY),
    "lora": Trainable(TINY, LoraConfig(rank=2, alpha=8)),
    "classifier": Trainable(TINY, LoraConfig(rank=2, alpha=8), n_classes=3),
}


def batch_of(task: str) -> Batch:
    if task == "classify":
        return Batch(TOKENS, AT_LAST * (np.arange(ROWS) != 3)[:, None], labels_B=LABELS)
    reference = {"reference_B": np.linspace(-40, -20, ROWS, dtype=np.float32)} if task == "dpo" else {}
    return Batch(TOKENS, WEIGHTS, **reference)


@pytest.mark.parametrize(
    ("task", "kind", "cuts"),
    [("sft", "full", (1, 2, 4)), ("sft", "lora", (4,)), ("dpo", "lora", (2,)), ("classify", "classifier", (4,))],
)
def test_gradients_are_those_of_the_whole_batch_however_it_is_cut(task, kind, cuts):
    """The rows have 1 to 11 trained tokens: a mean of micro-batches' means would weigh a token of the few more."""
    trainable, goal = TRAINABLES[kind], objective(task, ObjectiveConfig())
    trained = trainable.init(jax.random.key(0), BASE)
    if kind != "full":  # B is zero in the beginning, and then A has no gradient
        trained = jax.tree.map(lambda x: x + 0.1, trained)
    batch, base = jax.tree.map(jnp.asarray, batch_of(task)), None if kind == "full" else BASE

    def definition(trained):
        params = trainable.decoder(trained, base)
        loss, _ = goal.sums(params, head_of(trained, trainable), batch, TINY, PLAN)
        return loss / goal.weight(batch, TINY)

    @jax.jit
    def in_pieces(trained, batches, keys_A):
        return mean_and_gradients(trained, base, batches, keys_A, trainable, goal, PLAN)

    expected_loss, expected = jax.jit(jax.value_and_grad(definition))(trained)
    for micro_batches in cuts:
        keys_A = jax.random.split(jax.random.key(0), micro_batches)
        (loss, weight, _), gradients = in_pieces(trained, cut(batch, micro_batches, goal.groups), keys_A)
        assert float(loss) == pytest.approx(float(expected_loss), rel=1e-5)
        assert float(weight) == float(goal.weight(batch, TINY))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6), gradients, expected)


def test_pairs_stay_together_when_a_batch_is_cut():
    pairs = np.arange(6)
    parts = cut(Batch(np.concatenate([pairs, pairs])[:, None], np.zeros((12, 1))), 3, 2).tokens_BT
    for part in parts[..., 0]:
        np.testing.assert_array_equal(*np.split(np.asarray(part), 2))


def test_a_batch_without_a_target_is_no_step():
    trainable, optimizer = TRAINABLES["lora"], make_optimizer(OptimizerConfig(), TRAINABLES["lora"].letters())
    step = make_train_step(trainable, objective("sft", ObjectiveConfig()), PLAN, optimizer, 2)
    state = init_state(jax.random.key(0), BASE, trainable, optimizer)
    after, measured = jax.jit(step)(state, BASE, Batch(TOKENS, 0 * WEIGHTS), jnp.float32(0.1))
    assert np.isnan(measured.loss)
    assert float(measured.weight) == 0
    jax.tree.map(np.testing.assert_array_equal, after.params, state.params)


def test_a_step_of_lora_trains_the_adapters_and_nothing_is_dropped_in_evaluation():
    trainable = Trainable(TINY, LoraConfig(rank=2, alpha=8, dropout=0.5))
    optimizer, goal = make_optimizer(OptimizerConfig(), trainable.letters()), objective("sft", ObjectiveConfig())
    state = init_state(jax.random.key(0), BASE, trainable, optimizer)
    step = jax.jit(make_train_step(trainable, goal, PLAN, optimizer, 2))
    measure = jax.jit(make_sums(trainable, goal, PLAN))
    losses = [float(measure(state.params, BASE, Batch(TOKENS, WEIGHTS))[0])]
    drawn = set()
    for _ in range(3):
        state, measured = step(state, BASE, Batch(TOKENS, WEIGHTS), jnp.float32(0.05))
        losses.append(float(measure(state.params, BASE, Batch(TOKENS, WEIGHTS))[0]))
        drawn.add(float(measured.loss))
    assert losses[-1] < losses[0]
    assert losses[0] == pytest.approx(-(log_probabilities(BASE) * WEIGHTS).sum(), rel=1e-5)
    assert losses[-1] == float(measure(state.params, BASE, Batch(TOKENS, WEIGHTS))[0])
    again, _ = step(state, BASE, Batch(TOKENS, WEIGHTS), jnp.float32(0.05))
    other, _ = step(state.replace(step=state.step + 1), BASE, Batch(TOKENS, WEIGHTS), jnp.float32(0.05))
    leaves = [jax.tree.leaves(one.params)[0] for one in (again, other)]
    assert np.abs(leaves[0] - leaves[1]).max() > 0, "every step drops other numbers"


def test_macro_f1_is_the_mean_of_the_classes():
    """Class 0: tp 8, fp 1, fn 2 → 16/19; class 1: tp 4, fp 2, fn 1 → 8/11; class 2 is nowhere → 0."""
    assert macro_f1(np.array([[8, 2, 0], [1, 4, 0], [0, 0, 0]])) == pytest.approx((16 / 19 + 8 / 11) / 3)
