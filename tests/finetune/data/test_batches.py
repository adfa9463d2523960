"""Batches: a pure function of the step, every example once an epoch, few shapes, nothing trained but what is marked."""

from dataclasses import replace

import numpy as np
import pytest

from train.finetune.data.batches import FinetuneBatches
from train.finetune.data.batches.batch import collate
from train.finetune.data.batches.buckets import bucket_of, lengths_for
from train.finetune.data.batches.packing import best_fit
from train.finetune.data.config import DataConfig
from train.finetune.data.example import Example
from train.finetune.data.prepare import prepare

RNG = np.random.default_rng(0)
SIZES = RNG.integers(1, 60, 61).tolist()
KINDS = {
    "completions": [{"prompt": f"{n} ", "completion": "x" * size} for n, size in enumerate(SIZES)],
    "preferences": [{"prompt": f"{n} ", "chosen": "x" * size, "rejected": "y" * 9} for n, size in enumerate(SIZES)],
    "labelled": [{"text": f"{n} " + "x" * size, "label": size % 2} for n, size in enumerate(SIZES)],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory, request):
    import json

    from finetuning_data import chatting

    prepared = {}

    def of(kind):
        if kind not in prepared:
            folder = tmp_path_factory.mktemp(kind)
            (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in KINDS[kind]))
            config = DataConfig(files=(str(folder / "rows.jsonl"),), val_fraction=0.1)
            prepared[kind] = prepare(config, chatting(None), folder / "data", 96)
        return prepared[kind]

    return of


def epoch(batches, number=0):
    steps = range(number * batches.batches_per_epoch, (number + 1) * batches.batches_per_epoch)
    return [batches.batch(step) for step in steps]


WAYS = [("completions", False), ("completions", True), ("preferences", False), ("labelled", False)]


@pytest.mark.parametrize(("kind", "packing"), WAYS)
@pytest.mark.parametrize("batch_size", [1, 4, 7, 100])
def test_an_epoch_shows_every_example_once_in_one_of_the_shapes(kind, packing, batch_size, made):
    data = made(kind)
    batches = FinetuneBatches(data, "train", batch_size, 3, packing)
    shapes = set(batches.shapes())
    assert 1 <= len(shapes) <= 6
    for number in (0, 1, 5):
        tokens, trained, seen = 0, 0, []
        for batch in epoch(batches, number):
            is_labelled = kind == "labelled"
            rows, length = batch.tokens_BT.shape
            assert (rows, length if is_labelled else length - 1) in shapes
            seen += batch.index_B[batch.index_B >= 0].tolist()
            if is_labelled:
                tokens += int((batch.last_B + 1)[batch.weights_B > 0].sum())
            else:
                trained += int(batch.weights_BT.sum())
        if not packing:
            expected = sorted(list(range(data.count("train"))) * (2 if kind == "preferences" else 1))
            assert sorted(seen) == expected
        if kind == "labelled":
            assert tokens == data.splits["train"].tokens
        else:
            assert trained == data.splits["train"].trained


@pytest.mark.parametrize(("kind", "packing"), WAYS)
def test_a_batch_is_a_function_of_data_seed_size_and_step(kind, packing, made):
    first, again = (FinetuneBatches(made(kind), "train", 4, 3, packing) for _ in range(2))
    steps = list(range(2 * first.batches_per_epoch + 3))
    ahead = {step: first.batch(step) for step in steps}
    for step in reversed(steps):
        for a, b in zip(ahead[step], again.batch(step), strict=True):
            np.testing.assert_array_equal(a, b)
    other = FinetuneBatches(made(kind), "train", 4, 4, packing)
    assert any(not np.array_equal(ahead[step].tokens_BT, other.batch(step).tokens_BT) for step in range(3))
    n = first.batches_per_epoch
    assert any(not np.array_equal(ahead[step].tokens_BT, ahead[n + step].tokens_BT) for step in range(n))


@pytest.mark.parametrize("packing", [False, True])
def test_rows_hold_their_examples_and_train_what_is_marked(packing, made):
    data = made("completions")
    examples = {tuple(one.ids.tolist()): one for one in (data.example("train", n) for n in range(data.count("train")))}
    found = 0
    for batch in epoch(FinetuneBatches(data, "train", 4, 3, packing)):
        for row in range(4):
            ids, weights = batch.tokens_BT[row], np.concatenate([[0], batch.weights_BT[row]])
            assert (batch.segments_BT is None) != packing
            numbers = batch.segments_BT[row] if packing else np.zeros(len(ids) - 1, int)
            edges = np.flatnonzero(np.diff(numbers)) + 1
            parts = list(zip([0, *edges], [*edges, len(ids)], strict=True))
            for start, stop in parts:
                n = 1 + max(np.flatnonzero(weights[start:stop]), default=-1)
                if n:
                    example = examples[tuple(ids[start : start + n].tolist())]
                    expected = example.trained.astype(float)
                    expected[0] = 0
                    np.testing.assert_array_equal(weights[start : start + n], expected)
                    found += 1
    assert found == data.count("train")


def test_a_packed_row_keeps_its_examples_apart(made):
    batch = FinetuneBatches(made("completions"), "train", 8, 0, packing=True).batch(0)
    assert batch.segments_BT.max() > 1
    for row in range(8):
        numbers = batch.segments_BT[row]
        assert numbers[0] == 0
        assert set(np.diff(numbers)) <= {0, 1}
        first = np.flatnonzero(np.diff(numbers))  # the target of these inputs begins another example
        assert not batch.weights_BT[row, first].any()


