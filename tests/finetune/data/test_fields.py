"""Values and columns of rows: missing ones, JSON in tables, labels, splits, and what is said of columns not read."""

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from finetuning_data import chat

from train.finetune.data.config import DataConfig
from train.finetune.data.reading.read import Reader, tables

NAN, INF = float("nan"), float("inf")
PAIR = {"instruction": "a", "output": "b"}
MESSAGES = chat("u:a", "a:b")["messages"]


def read(path, **settings):
    config = DataConfig(files=(path,), **settings)
    return [record for _, record in Reader(config).records(tables(config))]


def as_csv(rows):
    text = io.StringIO(newline="")
    csv.writer(text).writerows([list(rows[0]), *(row.values() for row in rows)])
    return text.getvalue()


def as_parquet(rows):
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


IN_FILES = {
    "data.jsonl": lambda rows: rows,
    "data.json": json.dumps,
    "data.csv": as_csv,
    "data.parquet": as_parquet,
}


@pytest.mark.parametrize("name", ["input", "system", "history"])
def test_nan_in_a_column_that_may_be_empty_is_empty(name, file_of):
    (found,) = read(file_of([PAIR | {name: NAN}]))
    assert [one["content"] for one in found.messages] == ["a", "b"]


def test_nan_in_a_message_is_missing(file_of):
    messages = [{"role": "user", "content": "a", "name": NAN}, {"role": "assistant", "content": "b", "weight": NAN}]
    (found,) = read(file_of([{"messages": messages, "system": NAN, "tools": NAN}]))
    assert [sorted(one) for one in found.messages] == [["content", "role"]] * 2
    with pytest.raises(ValueError, match=r"messages\[0\].content must be a text"):
        read(file_of([{"messages": [{"role": "user", "content": NAN}]}]))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"instruction": "a", "output": NAN}, "'output' is null; expected a text"),
        ({"prompt": NAN, "completion": "b"}, "'prompt' is null; expected a text"),
        ({"prompt": NAN, "chosen": "b", "rejected": "c"}, "no 'prompt' and no 'instruction'"),
        ({"messages": NAN}, "messages must be a list of at least one message; got null"),
        ({"text": NAN, "label": "a"}, "'text' is null; expected a text"),
        ({"text": "a", "label": NAN}, "'label' is None; expected the name"),
        ({"text": "a", "label": INF}, "'label' is inf; expected the name"),
        ({"text": "a", "label": -INF}, "'label' is -inf; expected the name"),
        ({"text": INF, "label": 1}, "'text' is inf; expected a text"),
        ({"instruction": "a", "output": -INF}, "'output' is -inf; expected a text"),
        ({"instruction": "a", "input": INF, "output": "b"}, "'input' is inf; expected a text"),
        ({"instruction": "a", "output": "b", "history": INF}, "'history' must be a list of pairs of texts; got inf"),
    ],
)
def test_a_number_that_is_none_is_no_text_and_no_label(row, message, file_of):
    with pytest.raises(ValueError, match=message):
        read(file_of([row]))


@pytest.mark.parametrize("name", IN_FILES)
@pytest.mark.parametrize(
    "answer", ['[{"entity": "Bob", "type": "PER"}]', "[]", '["a"]', '{"a": 1}', "null", "[1]", '[{"role": "user"}]']
)
def test_an_answer_that_is_json_stays_a_text(name, answer, file_of):
    for row in (
        {"instruction": "a", "output": answer},
        {"prompt": "a", "completion": answer},
        {"prompt": "a", "chosen": answer, "rejected": "c"},
    ):
        (found,) = read(file_of(IN_FILES[name]([row]), name))
        chosen = found.chosen if "chosen" in row else found
        assert chosen.messages[-1]["content"] == answer


@pytest.mark.parametrize("name", IN_FILES)
@pytest.mark.parametrize("column", ["messages", "conversations"])
def test_messages_as_json_are_read_from_every_file(name, column, file_of):
    (found,) = read(file_of(IN_FILES[name]([{column: json.dumps(MESSAGES)}]), name))
    assert list(found.messages) == MESSAGES


@pytest.mark.parametrize("name", IN_FILES)
def test_prompt_and_answers_as_json_messages_are_read_from_every_file(name, file_of):
    row = {"prompt": [{"from": "human", "value": "a"}], "chosen": MESSAGES[1:], "rejected": MESSAGES[1:]}
    (found,) = read(file_of(IN_FILES[name]([{key: json.dumps(value) for key, value in row.items()}]), name))
    assert list(found.chosen.messages) == MESSAGES


