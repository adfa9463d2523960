"""Rows of every kind of file, and what is refused of them in one line."""

import csv
import gzip
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from finetuning_data import chat, chatting, examples, words

from train.finetune.data.config import DataConfig
from train.finetune.data.reading.read import Reader, tables

ROWS = [
    {"instruction": "Say \u201chi\u201d, 中文 😀", "input": "", "output": "hi\nthere"},
    {"instruction": "b", "input": "c", "output": '"d", e'},
]


def table(rows, delimiter=",", line="\n"):
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=line)
    writer.writerows([list(rows[0]), *(row.values() for row in rows)])
    return text.getvalue()


def packed(rows, write):
    sink = io.BytesIO()
    write(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def arrow(made, sink):
    with pa.ipc.new_stream(sink, made.schema) as writer:
        writer.write_table(made)


LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
FILES = {
    "lines.jsonl": LINES,
    "crlf.jsonl": LINES.replace("\n", "\r\n"),
    "bom.jsonl": "\ufeff" + LINES,
    "no-end.jsonl": LINES[:-1],
    "gaps.jsonl": LINES.replace("\n", "\n\n  \n"),
    "utf16.jsonl": LINES.encode("utf-16"),
    "array.json": json.dumps(ROWS, indent=2),
    "bom.json": "\ufeff" + json.dumps(ROWS),
    "table.csv": table(ROWS),
    "crlf.csv": table(ROWS, line="\r\n"),
    "bom.csv": "\ufeff" + table(ROWS),
    "table.tsv": table(ROWS, "\t"),
    "table": table(ROWS),
    "rows.parquet": packed(ROWS, pq.write_table),
    "rows.arrow": packed(ROWS, arrow),
    "lines.jsonl.gz": gzip.compress(LINES.encode()),
    "table.csv.gz": gzip.compress(table(ROWS).encode()),
}


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_gives_the_same_examples(name, file_of, plain):
    made, maker = examples(file_of(FILES[name], name), plain)
    assert maker.kind == "instructions"
    assert words(made[0], plain) == ["hi\nthere<|endoftext|>"]
    assert words(made[1], plain) == ['"d", e<|endoftext|>']
    assert "### Instruction:\nSay “hi”, 中文 😀\n\n### Response:" in words(made[0], plain, trained=False)[0]
    assert "### Instruction:\nb\n\n### Input:\nc\n\n### Response:" in words(made[1], plain, trained=False)[0]


def answers(rows, file_of, tokenizer=None, **settings):
    tokenizer = tokenizer or chatting()
    made, maker = examples(file_of(rows), tokenizer, **settings)
    return [words(one, tokenizer) for one in made], maker


@pytest.mark.parametrize(
    "row",
    [
        chat("u:a", "a:b"),
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
        {"conversations": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]},
                      {"role": "assistant", "content": [{"type": "text", "text": "b"}], "tool_calls": None}]},
        {"messages": [{"role": "user", "content": "a", "name": None}, {"role": "assistant", "content": "b"}],
         "tools": []},
        {"prompt": "a", "completion": "b"},
        {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]},
        {"prompt": [{"role": "user", "content": "a"}], "completion": "b"},
        {"instruction": "a", "input": "", "output": "b"},
        {"instruction": "a", "input": None, "output": "b", "history": [], "system": None},
        {"instruction": "", "input": "a", "output": "b"},
    ],
)  # fmt: skip
def test_one_turn_is_the_same_in_every_form(row, file_of):
    tokenizer = chatting()
    (found,), _ = examples(file_of([row]), tokenizer)
    (expected,), _ = examples(file_of([chat("u:a", "a:b")]), tokenizer)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.trained, expected.trained)


def test_history_and_system_of_an_instruction_stand_before_it(file_of):
    row = {"instruction": "c", "input": "", "output": "d", "history": [["a", "b"]], "system": "S"}
    (found,), _ = answers([row], file_of)
    assert found == ["d<|im_end|>"]


def test_a_conversation_is_trained_up_to_its_last_answer(file_of):
    found, maker = answers([chat("u:a", "a:b", "u:c"), chat("u:a", "a:b", "u:c", "s:d")], file_of)
    assert found == [["b<|im_end|>"], ["b<|im_end|>"]]
    assert maker.counts["unanswered"] == 3


def test_answers_may_follow_each_other(file_of):
    (found,), _ = answers([chat("u:a", "a:b", "a:c")], file_of)
    assert found == ["b<|im_end|>", "c<|im_end|>"]


