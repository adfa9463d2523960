"""The checks of lesson 16 recognise the usual wrong answers by name, and the solutions are right."""

import runpy
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

LESSONS = Path(__file__).resolve().parents[2] / "lessons"


@pytest.fixture
def say(monkeypatch, capsys):
    """What the check of this exercise says to an answer."""

    def ask(exercise: str, answer) -> str:
        monkeypatch.syspath_prepend(str(LESSONS))
        getattr(import_module("checks.multimodality"), exercise)(answer)
        return " ".join(capsys.readouterr().out.split())

    yield ask
    for name in [name for name in sys.modules if name.split(".")[0] == "checks"]:
        del sys.modules[name]


def first_in_every_place(tokens, table, vectors, image):
    found = table[tokens]
    found[tokens == image] = vectors[0]
    return found


def at_the_beginning(tokens, table, vectors, image):
    found = table[tokens]
    found[: len(vectors)] = vectors
    return found


def commonest_of_all(train, test):
    best = Counter(answer for _, answer in train).most_common(1)[0][0]
    return float(np.mean([answer == best for _, answer in test]))


def whole_pictures(train, test):
    return float(np.mean([picture in train for picture in test]))


@pytest.mark.parametrize(
    ("exercise", "answer", "recognised"),
    [
        ("patches", lambda p, s: p.reshape(4, -1), "strips of rows, not squares"),
        ("patches", lambda p, s: p.reshape(2, s, 2, s, 3).transpose(2, 0, 1, 3, 4).reshape(4, -1), "reading order"),
        ("normalised", lambda p, m, s: (p - m) / s, "still 0 to 255"),
        ("normalised", lambda p, m, s: p / 255, "not normalised"),
        ("normalised", lambda p, m, s: p / 255 - m, "divide by the deviation"),
        ("prompt", lambda side, size, q, i: [i, *q], "15 of its 16 vectors have no place"),
        ("prompt", lambda side, size, q, i: [i] * 17 + q, "the class token's vector is left out"),
        ("prompt", lambda side, size, q, i: q + [i] * 16, "before it sees anything"),
        ("embedded", first_in_every_place, "the k-th placeholder gets the k-th"),
        ("embedded", at_the_beginning, "the placeholders do not"),
        ("embedded", lambda t, table, v, i: table[t], "the picture has not arrived"),
        ("loss_weights", lambda t, first, i: [int(k >= first) for k in range(len(t) - 1)], "one position too late"),
        ("loss_weights", lambda t, first, i: [1] * (len(t) - 1), "loss on the picture's positions"),
        ("loss_weights", lambda t, first, i: [int(x != i) for x in t[1:]], "loss on the question"),
        ("blind", commonest_of_all, "the question itself says more"),
        ("blind", lambda train, test: 0.8, "counted in the test"),
        ("leaks", whole_pictures, "whole pictures were compared"),
        ("codes", lambda p, c: (p @ c.T).argmax(axis=1), "the largest product is not the nearest"),
    ],
)
def test_usual_mistakes_about_pictures_are_recognised(say, exercise, answer, recognised):
    assert recognised in say(exercise, answer)


SOLUTIONS = runpy.run_path(str(LESSONS / "solutions/16_multimodality.py"))


@pytest.mark.parametrize(
    "exercise", ["patches", "normalised", "prompt", "embedded", "loss_weights", "blind", "leaks", "codes"]
)
def test_the_solution_is_right(say, exercise):
    assert say(exercise, SOLUTIONS[exercise]) == f"✓ {exercise}: right."
