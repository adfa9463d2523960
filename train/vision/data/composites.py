"""Pictures of 2 × 2 digits, each in one colour, thick or thin; questions about them, and their answers.

Picture i of a seed is a pure function of (seed, i): which digit images, which colours, strokes and shifts. Training
and test take their digit images from different sets, so no image is in both. Five (digit, colour) pairs are never drawn
in training; a test of its own has nothing but them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from llm_jax.shapes import Array, Float, Int
from train.first_principles.digits.data import Digits
from train.vision.data.world import Sample, World

FIELD, DRAWN = 16, 12  # pixels of a field and of the digit in it: room for a thicker stroke and a shift
SHIFT = 1  # pixels, at most, in each direction
PLACES = ("top left", "top right", "bottom left", "bottom right")
COLOURS = {
    "red": (1.0, 0.15, 0.1),
    "green": (0.1, 0.8, 0.2),
    "blue": (0.25, 0.4, 1.0),
    "yellow": (1.0, 0.9, 0.1),
    "white": (1.0, 1.0, 1.0),
}
LINES = {"top row": (0, 1), "bottom row": (2, 3), "left column": (0, 2), "right column": (1, 3)}
STROKES = ("thick", "thin")
N = len(COLOURS)  # digit d < N is never drawn in colour d in training
NUMBERS = 19  # answers 0 to 18
ANSWERS = (*map(str, range(NUMBERS)), *COLOURS, *STROKES)
QUESTIONS = {
    **{f"which digit is {place}?": "position" for place in PLACES},
    **{f"what colour is the {place} digit?": "colour" for place in PLACES},
    **{f"is the {place} digit thick or thin?": "stroke" for place in PLACES},
    **{f"how many digits are {colour}?": "count" for colour in COLOURS},
    **{f"what is the sum of the {line}?": "sum" for line in LINES},
}
KINDS = tuple(dict.fromkeys(QUESTIONS.values()))
OF_KIND = np.array([[*range(4), 0], [*range(4, 8), 4], [*range(8, 12), 8], [*range(12, 17)], [*range(17, 21), 17]])
MANY = np.array([4, 4, 4, 5, 4])  # questions of each kind
CHANCES = {"position": 1 / 10, "colour": 1 / N, "stroke": 1 / 2, "count": 1 / 5, "sum": 1 / NUMBERS}
TEST_SEED = 1_000_003  # the tests are the same for every run


class Sources(NamedTuple):
    """Digit images to draw from, digits below `N` first."""

    images_I2YX: Float[Array, "I 2 Y X"]  # thin, thick
    digit_I: Int[Array, "I"]
    n_low: Int[Array, ""]  # images of digits below N


class Composed(NamedTuple):
    """One picture and what is in it, place by place."""

    pixels_YXC: Float[Array, "Y X C"]
    digit_4: Int[Array, "4"]
    colour_4: Int[Array, "4"]
    is_thick_4: Int[Array, "4"]


def sources(images_IYX: np.ndarray, digit_I: np.ndarray) -> Sources:
    """Images of any size, resized into their field; thick ones have every pixel's brightest neighbour."""
    order = np.argsort(digit_I >= N, kind="stable")
    resized = jax.image.resize(jnp.asarray(images_IYX[order]), (len(order), DRAWN, DRAWN), "linear")
    margin = (FIELD - DRAWN) // 2
    thin = np.pad(np.clip(np.asarray(resized), 0, 1), ((0, 0), (margin, margin), (margin, margin)))
    neighbours = [np.roll(thin, shift, axis) for shift, axis in ((1, 1), (-1, 1), (1, 2), (-1, 2))]
    thick = np.maximum.reduce([thin, *neighbours])
    images = np.stack([thin, thick], axis=1).astype(np.float32)
    return Sources(jnp.asarray(images), jnp.asarray(digit_I[order], jnp.int32), jnp.int32((digit_I < N).sum()))