def test_messages_in_a_table_are_json(file_of, tmp_path):
    path = file_of(table([{"id": 1, "messages": json.dumps(chat("u:a", "a:b")["messages"])}]), "chats.csv")
    tokenizer = chatting()
    (found,), _ = examples(path, tokenizer)
    assert words(found, tokenizer) == ["b<|im_end|>"]


def test_messages_in_parquet_are_read_though_arrow_fills_in_nulls(file_of):
    rows = [
        chat("u:a", "a:b"),
        {"messages": [{"role": "user", "content": "c", "name": "N"}, {"role": "assistant", "content": "d"}]},
    ]
    tokenizer = chatting()
    made, _ = examples(file_of(packed(rows, pq.write_table), "chats.parquet"), tokenizer)
    assert [words(one, tokenizer) for one in made] == [["b<|im_end|>"], ["d<|im_end|>"]]


PREFERENCES = [
    {"prompt": "a", "chosen": "b", "rejected": "c"},
    {
        "prompt": "a",
        "chosen": [{"role": "assistant", "content": "b"}],
        "rejected": [{"role": "assistant", "content": "c"}],
    },
    {"prompt": [{"role": "user", "content": "a"}], "chosen": "b", "rejected": "c"},
    {"chosen": chat("u:a", "a:b")["messages"], "rejected": chat("u:a", "a:c")["messages"]},
    {"prompt": "a", "chosen": chat("u:a", "a:b")["messages"], "rejected": chat("u:a", "a:c")["messages"]},
    {"instruction": "a", "input": "", "output": "?", "chosen": "b", "rejected": "c"},
]


@pytest.mark.parametrize("row", PREFERENCES)
def test_a_pair_is_the_same_in_every_form(row, file_of):
    tokenizer = chatting()
    (pair,), maker = examples(file_of([row]), tokenizer)
    (expected,), _ = examples(file_of([PREFERENCES[0]]), tokenizer)
    assert maker.kind == "preferences"
    for found, other, answer in zip(pair, expected, "bc", strict=True):
        np.testing.assert_array_equal(found.ids, other.ids)
        assert words(found, tokenizer) == [f"{answer}<|im_end|>"]


def test_of_a_longer_conversation_a_pair_trains_the_last_answer_alone(file_of):
    tokenizer = chatting()
    begin = ("u:a", "a:b", "u:c")
    row = {"chosen": chat(*begin, "a:d")["messages"], "rejected": chat(*begin, "a:e")["messages"]}
    equal = {"chosen": chat(*begin, "a:d")["messages"], "rejected": chat(*begin, "a:d")["messages"]}
    (pair, same), maker = examples(file_of([row, equal]), tokenizer)
    assert [words(one, tokenizer) for one in pair] == [["d<|im_end|>"], ["e<|im_end|>"]]
    assert [words(one, tokenizer) for one in same] == [["d<|im_end|>"]] * 2
    assert maker.counts["equal_pairs"] == 1


@pytest.mark.parametrize(
    ("labels", "names", "numbers"),
    [
        (["spam", "ham", "spam"], ("ham", "spam"), [1, 0, 1]),
        ([10, 9, 10], ("9", "10"), [1, 0, 1]),
        (["10", "9", "10"], ("9", "10"), [1, 0, 1]),
        ([True, False, True], ("false", "true"), [1, 0, 1]),
        ([1.0, 0.0, 1.0], ("0", "1"), [1, 0, 1]),
        ([" a", "b ", "a"], ("a", "b"), [0, 1, 0]),
        ([-1, 1, "--2"], ("--2", "-1", "1"), [1, 2, 0]),
    ],
)
def test_classes_are_numbered_in_the_order_of_their_names(labels, names, numbers, file_of, plain):
    made, maker = examples(file_of([{"text": "t", "label": label} for label in labels]), plain)
    found, final = maker.numbered_labels()
    assert found == names
    assert [int(final[one.label]) for one in made] == numbers
    assert plain.decode(made[0].ids.tolist()) == "t"