@pytest.mark.parametrize("name", IN_FILES)
@pytest.mark.parametrize(
    ("history", "before"), [("", []), ("[]", []), ("null", []), (" [ ] ", []), ('[["x", "y"]]', ["x", "y"])]
)
def test_history_as_json_is_read_from_every_file(name, history, before, file_of):
    (found,) = read(file_of(IN_FILES[name]([PAIR | {"history": history}]), name))
    assert [one["content"] for one in found.messages] == [*before, "a", "b"]


@pytest.mark.parametrize("empty", ["[]", "", " ", "{}", "null", [], {}, None])
def test_no_tools_are_no_calls_of_tools(empty, file_of):
    row = {"messages": [MESSAGES[0], MESSAGES[1] | {"tool_calls": empty}], "tools": empty, "functions": empty}
    (found,) = read(file_of([row]))
    assert list(found.messages) == MESSAGES


@pytest.mark.parametrize("tools", ['[{"type": "function"}]', "[broken", "search", [{"type": "function"}]])
def test_tools_are_refused_however_they_are_written(tools, file_of):
    with pytest.raises(ValueError, match="'tools': calls of tools are not trained"):
        read(file_of([{"messages": MESSAGES, "tools": tools}]))


@pytest.mark.parametrize("good", [True, "True", 1, 1.0, "1.0", None])
@pytest.mark.parametrize("row", [PAIR, {"prompt": "a", "completion": "b"}, {"messages": MESSAGES}])
def test_of_unpaired_preferences_only_good_answers_are_read(row, good, file_of, caplog):
    assert len(read(file_of([row | {"label": good}]))) == 1
    assert not caplog.text
    for bad in (False, "False", 0, "0"):
        with pytest.raises(
            ValueError, match=r":2: 'label' is .*, as in unpaired preference data \(KTO\).*keep the rows with"
        ):
            read(file_of([row | {"label": good}, row | {"label": bad}]))


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"text": "t", "label": "a", "system": "S", "input": "i"}, ["system", "input"]),
        (PAIR | {"text": "a b"}, ["text"]),
        (PAIR | {"label": "poem"}, ["label"]),
        (PAIR | {"chosen": "b", "rejected": "c"}, ["output"]),
        (PAIR | {"prompt": "a", "chosen": "b", "rejected": "c"}, ["instruction", "output"]),
        ({"messages": MESSAGES, "conversations": MESSAGES, "history": [["x", "y"]]}, ["conversations", "history"]),
        ({"messages": MESSAGES, "system": "S", "input": "", "history": "[]", "prompt": NAN, "source": "web"}, []),
    ],
)
def test_filled_columns_that_are_not_read_are_named_and_counted(row, columns, file_of, caplog):
    read(file_of([row, row]))
    said = [f"--data: column {name!r} is not read of " for name in columns]
    assert sorted(message.split(" of ")[0] + " of " for message in caplog.messages) == sorted(said)
    assert all(message.endswith(": filled in 2 row(s)") for message in caplog.messages)


def test_an_optional_column_of_another_usual_name_is_named_with_the_flag_that_reads_it(file_of, caplog):
    row = {"question": "a", "context": "c", "system_prompt": "S", "response": "b", "answer": ""}
    path, columns = file_of([row]), ("instruction=question", "output=response")
    read(path, columns=columns)
    assert sorted(message.split("; ")[1] for message in caplog.messages) == [
        "--columns input=context reads it",
        "--columns system=system_prompt reads it",
    ]
    caplog.clear()
    (found,) = read(path, columns=(*columns, "input=context", "system=system_prompt"))
    assert [one["content"] for one in found.messages] == ["S", "a\n\nc", "b"]
    assert not caplog.text


SPLITS = [{"text": name, "label": "a", "split": name} for name in ("train", "Training", "test", "dev", "fold 3", None)]


@pytest.mark.parametrize(
    ("split", "texts", "left"),
    [
        ("train", ["train", "Training", "fold 3", "None"], "'train' are left out: 1 test, 1 validation"),
        ("train[:9]", ["train", "Training", "fold 3", "None"], "'train' are left out: 1 test, 1 validation"),
        ("test", ["test", "fold 3", "None"], "'test' are left out: 2 train, 1 validation"),
        ("val", ["dev", "fold 3", "None"], "'validation' are left out: 1 test, 2 train"),
    ],
)
def test_of_a_column_split_one_split_is_read(split, texts, left, file_of, caplog):
    rows = [row | {"text": str(row["text"])} for row in SPLITS]
    assert [one.text for one in read(file_of(rows), dataset_split=split)] == texts
    assert f"--data: rows whose column 'split' is not {left}; --dataset-split chooses" in caplog.text