def compose(sources: Sources, key: Array, is_unseen: bool) -> Composed:
    """The picture of a key; `is_unseen`: of pairs that training never draws, otherwise of the others."""
    of_digit, of_colour, of_stroke, of_shift = jax.random.split(key, 4)
    most = sources.n_low if is_unseen else len(sources.digit_I)
    image_4 = jax.random.randint(of_digit, (4,), 0, most)
    digit_4 = sources.digit_I[image_4]
    other_4 = jax.random.randint(of_colour, (4,), 0, N - 1)
    other_4 += other_4 >= digit_4
    any_4 = jax.random.randint(jax.random.fold_in(of_colour, 1), (4,), 0, N)
    colour_4 = digit_4 if is_unseen else jnp.where(digit_4 < N, other_4, any_4)
    is_thick_4 = jax.random.bernoulli(of_stroke, 0.5, (4,)).astype(jnp.int32)
    shift_42 = jax.random.randint(of_shift, (4, 2), -SHIFT, SHIFT + 1)
    drawn_4YX = jax.vmap(lambda image, by: jnp.roll(image, by, (0, 1)))(
        sources.images_I2YX[image_4, is_thick_4], shift_42
    )
    ink_NC = jnp.array(list(COLOURS.values()), jnp.float32)
    tiles = (drawn_4YX[..., None] * ink_NC[colour_4][:, None, None]).reshape(2, 2, FIELD, FIELD, 3)
    pixels_YXC = tiles.transpose(0, 2, 1, 3, 4).reshape(2 * FIELD, 2 * FIELD, 3)
    return Composed(pixels_YXC, digit_4, colour_4, is_thick_4)


def answers(picture: Composed) -> Int[Array, "Q"]:
    """The answer to every question, as numbers of `ANSWERS`."""
    counts = (picture.colour_4 == jnp.arange(N)[:, None]).sum(axis=1)
    sums = jnp.stack([picture.digit_4[a] + picture.digit_4[b] for a, b in LINES.values()])
    strokes = NUMBERS + N + 1 - picture.is_thick_4
    return jnp.concatenate([picture.digit_4, NUMBERS + picture.colour_4, strokes, counts, sums])


def draw(store: Sources, key: Array, first: int | Array, n: int, is_unseen: bool = False) -> Sample:
    """Examples `first` to `first + n` of a key: each picture with one question of each kind."""

    def one(index: Array) -> Sample:
        of_picture, *keys = jax.random.split(jax.random.fold_in(key, index), 1 + len(KINDS))
        picture = compose(store, of_picture, is_unseen)
        question_M = jnp.stack([_question(of_kind, kind) for kind, of_kind in enumerate(keys)])
        return Sample(picture.pixels_YXC, _labels(picture), question_M, answers(picture)[question_M])

    return jax.vmap(one)(first + jnp.arange(n))


def _question(key: Array, kind: int | Array) -> Array:
    return jnp.asarray(OF_KIND)[kind, jax.random.randint(key, (), 0, jnp.asarray(MANY)[kind])]


def _labels(picture: Composed) -> Array:
    return jnp.stack([picture.colour_4, picture.digit_4], axis=1).reshape(-1)


def _test(store: Sources, seed: int, n: int, is_unseen: bool) -> Sample:
    drawn = jax.jit(lambda store: draw(store, jax.random.key(seed), 0, n, is_unseen))(store)
    return jax.tree.map(np.asarray, drawn)


def world(digits: Digits, n_test: int) -> World:
    """Training on the training images; two tests on the test images: pairs that training draws, and those it does not.

    Raises:
        ValueError: a digit is missing in one of the sets.
    """
    store = sources(digits.pictures(digits.train_BD), digits.train_labels_B)
    held_out = sources(digits.pictures(digits.test_BD), digits.test_labels_B)
    for name, labels in (("training", digits.train_labels_B), ("test", digits.test_labels_B)):
        if missing := set(range(10)) - set(labels.tolist()):
            raise ValueError(f"{digits.source}: the {name} images have no {min(missing)}: every digit must be there")
    drawn = jax.jit(lambda store: draw(store, jax.random.key(TEST_SEED + 2), 0, 4_000)[2:])(store)
    prior_QA = np.zeros((len(QUESTIONS), len(ANSWERS)), np.int64)
    np.add.at(prior_QA, tuple(np.asarray(x) for x in drawn), 1)
    return World(
        name=f"composites of {digits.source}",
        questions=tuple(QUESTIONS),
        kinds=tuple(QUESTIONS.values()),
        answers=ANSWERS,
        chances=CHANCES,
        places=(tuple(COLOURS), tuple(map(str, range(10)))) * 4,
        image_size=2 * FIELD,
        store=store,
        draw=draw,
        tests={
            "test": _test(held_out, TEST_SEED, n_test, False),
            "unseen pairs": _test(held_out, TEST_SEED + 1, n_test, True),
        },
        n_asked=len(KINDS),
        prior_QA=prior_QA,
    )