def test_columns_of_other_names_are_given_by_flags(file_of, plain):
    found, _ = answers([{"q": "a", "r": "b"}], file_of, plain, columns=("prompt=q", "completion=r"))
    assert found == [["b<|endoftext|>"]]
    path = file_of("spam\t'x'\nham\ty\n", "no-header.tsv")
    made, maker = examples(path, plain, header=("label", "text"))
    assert (len(made), maker.kind) == (2, "labelled")
    made, maker = examples(path, plain, header=("class", "sms"), columns=("label=class", "text=sms"))
    assert (len(made), maker.kind) == (2, "labelled")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (("prompt=q", "completion=x"), r"data\.jsonl:1: no column 'x', which --columns names; there are 'q', 'r'"),
        (("prompt=q", "answer=r"), "--columns answer=r: no kind of row has 'answer'; there are chosen"),
        (("prompt=q",), "columns 'prompt', 'r' are no example"),
    ],
)
def test_columns_that_are_not_there_are_named(columns, message, file_of, plain):
    with pytest.raises(ValueError, match=message):
        answers([{"q": "a", "r": "b"}], file_of, plain, columns=columns)


def test_a_row_that_lacks_a_column_is_named(file_of, plain):
    with pytest.raises(ValueError, match=r"data\.jsonl:2: no column 'completion'; completions need prompt and"):
        answers([{"prompt": "a", "completion": "b"}, {"prompt": "a"}], file_of, plain)