def test_rows_of_other_splits_alone_are_refused_and_validation_reads_them(file_of):
    path = file_of(SPLITS[2:4])
    with pytest.raises(ValueError, match="no row has 'train' in its column 'split'; there are 1 test, 1 validation"):
        read(path)
    config = DataConfig(val_files=(path,))
    assert len(list(Reader(config).records(tables(config, for_validation=True)))) == 2


def class_labels(labels):
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), "class": ClassLabel(names=["neg", "pos"])})
    return Dataset.from_dict({"text": ["t"] * len(labels), "class": labels}, features=features)


@pytest.mark.parametrize("how", ["parquet", "folder", "hub"])
def test_labels_have_the_names_that_datasets_knows(how, tmp_path, monkeypatch):
    made, path = class_labels([0, 1]), str(tmp_path / "made")
    if how == "parquet":
        made.to_parquet(path)
    elif how == "folder":
        made.save_to_disk(path)
    else:
        monkeypatch.setattr("datasets.load_dataset", lambda name, config, split: made)
        path = "hf:made"
    assert [one.label for one in read(path, columns=("label=class",))] == ["neg", "pos"]


def test_a_row_that_datasets_marks_as_unlabelled_is_no_class(tmp_path):
    path = str(tmp_path / "made.parquet")
    class_labels([0, -1, 1]).to_parquet(path)
    with pytest.raises(ValueError, match=r"row 1: 'label' is None; .* left out by --skip-bad-rows N"):
        read(path, columns=("label=class",))
    assert [one.label for one in read(path, columns=("label=class",), skip_bad_rows=1)] == ["neg", "pos"]


MESSAGE = {"role": "user", "content": "a"}
PRINTED = (str([MESSAGE]), f"[{MESSAGE} {MESSAGE}]", str([{"from": "gpt", "value": "it's"}]))


@pytest.mark.parametrize("text", PRINTED)
@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"prompt": "a"}, "completion"),
        ({"completion": "a"}, "prompt"),
        ({"prompt": "a", "rejected": "b"}, "chosen"),
        ({"prompt": "a", "chosen": "b"}, "rejected"),
        ({}, "messages"),
        ({}, "conversations"),
    ],
)
def test_messages_as_python_prints_them_are_refused_and_not_learned(row, name, text, file_of):
    path = file_of(as_csv([row | {name: text}]), "data.csv")
    with pytest.raises(
        ValueError, match=rf"data.csv:2: '{name}' holds messages .*: save the rows as JSON lines or parq"
    ):
        read(path)


def test_an_answer_that_only_speaks_of_messages_is_learned(file_of):
    answers = ["[{'role'}]", '[{"role": "user"}]', "So: " + PRINTED[0], "[1, {'role': 'user'}]"]
    found = read(file_of([{"prompt": "a", "completion": answer} for answer in answers]))
    assert [one.messages[-1]["content"] for one in found] == answers


@pytest.mark.parametrize("answer", [{"from": "gpt", "value": "b"}, {"role": "assistant", "content": "b"}])
def test_pairs_of_llama_factory_are_read(answer, file_of, caplog):
    """Its conversations end with what the two answers, one message each, reply to."""
    other = {key: "c" if value == "b" else value for key, value in answer.items()}
    row = {"conversations": [{"from": "human", "value": "a"}], "chosen": answer, "rejected": other}
    (pair,) = read(file_of([row]))
    assert [[turn["content"] for turn in one.messages] for one in (pair.chosen, pair.rejected)] == [
        ["a", "b"], ["a", "c"]
    ]  # fmt: skip
    assert not caplog.records


def test_messages_beside_pairs_that_hold_an_answer_are_no_prompt(file_of):
    talk = [MESSAGE, {"role": "assistant", "content": "b"}]
    row = {"chosen": talk, "rejected": [MESSAGE, {"role": "assistant", "content": "c"}], "messages": talk}
    (pair,) = read(file_of([row]))
    assert [turn["content"] for turn in pair.rejected.messages] == ["a", "c"]


def test_prompts_of_a_pair_are_equal_whatever_else_their_messages_hold(file_of):
    row = {
        "chosen": [MESSAGE | {"id": 1}, {"role": "assistant", "content": "b", "score": 2}],
        "rejected": [MESSAGE | {"id": 2}, {"role": "assistant", "content": "c", "score": 1}],
    }
    (pair,) = read(file_of([row]))
    assert (pair.chosen.trained, pair.rejected.trained) == ({1}, {1})
