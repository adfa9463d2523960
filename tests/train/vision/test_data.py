"""Composed pictures: pure functions of seed and index, no shared digits, right answers, unseen pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from train.first_principles.digits import data as digits
from train.vision import measure
from train.vision.data import composites, words


@pytest.fixture(scope="module")
def source():
    return digits.load("embedded")


@pytest.fixture(scope="module")
def world(source):
    return composites.world(source, 500)


@pytest.fixture(scope="module")
def drawn(world):
    return jax.jit(lambda store: world.draw(store, jax.random.key(3), 0, 256))(world.store)


def test_an_example_does_not_depend_on_its_batch(world, drawn):
    alone = jax.jit(lambda store: world.draw(store, jax.random.key(3), 17, 2))(world.store)
    jax.tree.map(lambda one, all_of: np.testing.assert_array_equal(one, all_of[17:19]), alone, drawn)


def test_another_seed_is_another_picture(world, drawn):
    other = jax.jit(lambda store: world.draw(store, jax.random.key(4), 0, 2))(world.store)
    assert not np.array_equal(other.pixels_BYXC, drawn.pixels_BYXC[:2])


def test_no_digit_image_is_in_training_and_test(source):
    train = {image.tobytes() for image in source.train_BD}
    assert len(train) > 1000
    assert not any(image.tobytes() in train for image in source.test_BD)


def test_training_never_draws_a_held_out_pair_and_the_unseen_test_nothing_else(world, drawn):
    def is_held_out(labels_BK):
        return np.asarray(labels_BK)[:, 0::2] == np.asarray(labels_BK)[:, 1::2]  # digit d in colour d

    assert not is_held_out(drawn.labels_BK).any()
    assert not is_held_out(world.tests["test"].labels_BK).any()
    assert is_held_out(world.tests["unseen pairs"].labels_BK).all()


def test_answers_follow_from_what_is_in_the_picture(world):
    test = world.tests["test"]
    places = list(composites.PLACES)
    for row, number in np.ndindex(test.question_BM.shape):
        labels, question, answer = test.labels_BK[row], test.question_BM[row, number], test.answer_BM[row, number]
        colours = [list(composites.COLOURS)[c] for c in labels[0::2]]
        shown, text = labels[1::2].tolist(), world.questions[question]
        kind, said = world.kinds[question], world.answers[answer]
        if kind == "position":
            assert said == str(shown[next(i for i, place in enumerate(places) if place in text)])
        elif kind == "colour":
            assert said == colours[next(i for i, place in enumerate(places) if place in text)]
        elif kind == "count":
            assert said == str(colours.count(text.removeprefix("how many digits are ").removesuffix("?")))
        elif kind == "sum":
            line = text.removeprefix("what is the sum of the ").removesuffix("?")
            assert said == str(sum(shown[place] for place in composites.LINES[line]))


def test_the_ink_is_the_colour_that_is_asked_for(world):
    test = world.tests["test"]
    inks = np.array(list(composites.COLOURS.values()))
    for pixels, labels in zip(test.pixels_BYXC, test.labels_BK, strict=True):
        field = pixels[:16, :16]
        brightest = field.reshape(-1, 3)[field.sum(axis=2).argmax()]
        ratio = brightest / brightest.max()
        assert np.abs(ratio - inks[labels[0]] / inks[labels[0]].max()).max() < 1e-3


def test_thick_digits_have_more_ink(source):
    found = composites.sources(source.pictures(source.train_BD[:50]), source.train_labels_B[:50])
    ink = np.asarray(found.images_I2YX).sum(axis=(2, 3))
    assert (ink[:, 1] > 1.15 * ink[:, 0]).all()


def test_a_missing_digit_is_named(source):
    import dataclasses

    few = dataclasses.replace(
        source,
        test_BD=source.test_BD[source.test_labels_B != 4],
        test_labels_B=source.test_labels_B[source.test_labels_B != 4],
    )
    with pytest.raises(ValueError, match="the test images have no 4"):
        composites.world(few, 4)


def test_blind_answers_are_the_commonest_of_training(world):
    questions = np.arange(len(world.questions))
    said = [world.answers[a] for a in world.blind(questions)]
    # Of four digits in five colours none is red as often as one: 41 % each.
    assert said[composites.OF_KIND[3][0]] in ("0", "1")
    assert said[composites.OF_KIND[4][0]] in ("8", "9", "10")  # of two digits the sum
    found = measure.controls(world, world.tests["test"])
    assert 0.3 < found["blind"]["count"] < 0.5
    assert found["chance"]["stroke"] == 0.5


def test_every_kind_is_asked_equally_often(world, drawn):
    for sample in (drawn, world.tests["test"]):
        kind_BM = world.kind(sample.question_BM)
        assert (kind_BM == np.array(composites.KINDS)).all()
    asked, counts = np.unique(np.asarray(drawn.question_BM), return_counts=True)
    assert len(asked) == len(world.questions)
    assert counts.min() > 30


def test_shuffled_pictures_are_other_pictures_with_the_same_questions(world):
    test = world.tests["test"]
    moved = measure.shuffled(test)
    np.testing.assert_array_equal(moved.question_BM, test.question_BM)
    assert not (moved.pixels_BYXC == test.pixels_BYXC).all(axis=(1, 2, 3)).any()


def test_every_word_of_an_answer_is_one_token_and_has_the_loss(world):
    found = words.words_of(world)
    for q, text in enumerate(world.questions[:3]):
        for a, answer in enumerate(world.answers):
            row, weight = found.rows_QAT[q, a], found.weights_QAT[q, a]
            assert found.tokenizer.decode(row[weight == 1].tolist()) == f" {answer}<|endoftext|>"
            assert weight.sum() == 2
            assert found.tokenizer.decode(row[: found.first_Q[q]].tolist()) == f"{text}{words.ASKS}"


def test_batches_are_of_one_length_and_lose_nothing(world):
    test = world.tests["test"]
    parts = measure.batches(test)
    assert {len(part.question_BM) for part in parts} == {measure.BATCH}
    joined = np.concatenate([part.answer_BM for part in parts])[: len(test.answer_BM)]
    np.testing.assert_array_equal(joined, test.answer_BM)
    right, token = measure.ask(lambda params, one: (one.answer_BM == 3, one.question_BM), None, test)
    np.testing.assert_array_equal(right, test.answer_BM == 3)
    np.testing.assert_array_equal(token, test.question_BM)


def test_store_is_an_argument_and_no_constant_of_the_program(world):
    lowered = jax.jit(lambda store, key: world.draw(store, key, jnp.int32(0), 4)).lower(world.store, jax.random.key(0))
    assert len(lowered.as_text()) < 300_000  # the images alone have 2.6 MB


def test_no_ink_leaves_its_field_on_the_other_side(world, source):
    """A thick digit, moved by the largest shift, still ends before the edge of its field."""
    images = np.asarray(world.store.images_I2YX)
    assert images[:, :, 0].max() == images[:, :, -1].max() == images[:, :, :, 0].max() == images[:, :, :, -1].max() == 0


@pytest.mark.long
def test_mnists_own_digits_are_composed_too(shared_data):
    world = composites.world(digits.load(str(shared_data / "mnist")), 4)
    images = np.asarray(world.store.images_I2YX)
    assert images.shape == (7200, 2, 16, 16)
    assert 0.5 < images[:, 0].max(axis=(1, 2)).mean() <= 1
    assert set(world.tests["test"].answer_BM.ravel().tolist()) <= set(range(len(world.answers)))
