"""What stands before an answer: the same from every spelling, nothing of it lost."""

import pytest
from finetuning_data import chat

from train.finetune.data.config import DataConfig
from train.finetune.data.reading.read import Reader, tables


def said(*turns):
    return chat(*turns)["messages"]


def read(path, **settings):
    config = DataConfig(files=(path,), **settings)
    return [record for _, record in Reader(config).records(tables(config))]


def written(conversation):
    return [f"{one['role'][0]}:{one['content']}" for one in conversation.messages]


BEFORE = ["s:S", "u:h", "a:i", "u:q"]
PROMPTS = [
    {"system": "S", "history": [["h", "i"]], "prompt": "q"},
    {"system": "S", "prompt": said("u:h", "a:i", "u:q")},
    {"system": "S", "history": [["h", "i"]], "prompt": said("u:q")},
    {"system": "S", "prompt": said("s:S", "u:h", "a:i", "u:q")},
    {"system": "S", "prompt": said("s:", "u:h", "a:i", "u:q")},
    {"system": None, "input": "", "prompt": said("s:S", "u:h", "a:i", "u:q")},
]


@pytest.mark.parametrize("row", PROMPTS)
@pytest.mark.parametrize("is_list", [False, True])
def test_system_and_history_stand_before_the_prompt_of_every_kind(row, is_list, file_of):
    good, bad = (said(f"a:{text}") if is_list else text for text in ("b", "c"))
    (completion,) = read(file_of([row | {"completion": good}]))
    (pair,) = read(file_of([row | {"chosen": good, "rejected": bad}]))
    assert written(completion) == written(pair.chosen) == [*BEFORE, "a:b"]
    assert written(pair.rejected) == [*BEFORE, "a:c"]
    assert completion.trained == pair.chosen.trained == pair.rejected.trained == {4}


@pytest.mark.parametrize(
    ("row", "repeated"),
    [
        ({"prompt": said("s:S", "u:h", "a:i", "u:q")}, ("s:S", "u:h", "a:i", "u:q")),
        ({"prompt": said("s:S", "u:h", "a:i", "u:q")}, ("u:h", "a:i", "u:q")),
        ({"prompt": said("u:h", "a:i", "u:q")}, ("s:S", "u:h", "a:i", "u:q")),
        ({"prompt": said("s:S", "u:h", "a:i")}, ("u:q",)),
        ({"prompt": said("s:S", "u:h", "a:i", "u:q")}, ("u:q ",)),
        ({"prompt": said("s:S", "u:h", "a:i", "u:q")}, ()),
        ({"prompt": said("s:S")}, ("u:h", "a:i", "u:q")),
        ({"prompt": "h", "system": "S"}, ("u:h", "a:i", "u:q")),
        ({"prompt": "h", "system": " S\n"}, ("s:S", "u:h", "a:i", "u:q")),
        ({"prompt": "q", "system": "S", "history": [["h", "i"]]}, ("u:q",)),
        ({"prompt": "", "system": "S"}, ("u:h", "a:i", "u:q")),
        ({"system": "S"}, ("u:h", "a:i", "u:q")),
        ({"instruction": "h", "system": "S"}, ("u:h", "a:i", "u:q")),
    ],
)
def test_a_prompt_stands_once_before_lists_that_repeat_it_or_do_not(row, repeated, file_of):
    (pair,) = read(file_of([row | {"chosen": said(*repeated, "a:b"), "rejected": said(*repeated, "a:c")}]))
    assert written(pair.chosen) == [*BEFORE, "a:b"]
    assert written(pair.rejected) == [*BEFORE, "a:c"]
    assert pair.chosen.trained == pair.rejected.trained == {4}


def test_a_completion_may_repeat_its_prompt_too(file_of):
    (found,) = read(file_of([{"prompt": "q", "completion": said("u:q", "a:b", "u:c", "a:d")}]))
    assert written(found) == ["u:q", "a:b", "u:c", "a:d"]
    assert found.trained == {1, 3}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "input": "x", "completion": "b"},
        {"prompt": "q", "input": "x", "chosen": "b", "rejected": "c"},
        {"instruction": "q", "input": "x", "chosen": "b", "rejected": "c"},
        {"prompt": "q", "input": "x", "chosen": said("a:b"), "rejected": said("a:c")},
        {"prompt": "q", "input": "x", "chosen": said("u:q x", "a:b"), "rejected": said("u:q x", "a:c")},
        {"prompt": None, "input": "q\n\nx", "chosen": "b", "rejected": "c"},
    ],
)
def test_an_input_belongs_to_the_prompt(row, file_of):
    (found,) = read(file_of([row]))
    first = found.chosen if "chosen" in row else found
    assert written(first) == ["u:q\n\nx", "a:b"]


def test_an_instruction_is_told_from_its_input_only_where_it_is_the_last_prompt(file_of):
    row = {"instruction": "q", "input": "x", "output": said("a:b")}
    (alone,) = read(file_of([row]))
    assert alone.instruction == ("q", "x")
    (asked_again,) = read(file_of([row | {"output": said("a:b", "u:c", "a:d")}]))
    assert asked_again.instruction is None
    assert written(asked_again) == ["u:q\n\nx", "a:b", "u:c", "a:d"]


@pytest.mark.parametrize("system", [None, "", " "])
def test_a_text_of_prompt_and_answer_stays_one_that_can_be_joined_as_it_stands(system, file_of):
    (found,) = read(file_of([{"prompt": "q", "completion": "b", "system": system, "input": ""}]))
    assert found.form == "texts"


def test_a_blank_system_message_gives_way_to_the_column(file_of):
    (found,) = read(file_of([chat("s:", "u:q", "a:b", system="S")]))
    assert written(found) == ["s:S", "u:q", "a:b"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "q", "chosen": said("u:x", "a:b"), "rejected": said("u:x", "a:c")}, "chosen begins with another"),
        ({"prompt": "q", "chosen": said("u:q", "a:b"), "rejected": said("u:x", "a:c")}, "rejected begins with another"),
        ({"prompt": "q", "completion": said("u:x", "a:b")}, "completion begins with another prompt than the row's"),
        (
            {"prompt": "q", "input": "x", "completion": said("u:q", "a:b")},
            "completion begins with another prompt than the row's",
        ),
        (
            {"prompt": said("u:q"), "input": "x", "completion": "b"},
            "'input' has no place beside a 'prompt' of messages",
        ),
        ({"prompt": said("s:T", "u:q"), "system": "S", "completion": "b"}, "system message of prompt is another"),
        (chat("s:T", "u:q", "a:b", system="S"), "the system message of messages is another than the row's; keep one"),
        ({"system": "S", "chosen": said("a:b"), "rejected": said("a:c")}, "no 'prompt' and no 'instruction'"),
        ({"prompt": "q", "completion": "b", "history": "[1"}, r"'history' must be a list of pairs of texts; got '\[1'"),
        ({"prompt": "q", "completion": "b", "history": [["a"]]}, r"history\[0\] must be a pair of texts"),
        (
            {"prompt": "q", "completion": "b", "tools": [{"type": "function"}]},
            "'tools': calls of tools are not trained",
        ),
    ],
)
def test_a_prompt_that_contradicts_itself_is_refused_in_one_line(row, message, file_of):
    path = file_of([row])
    with pytest.raises(ValueError, match=message) as refused:
        read(path)
    assert str(refused.value).startswith(f"{path}:1: ")
    assert "\n" not in str(refused.value)
