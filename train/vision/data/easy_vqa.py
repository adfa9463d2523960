"""easy-vqa (Zhou 2019): 5,000 pictures of one shape in one colour, 48,248 questions, 13 answers. MIT licence.

Pictures and questions come from the package `easy-vqa`, which divides them into training and test pictures. What is in
a training picture (its words) is read from its questions, for the package does not list it. Pictures are halved to
32 × 32 pixels. A third of the answers follows from the question alone or not: most are yes or no.

No question asks where something is, or which way it points. So a training picture is mirrored half of the time, and
moved by up to `MOVE` pixels: 4,000 pictures are too few to learn a shape from.
"""

import re
from importlib.util import find_spec
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from llm_jax.shapes import Array
from train.vision.data.world import Sample, World

SHAPES = ("circle", "rectangle", "triangle")
COLOURS = ("black", "blue", "brown", "gray", "green", "red", "teal", "yellow")
KINDS = {"yes": "yes or no", "no": "yes or no"} | dict.fromkeys(SHAPES, "shape") | dict.fromkeys(COLOURS, "colour")
CHANCES = {"shape": 1 / 3, "colour": 1 / 8, "yes or no": 1 / 2}
SIDE = 32
MOVE = 4  # pixels
ASKED = 4  # questions of a training picture; most have nine or ten
NEEDS = "easy-vqa is not installed: `uv sync --extra vision`, or `pip install 'llm-jax[vision]'`"


class Store(NamedTuple):
    """Pictures, and the questions of each, one picture after the other: arrays of NumPy or of JAX."""

    pixels_IYXC: Any  # bytes
    labels_IK: Any
    picture_R: Any
    question_R: Any
    answer_R: Any
    first_I: Any  # the first question of each picture
    many_I: Any  # how many it has


def draw(store: Store, key: Array, first: int | Array, n: int) -> Sample:
    """Questions at random, each with its picture, mirrored or moved, and with the `ASKED` − 1 that follow it.

    Example i of a key is the same in every batch. A picture that has fewer questions is asked some of them again.
    """
    keys_B3 = jax.vmap(lambda index: jax.random.split(jax.random.fold_in(key, index), 3))(first + jnp.arange(n))
    row_B = jax.vmap(lambda of_row: jax.random.randint(of_row, (), 0, len(store.picture_R)))(keys_B3[:, 0])
    first_B1, many_B1 = (of_I[store.picture_R[row_B]][:, None] for of_I in (store.first_I, store.many_I))
    sample = rows(store, first_B1 + (row_B[:, None] - first_B1 + jnp.arange(ASKED)) % many_B1)
    return sample._replace(pixels_BYXC=jax.vmap(_varied)(sample.pixels_BYXC, keys_B3[:, 1], keys_B3[:, 2]))


def _varied(pixels_YXC: Array, of_mirror: Array, of_move: Array) -> Array:
    """The picture mirrored half of the time and moved; what comes in at a border repeats it."""
    pixels_YXC = jnp.where(jax.random.bernoulli(of_mirror), pixels_YXC[:, ::-1], pixels_YXC)
    around = jnp.pad(pixels_YXC, ((MOVE, MOVE), (MOVE, MOVE), (0, 0)), mode="edge")
    y, x = jax.random.randint(of_move, (2,), 0, 2 * MOVE + 1)
    return jax.lax.dynamic_slice(around, (y, x, 0), pixels_YXC.shape)


def rows(store: Store, row_BM: Any) -> Sample:
    """The questions of these numbers, those of a line about one picture."""
    picture_B = store.picture_R[row_BM[:, 0]]
    pixels = store.pixels_IYXC[picture_B].astype(np.float32) / 255
    return Sample(pixels, store.labels_IK[picture_B], store.question_R[row_BM], store.answer_R[row_BM])


def world(n_test: int) -> World:
    """The package's own division into training and test. `n_test`: most test pictures; 0: all.

    Raises:
        ImportError: the package is not installed.
    """
    if not find_spec("easy_vqa"):
        raise ImportError(NEEDS)
    import easy_vqa  # pyright: ignore[reportMissingImports]

    answers = tuple(sorted(KINDS))
    texts, replies, pictures = easy_vqa.get_train_questions()
    questions = tuple(sorted(set(texts)))
    store = _store(texts, replies, pictures, easy_vqa.get_train_image_paths(), questions, answers)
    held_out = _store(*easy_vqa.get_test_questions(), easy_vqa.get_test_image_paths(), questions, answers)
    prior_QA = np.zeros((len(questions), len(answers)), np.int64)
    np.add.at(prior_QA, (np.asarray(store.question_R), np.asarray(store.answer_R)), 1)
    kept = np.flatnonzero(held_out.picture_R < (n_test or len(held_out.pixels_IYXC)))
    return World(
        name="easy-vqa",
        questions=questions,
        kinds=tuple(KINDS[answers[best]] for best in prior_QA.argmax(axis=1)),
        answers=answers,
        chances=CHANCES,
        places=(COLOURS, SHAPES),
        image_size=SIDE,
        store=jax.tree.map(jnp.asarray, store),
        draw=draw,
        tests={"test": rows(held_out, kept[:, None])},
        n_asked=ASKED,
        prior_QA=prior_QA,
    )


def _store(texts, replies, pictures, paths, questions: tuple[str, ...], answers: tuple[str, ...]) -> Store:
    order, many = np.argsort(np.asarray(pictures), kind="stable"), np.bincount(pictures, minlength=len(paths))
    labels = np.full((len(paths), 2), -1, np.int32)
    for text, reply, picture in zip(texts, replies, pictures, strict=True):
        for place, word in _said(text, reply):
            labels[picture, place] = word
    return Store(
        np.stack([_pixels(paths[number]) for number in range(len(paths))]),
        labels,
        np.asarray(pictures, np.int32)[order],
        np.array([questions.index(text) for text in texts], np.int32)[order],
        np.array([answers.index(reply) for reply in replies], np.int32)[order],
        (np.cumsum(many) - many).astype(np.int32),
        many.astype(np.int32),
    )


def _said(text: str, reply: str) -> list[tuple[int, int]]:
    """What a question and its answer say about the picture: (place, number of the word)."""
    is_denied = (reply == "no") != bool(re.search(r"\b(not|no)\b", text))
    words = [] if is_denied else re.findall(r"[a-z]+", text)
    found = [word for word in (*words, reply) if word in KINDS and KINDS[word] != "yes or no"]
    return [(0, COLOURS.index(word)) if word in COLOURS else (1, SHAPES.index(word)) for word in found]


def _pixels(path: str) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB").reduce(picture.width // SIDE))
