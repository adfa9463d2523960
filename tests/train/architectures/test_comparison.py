"""The comparison: equal parameters, FLOPs by formula, what each model reads, and the arithmetic."""

import jax
import numpy as np
import pytest

from train.architectures import pairs
from train.architectures.comparison import arithmetic, examples, flops, models, run, setting
from train.architectures.pairs import BEGIN, END, MASK, PAD, SPECIAL
from train.optim.optimizer import is_matrix

FULL = setting.setting_of(setting.MINUTES, 3, quick=False)
TEXT = "A quick brown fox jumps over the lazy dog. " * 5000


@pytest.fixture(scope="module")
def data():
    return examples.data_of(TEXT, pairs.numbers(0, 200, 10, 20), FULL)


def batch_of(kind, task, data):
    return next(examples.batches(kind, task, data, FULL, seed=0))


@pytest.mark.parametrize("task", setting.TASKS)
def test_the_three_models_have_equal_parameters_within_five_percent(task, data):
    made = [models.model_of(kind, FULL, data.vocab_size(task)) for kind in setting.MODELS]
    counts = [models.count(jax.eval_shape(lambda m=model: m.init(0)), model) for model in made]
    assert max(counts) / min(counts) < 1.05


@pytest.mark.parametrize("kind", setting.MODELS)
def test_the_three_models_start_from_one_rule(kind, data):
    """A narrower start holds a model back for thousands of steps, so it may not depend on the architecture."""
    model = models.model_of(kind, FULL, data.vocab_size("cloze"))
    params = model.init(0)
    for letters, leaf in zip(jax.tree.leaves(model.letters), jax.tree.leaves(params), strict=True):
        if is_matrix(letters) and letters != "PD":
            expected = (2 / (64 + model.config.mlp_width)) ** 0.5 if "F" in letters else 64**-0.5
            rows = leaf[:262] if letters == "VD" else leaf  # the others pad the vocabulary
            assert abs(rows.std() / expected - 1) < 0.05, letters
    if kind != "encoder–decoder":
        np.testing.assert_allclose(params.position_embedding[1, :3] * 8, np.sin(10000 ** (-np.arange(3) / 32)), 1e-5)


@pytest.mark.long
@pytest.mark.parametrize("kind", setting.MODELS)
def test_the_formula_counts_what_xla_counts(kind, data):
    """XLA adds norms, activations, softmax and the optimizer's work: a tenth or two in models this narrow."""
    task = "transduction" if kind == "encoder–decoder" else "continuation"
    model, batch = models.model_of(kind, FULL, data.vocab_size(task)), batch_of(kind, task, data)
    params = jax.eval_shape(lambda: model.init(0))
    compiled = jax.jit(jax.grad(lambda *given: model.loss(*given)[0])).lower(params, batch, jax.random.key(0)).compile()
    counted = compiled.cost_analysis()["flops"]
    formula = flops.step(kind, FULL, data.vocab_size(task), *run.lengths_of(batch))
    assert 1 <= counted / formula < 1.3


def test_an_encoder_decoder_gets_more_steps_for_the_same_flops_and_all_get_them(data):
    costs = {}
    for kind in setting.MODELS:
        batch = batch_of(kind, "continuation", data)
        costs[kind] = flops.step(kind, FULL, examples.BYTES, *run.lengths_of(batch))
        steps = round(FULL.flops / costs[kind])
        assert abs(steps * costs[kind] / FULL.flops - 1) < 0.01
    assert costs["encoder–decoder"] < 0.6 * costs["decoder"]


def test_each_model_reads_a_window_in_its_own_form(data):
    windows = data.text[: 2 * FULL.window].reshape(2, -1)
    row = examples.continuation_batch("decoder", windows, FULL)
    assert row.tokens_BT[0, 0] == BEGIN
    np.testing.assert_array_equal(row.targets_BT, windows)
    np.testing.assert_array_equal(row.tokens_BT[:, 1:], windows[:, :-1])
    assert row.weights_BT.all()
    pair = examples.continuation_batch("encoder–decoder", windows, FULL)
    np.testing.assert_array_equal(pair.source_BS, windows[:, :32])
    np.testing.assert_array_equal(pair.target_BT[:, 1:], windows[:, 32:])


def test_holes_hide_exactly_what_has_to_be_written(data):
    windows = data.text[: 3 * FULL.window].reshape(3, -1)
    with_holes, places = examples.holes(np.random.default_rng(0), windows, FULL.holes)
    assert ((with_holes == MASK).sum(axis=1) == FULL.holes).all()
    assert (np.diff(places, axis=1) > 0).all()
    missing = np.take_along_axis(windows, places, axis=1)
    row = examples.cloze_batch("decoder", with_holes, missing)
    assert row.weights_BT.sum() == missing.size
    np.testing.assert_array_equal(row.targets_BT[row.weights_BT == 1], missing.ravel())
    assert (row.tokens_BT[:, FULL.window] == BEGIN).all()