def test_names_are_filled_in_where_texts_hold_them(file_of, plain, caplog):
    rows = [{"prompt": "Who? {{ name }}", "completion": "{{name}} by {{author}} {{other}}"}]
    found, _ = answers(rows, file_of, plain, fill=("name=Bob = {{author}}", "author=Me"))
    assert found == [["Bob = {{author}} by Me {{other}}<|endoftext|>"]]
    assert "texts hold {{other}}, which stays as it is; --fill other=… writes something else" in caplog.text
    with pytest.raises(ValueError, match=r"--fill nam: no text holds \{\{nam\}\}"):
        answers(rows, file_of, plain, fill=("nam=Bob",))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"foo": "a", "output": "b"}, "columns 'foo', 'output' are no example; expected"),
        ({"question": "a", "answer": "b"}, "are given with --columns output=answer instruction=question"),
        ({"instruction": "a", "input": ""}, "are no example"),
        ({"prompt": "a", "completion": "b", "messages": []}, "fit chats and completions; choose one with --kind"),
        ({"instruction": "a", "output": ""}, "'output' is an empty answer"),
        ({"instruction": "a", "output": " \n"}, "'output' is an empty answer"),
        ({"instruction": "a", "output": None}, "'output' is null; expected a text"),
        ({"instruction": "a", "output": ["b"]}, r"'output' must be a list|unknown|messages|must be an object"),
        ({"instruction": "", "input": " ", "output": "b"}, "'instruction' is empty"),
        ({"prompt": None, "completion": "b"}, "'prompt' is null; expected a text"),
        (chat("u:a", "a: "), r"messages\[1\].content is an empty answer"),
        (chat("u:a"), "holds no message of the assistant"),
        (chat("s:a"), "holds no message of the assistant"),
        ({"messages": []}, "messages must be a list of at least one message"),
        ({"messages": None}, "messages must be a list of at least one message; got null"),
        ({"messages": "hi"}, "messages must be a list of at least one message; got 'hi'"),
        ({"messages": [{"role": "wizard", "content": "a"}]}, r"messages\[0\]: unknown role 'wizard'; expected system"),
        (
            {"messages": [{"role": "tool", "content": "a"}]},
            r"messages\[0\]: role 'tool': calls of tools are not trained",
        ),
        ({"messages": [{"role": "user", "content": None}]}, r"messages\[0\].content must be a text"),
        ({"messages": [{"role": "user"}]}, r"messages\[0\].content must be a text"),
        ({"messages": [{"content": "a"}]}, r"messages\[0\].role must be a text"),
        ({"messages": ["a"]}, r"messages\[0\] must be an object"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "a part of type 'image_url'"),
        ({"messages": [{"role": "assistant", "content": "a", "tool_calls": [1]}]}, "tool calls are not computed here"),
        (chat("u:a", "a:b", tools=[{"type": "function"}]), "'tools': calls of tools are not trained here"),
        ({"conversations": [{"from": "narrator", "value": "a"}]}, r"conversations\[0\]: unknown role 'narrator'"),
        ({"conversations": [{"from": "function_call", "value": "a"}]}, "calls of tools are not trained"),
        ({"prompt": "a", "chosen": "b", "rejected": ""}, "'rejected' is an empty answer"),
        ({"chosen": "b", "rejected": "c"}, "no 'prompt' and no 'instruction'"),
        ({"chosen": chat("u:a", "a:b")["messages"], "rejected": chat("u:x", "a:b")["messages"]}, "different prompts"),
        ({"text": "", "label": "a"}, "'text' is empty"),
        ({"text": "a", "label": None}, "'label' is None; expected the name"),
        ({"text": 3, "label": 0.5}, "'label' is 0.5"),
        ({"prompt": "a \ud800", "completion": "b"}, "lone surrogate U\\+D800"),
    ],
)
def test_a_row_that_cannot_be_used_is_refused_in_one_line_with_its_place(row, message, file_of):
    good = dict.fromkeys(())
    path = file_of([row])
    with pytest.raises(ValueError, match=message) as refused:
        examples(path, chatting(), **good)
    assert str(refused.value).startswith(f"{path}:1: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ('{"prompt": "a", "completion": "b"}\n{"prompt": "a", "compl', "cut.jsonl", "cut.jsonl:2: not valid JSON"),
        ('{"prompt": "a", "completion": "b"}\n[1]\n', "list.jsonl", "list.jsonl:2: list; expected an object"),
        ('[{"prompt": "a", "completion": "b"}, 3]', "three.json", "three.json, element 1: int; expected an object"),
        ('[{"prompt": "a", "completion": "b"}', "open.json", "element 1: not valid JSON"),
        ('{"data": [\n{"prompt": "a"}\n]}', "object.json", "one JSON value over several lines"),
        ("once upon a time\nthere was\n", "story.txt", "plain text, in which no examples are told apart"),
        ("", "empty.jsonl", "empty"),
        ("prompt,completion\n", "header.csv", "no rows; expected at least one example"),
        ("prompt,completion\na,b\nc\n", "short.csv", "short.csv:3: 1 fields; expected 2"),
        ("prompt,prompt\na,b\n", "twice.csv", "two columns are called 'prompt'"),
        (b"prompt,completion\na,\xff\xfe\xfd\n", "bytes.csv", "is not UTF-8"),
        (b"PAR1 and no more", "broken.parquet", "not a readable parquet file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_place(content, name, message, file_of, plain):
    path = file_of(content, name)
    with pytest.raises(ValueError, match=message) as refused:
        examples(path, plain)
    assert name in str(refused.value)
    assert "\n" not in str(refused.value)


def test_rows_that_cannot_be_used_may_be_left_out_up_to_a_number(file_of, plain):
    rows = [{"prompt": "a", "completion": "b"}, {"prompt": "a", "completion": ""}, {"prompt": "c", "completion": "d"}]
    found, maker = answers(rows, file_of, plain, skip_bad_rows=1)
    assert found == [["b<|endoftext|>"], ["d<|endoftext|>"]]
    assert maker.counts["skipped"] == 1
    with pytest.raises(ValueError, match=r"data\.jsonl:4: 'completion' is an empty answer"):
        answers([*rows, {"prompt": "a", "completion": " "}], file_of, plain, skip_bad_rows=1)


def rows_of(**settings):
    config = DataConfig(**settings)
    return [place for place, _ in Reader(config).records(tables(config))]


def test_a_folder_is_read_with_what_is_no_table_left_out(file_of, caplog):
    for name in ("in/a.jsonl", "in/b.jsonl"):
        path = file_of([{"prompt": "a", "completion": "b"}], name)
    file_of("# About\nthese data\n", "in/README.md")
    folder = path.rsplit("/", 1)[0]
    assert rows_of(files=(folder,)) == [f"{folder}/a.jsonl:1", f"{folder}/b.jsonl:1"]
    assert "README.md" in caplog.text


def test_of_a_folder_with_splits_one_is_read(file_of):
    for name in (
        "hf/data/train-00000-of-00001.jsonl",
        "hf/data/test-00000-of-00001.jsonl",
        "hf/data/validation-0.jsonl",
    ):
        path = file_of([{"prompt": "a", "completion": "b"}], name)
    folder = path.rsplit("/", 2)[0]
    assert rows_of(files=(folder,)) == [f"{folder}/data/train-00000-of-00001.jsonl:1"]
    assert rows_of(files=(folder,), dataset_split="validation") == [f"{folder}/data/validation-0.jsonl:1"]
    with pytest.raises(ValueError, match="no split 'dev-x'; there are test, train, validation"):
        rows_of(files=(folder,), dataset_split="dev-x")


def test_what_datasets_saved_is_read(tmp_path, file_of):
    from datasets import Dataset, DatasetDict

    made = Dataset.from_list([{"prompt": "a", "completion": "b"}])
    made.save_to_disk(tmp_path / "one")
    DatasetDict({"train": made, "test": made}).save_to_disk(tmp_path / "two")
    assert len(rows_of(files=(str(tmp_path / "one"),))) == 1
    assert len(rows_of(files=(str(tmp_path / "two"),))) == 1
    with pytest.raises(ValueError, match="no split 'val'; there are test, train"):
        rows_of(files=(str(tmp_path / "two"),), dataset_split="val")


@pytest.mark.parametrize("content", ["[]", "[ \n]\n"])
def test_an_empty_array_has_no_rows(content, file_of):
    with pytest.raises(ValueError, match=r"--data .*data.json: no rows; expected at least one example"):
        rows_of(files=(file_of(content, "data.json"),))


def validation_of(folder, **settings):
    """The places of the rows for validation, relative to the folder."""
    found = tables(DataConfig(val_files=(str(folder),), **settings), for_validation=True).rows()
    return [place.removeprefix(f"{folder}/") for place, _ in found]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train", "test", "validation"), "validation"),
        (("train", "test", "dev"), "dev"),
        (("test", "train"), "test"),
    ],
)
def test_validation_never_reads_the_training_split_unasked(names, expected, tmp_path, file_of, monkeypatch):
    from datasets import Dataset, DatasetDict

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    for name in names:
        file_of([{"prompt": "a", "completion": name}], f"files/{name}-0.jsonl")
    rows = {name: Dataset.from_list([{"prompt": "a", "completion": name}]) for name in names}
    DatasetDict(rows).save_to_disk(tmp_path / "saved")
    assert validation_of(tmp_path / "files") == [f"{expected}-0.jsonl:1"]
    assert validation_of(tmp_path / "files", val_split="train") == ["train-0.jsonl:1"]
    assert validation_of(tmp_path / "saved")[0].startswith(f"{expected}/")
    assert validation_of(tmp_path / "saved", val_split="train")[0].startswith("train/")
    hub = tables(DataConfig(val_files=(f"hf:{tmp_path / 'files'}",)), for_validation=True).rows()
    assert next(hub)[1]["completion"] == expected


