"""n-grams of a benchmark in documents: context and right answer apart, and accuracy on clean and dirty items."""

import json

import numpy as np
import pytest

pytest.importorskip("datatrove", reason="a critique needs the extra curate")
pytest.importorskip("spacy", reason="a critique needs the extra curate")

from llm_jax.scoring.choices import ours
from train.critique import contamination
from train.critique.documents import Document
from train.critique.words import AtSpaces

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def words(prefix, n):
    letters = "abcdefghijklmnopqrstuvwxyz"
    return " ".join(f"{prefix}{letters[i]}" for i in range(n))


ROWS = [
    {"ctx": words("p", 15), "endings": [words("q", 9), words("r", 15)], "label": "1"},
    {"ctx": words("s", 15), "endings": [words("t", 9), words("u", 9)], "label": "0"},
    {"ctx": words("v", 15), "endings": [words("w", 15), words("x", 15)], "label": 0},
    {"ctx": "short", "endings": ["no", "yes"], "label": "1"},
]


@pytest.fixture
def benchmark(tmp_path):
    path = tmp_path / "benchmark.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def search(path, texts, names=()):
    pieces = [Document(text, f"row {i}", "", None) for i, text in enumerate(texts)]
    return contamination.contamination(pieces, path, contamination.read(path), AtSpaces(), names)


def test_context_and_right_answer_are_found_apart_and_by_length(benchmark):
    texts = [
        f"before {ROWS[0]['ctx'].upper()}, after",  # the whole context, in other letters and signs
        ROWS[1]["endings"][0],  # nine words of a right answer
        ROWS[2]["endings"][1],  # a wrong answer
        " ".join(ROWS[2]["ctx"].split()[:12]),
    ]
    found = {row["words"]: row for row in search(benchmark, texts)["lengths"]}
    assert [found[n]["context"]["items"] for n in (8, 12, 13)] == [2, 2, 1]
    assert [found[n]["answer"]["items"] for n in (8, 12, 13)] == [1, 0, 0]
    assert [found[n]["documents"] for n in (8, 12, 13)] == [3, 2, 1]
    assert found[8]["answer"]["long_enough"] == 3
    assert found[13]["answer"]["long_enough"] == 2


def test_accuracy_is_compared_between_dirty_and_clean_items(benchmark, tmp_path):
    right = [True, False, False, True]
    items = [{"item": str(i), "gold": int(row["label"])} for i, row in enumerate(ROWS)]
    for item, ok in zip(items, right, strict=True):
        item["sum"] = [-1.0 if (k == item["gold"]) == ok else -2.0 for k in (0, 1)]
    path = tmp_path / "choices.jsonl"
    ours.write(path, {"model": "m", "task": "hellaswag"}, items)
    model = search(benchmark, [ROWS[0]["ctx"], ROWS[1]["ctx"]], [str(path)])["models"][0]
    split = next(row for row in model["splits"] if row["words"] == 13 and row["part"] == "either")
    assert (split["dirty"]["items"], split["dirty"]["accuracy"]) == (2, 0.5)
    assert (split["clean"]["items"], split["clean"]["accuracy"]) == (2, 0.5)
    assert split["difference"] == 0
    assert split["interval"][0] < -0.5 < 0.5 < split["interval"][1]
    empty = next(row for row in model["splits"] if row["part"] == "answer")
    assert empty["dirty"]["accuracy"] is None
    assert empty["difference"] is None


def test_the_interval_of_a_difference_is_newcombe_s_published_example():
    """Newcombe 1998 (Statistics in Medicine 17, 873), table II, method 10: 56/70 − 48/80 gives 0.0524 to 0.3339."""
    right = np.repeat([1.0, 0.0, 1.0, 0.0], [56, 14, 48, 32])
    found = contamination._difference(right, np.arange(150) < 70)
    assert found["difference"] == pytest.approx(0.2)
    assert found["interval"] == pytest.approx([0.0524, 0.3339], abs=1e-4)


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        ({"goal": "g", "sol1": "one", "sol2": "two", "label": 1}, "two"),
        ({"question": "q", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "B"}, "y"),
        ({"question": "q", "choices": ["x", "y"], "answer": 0}, "x"),
        ({"question": "q", "answer": "so it is 4"}, "so it is 4"),
        ({"ctx_a": "a", "ctx_b": "b", "endings": ["x", "y"], "label": "1"}, "y"),
    ],
)
def test_the_right_answer_of_every_benchmark_is_read(tmp_path, row, answer):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row))
    assert contamination.read(path)[0].answer == answer


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ('{"ctx": "a", "endings": ["x"], "label": "3"}', "row 1: damaged"),
        ('{"ctx": "a", "endings": ["x"], "label": ""}', "row 1: damaged"),
        ('{"ctx": "a", "endings": ["x"], "label": "-1"}', "row 1: damaged"),
        ('{"text": "a"}', "has the columns text; expected those of HellaSwag"),
        ('{"ctx": "a", "endings', "benchmark.jsonl"),
    ],
)
def test_a_damaged_benchmark_file_is_named(tmp_path, text, message):
    path = tmp_path / "benchmark.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        contamination.read(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_choices_of_other_items_are_refused(benchmark, tmp_path):
    path = tmp_path / "choices.jsonl"
    ours.write(path, {"model": "m", "task": "hellaswag"}, [{"item": "0", "gold": 1, "sum": [-1.0, -2.0]}])
    with pytest.raises(ValueError, match=r"has 1 items, .* has 4: these are other items"):
        search(benchmark, ["text"], [str(path)])