def test_pairs_stand_half_a_batch_apart(made):
    data = made("preferences")
    batches = FinetuneBatches(data, "train", 4, 0)
    for batch in epoch(batches):
        assert len(batch.tokens_BT) == 8
        np.testing.assert_array_equal(batch.index_B[:4], batch.index_B[4:])
        for row, number in enumerate(batch.index_B):
            if number < 0:
                assert not batch.weights_BT[row].any()
                continue
            one = data.example("train", int(number))[row // 4]
            np.testing.assert_array_equal(batch.tokens_BT[row, : len(one.ids)], one.ids)
            assert batch.weights_BT[row].sum() == one.trained.sum()


def test_a_classifier_s_last_token_is_the_last_real_one(made):
    data = made("labelled")
    for batch in epoch(FinetuneBatches(data, "train", 4, 0)):
        for row, number in enumerate(batch.index_B):
            if number >= 0:
                one = data.example("train", int(number))
                assert batch.last_B[row] == len(one.ids) - 1
                np.testing.assert_array_equal(batch.tokens_BT[row, : len(one.ids)], one.ids)
                assert (batch.label_B[row], batch.weights_B[row]) == (one.label, 1)
            else:
                assert batch.weights_B[row] == 0


def test_validation_reads_every_example_without_a_seed(made):
    data = made("completions")
    batches = FinetuneBatches(data, "val", 4, None)
    seen = [number for batch in epoch(batches) for number in batch.index_B.tolist() if number >= 0]
    assert sorted(seen) == list(range(data.count("val")))


@pytest.mark.parametrize("kind", ["preferences", "labelled"])
def test_packing_is_refused_for_what_does_not_stand_alone(kind, made):
    with pytest.raises(ValueError, match=f"--packing joins texts .*got {kind}: leave it out"):
        FinetuneBatches(made(kind), "train", 4, 0, packing=True)


def test_a_split_that_is_not_there_is_named(made):
    data = replace(made("completions"), splits={"train": made("completions").splits["train"]})
    with pytest.raises(ValueError, match="no split 'val'; raise --val-fraction, or give --val-data"):
        FinetuneBatches(data, "val", 4, 0)


def test_the_share_of_padding_is_that_of_the_batches(made):
    data = made("completions")
    batches = FinetuneBatches(data, "train", 4, 0)
    positions = sum(batch.weights_BT.size for batch in epoch(batches))
    used = data.splits["train"].tokens - data.count("train")
    assert batches.padding() == pytest.approx(1 - used / positions)
    assert FinetuneBatches(data, "train", 1, 0).padding() < 0.15


def test_packing_leaves_next_to_no_padding(made):
    """55 examples fill 20 rows."""
    batches = FinetuneBatches(made("completions"), "train", 4, 0, packing=True)
    empty = sum(int((batch.weights_BT == 0).all(axis=1).sum()) for batch in epoch(batches))
    assert (batches.batches_per_epoch, empty) == (5, 0)
    assert 0 <= batches.padding() < 0.01


def test_an_end_that_pads_is_not_trained_and_the_end_of_the_answer_is():
    """Both are the same id: only the length tells them apart."""
    example = Example(np.array([5, 6, 9], np.int32), np.array([False, True, True]))
    batch = collate([[example], []], 5, 9, [0, -1], is_packed=False)
    np.testing.assert_array_equal(batch.tokens_BT, [[5, 6, 9, 9, 9, 9], [9] * 6])
    np.testing.assert_array_equal(batch.weights_BT, [[1, 1, 0, 0, 0], [0] * 5])


def test_the_first_token_of_a_packed_example_is_never_a_target():
    example = Example(np.array([5, 6], np.int32), np.array([True, True]))
    batch = collate([[example, example]], 5, 0, [0], is_packed=True)
    np.testing.assert_array_equal(batch.weights_BT, [[1, 0, 1, 0, 0]])
    np.testing.assert_array_equal(batch.segments_BT, [[0, 0, 1, 1, 2]])


@pytest.mark.parametrize("most", [1, 2, 3, 6])
def test_the_buckets_leave_as_little_padding_as_any_choice_of_as_many(most):
    from itertools import combinations

    lengths = np.random.default_rng(most).integers(1, 100, 50)
    found = lengths_for(lengths, 104, most)
    candidates = range(8, 105, 8)
    tops = [c for c in candidates if c >= lengths.max()][:1]

    def size(buckets):
        return sum(min(bucket for bucket in buckets if bucket >= n) for n in lengths)

    best = min(size((*some, *tops)) for some in combinations(candidates, most - 1))
    assert len(found) <= most
    assert size(found) <= best * 1.03
    assert all(found[i] >= n for n, i in zip(lengths, bucket_of(lengths, found), strict=True))


@pytest.mark.parametrize("longest", [1, 3, 100, 1023, 1024, 131_072])
def test_no_bucket_exceeds_the_context_and_a_few_suffice_for_any_length(longest):
    lengths = np.unique(np.geomspace(1, longest, 200).astype(int))
    found = lengths_for(lengths, longest)
    assert len(found) <= 6
    assert found[-1] == longest
    assert list(found) == sorted(set(found))


def test_best_fit_fills_rows_and_never_overfills_one():
    lengths = np.sort(np.random.default_rng(1).integers(1, 90, 500))[::-1]
    rows = best_fit(lengths, 100)
    filled = np.bincount(rows, lengths)
    assert filled.max() <= 100
    assert len(filled) <= np.ceil(lengths.sum() / 100) * 1.03
    np.testing.assert_array_equal(best_fit(np.array([7, 6, 4, 3]), 10), [0, 1, 1, 0])
    with pytest.raises(ValueError, match="an example of 11 tokens does not fit into a row of 10"):
        best_fit(np.array([11]), 10)