def test_validation_without_a_split_for_it_is_refused_with_the_splits_that_there_are(tmp_path):
    from datasets import Dataset, DatasetDict

    DatasetDict({"train": Dataset.from_list([{"prompt": "a", "completion": "b"}])}).save_to_disk(tmp_path / "saved")
    with pytest.raises(
        ValueError, match=r"--val-data .*: no split 'validation'; there are train\. Choose one with --val-split"
    ):
        validation_of(tmp_path / "saved")


def test_a_dataset_with_several_configurations_is_read_by_one_of_them(file_of, monkeypatch, tmp_path):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    for name in ("one", "two"):
        file_of([{"prompt": "a", "completion": name}], f"hub/{name}.jsonl")
    listed = "".join(f"- config_name: {name}\n  data_files: {name}.jsonl\n" for name in ("one", "two"))
    folder = file_of(f"---\nconfigs:\n{listed}---\n", "hub/README.md").rsplit("/", 1)[0]
    assert [row["completion"] for _, row in tables(DataConfig(files=(f"hf:{folder}:two",))).rows()] == ["two"]
    with pytest.raises(
        ValueError, match=r"\['one', 'two'\]. Check the name \(of several .* hf:NAME:CONFIG\)"
    ) as refused:
        rows_of(files=(f"hf:{folder}",))
    assert "\n" not in str(refused.value)


def test_a_dataset_is_read_by_its_name(file_of, monkeypatch, tmp_path):
    """A local folder stands for the hub."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = file_of([{"prompt": "a", "completion": "b"}], "hub/train.jsonl").rsplit("/", 1)[0]
    assert rows_of(files=(f"hf:{folder}",)) == [f"hf:{folder}, row 0"]
    with pytest.raises(ValueError, match=r"--data hf:.* \(split 'no'\): .* or give its files"):
        rows_of(files=(f"hf:{folder}",), dataset_split="no")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"files": ()}, "--data names nothing"),
        ({"files": ("/no/such.jsonl",)}, "--data /no/such.jsonl: no such file"),
        ({"columns": ("text",)}, "--columns text: expected NAME=COLUMN"),
        ({"fill": ("=x",)}, "--fill =x: expected NAME=VALUE"),
        ({"template": "nonsense"}, "--template nonsense: expected one of auto"),
        ({"val_fraction": 1.0}, "--val-fraction must be at least 0 and below 1"),
        ({"files": ("a",), "val_split": "test"}, "--val-split test is a split of --val-data, which is not given"),
        ({"max_length": 1}, "--max-length must be at least 2"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises((ValueError, OSError), match=message):
        rows_of(**settings)
