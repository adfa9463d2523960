"""Files of choices: three formats, and damaged ones. What `serve evaluate` writes: tests/serve/test_evaluate.py."""

import json
import math

import numpy as np
import pytest

from llm_jax.scoring.choices import ours, reading

HEADER = {"format": "llm-jax choices", "version": 1, "model": "m", "task": "t"}
ITEM = {"item": "0", "gold": 1, "sum": [-1.0, -2.0], "tokens": [1, 2]}


def file_of(path, *lines):
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_what_is_written_is_read(tmp_path):
    more = ITEM | {
        "item": "1",
        "gold": 0,
        "group": "g",
        "subset": {"kind": "a"},
        "sum": [-1, -2, -3],
        "tokens": [1, 1, 1],
    }
    ours.write(tmp_path / "a.jsonl", {"model": "m", "task": "t", "prompt": "p"}, [ITEM, more])
    found = reading.read(tmp_path / "a.jsonl")
    assert (found.model, found.task, found.prompt, found.items) == ("m", "t", "p", ("0", "1"))
    assert found.gold.tolist() == [1, 0]
    np.testing.assert_array_equal(found.columns["sum"], [[-1, -2, math.nan], [-1, -2, -3]])
    assert found.group == ("", "g")
    assert found.subsets == {"kind": ("", "a")}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER], "has no items"),
        ([HEADER | {"version": 2}, ITEM], "has version 2 of the format; this program reads 1"),
        ([HEADER | {"items": 5}, ITEM], "has 1 items; its first line promises 5"),
        ([{"format": "llm-jax choices", "version": 1, "task": "t"}, ITEM], "has no model"),
        ([HEADER, ITEM | {"sum": [math.nan, -1.0]}], "sum is [nan, -1.0]; expected a number for each answer"),
        (
            [HEADER, ITEM | {"sum": [-math.inf, -1.0]}],
            "answer 0: sum is -inf; a log-probability is at most 0 and finite",
        ),
        ([HEADER, ITEM | {"sum": [-1.0, 0.7]}], "answer 1: sum is 0.7; a log-probability is at most 0"),
        ([HEADER, ITEM | {"tokens": [0, 1]}], "tokens is 0; it must be positive"),
        ([HEADER, ITEM | {"tokens": [1]}], "tokens has not as many values as sum"),
        ([HEADER, ITEM | {"sum": [-1.0], "tokens": [1]}], "item 0: 1 answer; a choice needs two"),
        ([HEADER, ITEM | {"gold": 2}], "the right answer is number 2, of 2"),
        ([HEADER, ITEM | {"gold": "B"}], "line 2: an item needs its name and the number of the right answer"),
        ([HEADER, ITEM, ITEM], "has item '0' twice"),
        ([HEADER, ITEM, {"item": "1", "gold": 0, "sum": [-1, -2]}], "line 3 has no list 'tokens'"),
        ([HEADER, {"item": "0", "gold": 0}], "has no log-probabilities"),
        ([HEADER, ITEM | {"sum": ["a", "b"]}], "sum holds ['a', 'b']; expected numbers"),
        ([HEADER, "{"], "line 2: not valid JSON"),
        ([{"x": 1}], "has the fields x; expected a file of"),
        (["hello"], "begins with 'hello'"),
        ([], "is empty"),
        (["nll_0,nll_1", "-1,x"], "line 2: '-1,x' are not numbers"),
        (["nll_0,nll_1", "-1"], "line 2 has 1 values; the header has 2"),
        (["nll_0,nll_1", "-1,nan"], "expected a number for each answer"),
        (["nll_0,nll_1", "-1,-2"], "does not say which answers are right: give the data file with --items"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path, lines, message):
    path = file_of(tmp_path / "a.jsonl", *lines)
    with pytest.raises(ValueError, match=r"a\.jsonl") as caught:
        reading.read_all([str(path)], None)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_model_twice_is_refused_unless_one_is_named(tmp_path):
    first, second = (str(file_of(tmp_path / name, HEADER, ITEM)) for name in ("a.jsonl", "b.jsonl"))
    with pytest.raises(ValueError, match=r"both have sum of m on t .* NAME=FILE"):
        reading.read_all([first, second], None)
    found = reading.read_all([first, f"other:5-shot={second}"], None)
    assert [(one.model, one.prompt) for one in found] == [("m", ""), ("other", "5-shot")]


def test_a_data_file_with_other_items_is_refused(tmp_path):
    means = file_of(tmp_path / "a.csv", "nll_0,nll_1", "-1,-2", "-2,-1")
    row = {"endings": ["x", "yy"], "label": "1"}
    items = file_of(tmp_path / "items.jsonl", row)
    with pytest.raises(ValueError, match=r"a\.csv has 2 items, .*items\.jsonl has 1"):
        reading.read_all([str(means)], items)
    (found,) = reading.read_all([str(means)], file_of(tmp_path / "items.jsonl", row, row))
    assert found.gold.tolist() == [1, 1]
    assert found.columns.keys() == {"token mean"}
    assert found.lengths.tolist() == [[1, 2], [1, 2]]


def test_samples_of_another_kind_of_task_are_refused(tmp_path):
    row = {
        "doc_id": 0,
        "doc": {},
        "target": "x",
        "arguments": {"gen_args_0": {"arg_0": "q"}},
        "filtered_resps": ["text"],
    }
    with pytest.raises(ValueError, match="line 1 is no multiple choice"):
        reading.read(file_of(tmp_path / "samples_gsm8k.jsonl", row))


def test_a_target_that_its_acc_contradicts_is_refused(tmp_path):
    arguments = {f"gen_args_{i}": {"arg_0": "q", "arg_1": f" {i}"} for i in (1, 2)}
    responses = [["-1.0", "True"], ["-2.0", "False"]]
    row = {"doc_id": 0, "doc": {}, "target": "1", "arguments": arguments, "filtered_resps": responses, "acc": 1.0}
    with pytest.raises(ValueError, match="line 1: by its acc of 1, target '1' is another answer than number 1"):
        reading.read(file_of(tmp_path / "samples_t.jsonl", row))


def test_sums_after_an_empty_context_are_the_unconditional_ones(tmp_path):
    pairs = [("q", " a"), ("q", " b"), ("", " a"), ("", " b")]
    arguments = {f"gen_args_{i}": {"arg_0": context, "arg_1": answer} for i, (context, answer) in enumerate(pairs)}
    responses = [["-1.0", "True"], ["-2.0", "False"], ["-3.0", "False"], ["-4.0", "False"]]
    row = {"doc_id": 0, "doc": {}, "target": "b", "arguments": arguments, "filtered_resps": responses}
    found = reading.read(file_of(tmp_path / "samples_truthfulqa_mc1_2026-01-01T00-00-00.1.jsonl", row))
    assert found.task == "truthfulqa_mc1"
    assert found.gold.tolist() == [1]
    assert found.columns["sum"].tolist() == [[-1, -2]]
    assert found.columns["unconditional"].tolist() == [[-3, -4]]