def test_a_pair_has_its_loss_on_the_target_and_its_end_alone():
    sources, targets = [np.array([7, 8, 9])], [np.array([10, 11, END])]
    row = examples.pair_batch("decoder", sources, targets, FULL)
    assert row.tokens_BT[0, :7].tolist() == [7, 8, 9, BEGIN, 10, 11, END]
    assert row.targets_BT[row.weights_BT == 1].tolist() == [10, 11, END]
    slots = examples.pair_batch("encoder", sources, targets, FULL)
    assert slots.tokens_BT[0, :7].tolist() == [7, 8, 9, BEGIN, MASK, MASK, MASK]
    assert (slots.tokens_BT[0] == MASK).sum() == FULL.n_new  # the target's length is not given away
    assert slots.targets_BT[slots.weights_BT == 1].tolist() == [10, 11, END]
    pair = examples.pair_batch("encoder–decoder", sources, targets, FULL)
    assert pair.target_BT[0, :5].tolist() == [BEGIN, 10, 11, END, PAD]


def test_a_masked_window_is_cut_in_its_second_half_and_keeps_its_targets():
    windows = jax.numpy.full((500, 64), SPECIAL + 3)
    row = models.masked_rows(windows, jax.random.key(0), 300)
    lengths = (np.asarray(row.targets_BT) != PAD).sum(axis=1)
    assert lengths.min() == 32
    assert lengths.max() == 64
    assert not np.asarray(row.weights_BT)[np.asarray(row.targets_BT) == PAD].any()
    assert abs(np.asarray(row.weights_BT).sum() / lengths.sum() - 0.15) < 0.01


def test_the_shares_of_positions_with_a_loss_are_those_of_the_batches(data):
    for kind in ("encoder–decoder", "decoder"):
        for task in ("continuation", "cloze"):
            batch = batch_of(kind, task, data)
            read = batch.source_BS.shape[1] if kind == "encoder–decoder" else 0
            share = batch.weights_BT.sum() / len(batch.weights_BT) / (read + batch.weights_BT.shape[1])
            assert share == pytest.approx(arithmetic.share_with_loss(kind, task, FULL))


def test_the_encoders_share_counts_the_padding_behind_its_cut_windows():
    """It computes 64 positions, whatever the window was cut to."""
    rows = models.masked_rows(jax.numpy.full((4000, FULL.window), SPECIAL + 3), jax.random.key(0), 300)
    for task in ("continuation", "cloze"):  # one masked model serves both
        assert rows.weights_BT.mean() == pytest.approx(arithmetic.share_with_loss("encoder", task, FULL), rel=0.02)


def test_a_conversation_is_counted_turn_by_turn():
    question, answer = 5, 7
    read = written = 0
    for turn in range(1, 5):
        read += turn * question + (turn - 1) * answer
        written += answer
    found = arithmetic.conversation(4, question, answer)
    assert found == (4 * (question + answer), read + written)
    assert arithmetic.conversation(1, question, answer) == (12, 12)  # the first turn costs both the same


def test_a_conclusion_says_what_cannot_be_told_apart_and_whether_it_was_expected():
    def found(*means):
        return {kind: {"mean": m, "half": 0.1} for kind, m in zip(setting.MODELS, means, strict=True)}

    assert run.conclusion("continuation", found(3.0, 2.15, 2.0)) == (
        "decoder not clearly before encoder–decoder before encoder: as expected"
    )
    assert run.conclusion("cloze", found(0.1, 0.5, 0.9)) == (
        "decoder before encoder–decoder before encoder: expected was encoder before encoder–decoder before decoder"
    )


def test_one_seed_makes_no_difference_clear():
    found = {kind: {"mean": mean, "half": None} for kind, mean in zip(setting.MODELS, (4.0, 2.6, 2.5), strict=True)}
    assert run.conclusion("continuation", found) == (
        "decoder not clearly before encoder–decoder not clearly before encoder (one seed: no interval): as expected"
    )


def test_too_little_text_and_too_few_short_pairs_are_refused():
    with pytest.raises(ValueError, match="the text has 400 bytes; the test alone needs"):
        examples.data_of("abcd" * 100, pairs.numbers(0, 50, 5, 20), FULL)
    long = [(tuple("a" * 30), ("p",))] * 50
    with pytest.raises(ValueError, match="0 and 0 pairs of at most 16 symbols are left"):
        examples.data_of(TEXT, pairs.Splits("words", long, long, long), FULL)
