"""Numbers that others published for the files in `LLM_JAX_DATA/finetune`, all with GPT-2's tokenizer.

From "Build a Large Language Model (From Scratch)" (Raschka 2024) and its repository: chapters 6 and 7, and the notebook
on preference tuning. Its texts have no end of text; ours have one, which chapter 7's collation adds.
"""

import csv

import numpy as np
import pytest
from finetuning_data import examples, words

from train.finetune.data.batches.batch import collate
from train.finetune.data.batches.loader import targets_of
from train.finetune.data.config import DataConfig
from train.finetune.data.example import Example
from train.finetune.data.prepare import prepare

END = 50256


@pytest.fixture(scope="module")
def instructions(shared_data, gpt2):
    return examples(shared_data / "finetune/instruction-data.json", gpt2)[0]


@pytest.fixture(scope="module")
def pairs(shared_data, gpt2):
    return examples(shared_data / "finetune/preference-data.json", gpt2)[0]


@pytest.mark.parametrize(
    ("part", "count", "tokens", "answers"),
    [
        (slice(0, 935), 935, 53_695, 12_266),
        (slice(935, 1045), 110, 6_259, 1_454),
        (slice(1045, None), 55, 3_171, 719),
    ],
    ids=["training", "test", "validation"],
)
def test_instructions_have_the_published_numbers_of_tokens(instructions, part, count, tokens, answers):
    here = instructions[part]
    assert len(here) == count
    assert sum(len(one.ids) for one in here) == tokens
    assert sum(int(one.trained.sum()) for one in here) == answers
    assert max(len(one.ids) for one in instructions) == 92


def test_alpaca_s_text_is_the_book_s(instructions, gpt2):
    assert gpt2.decode(instructions[0].ids.tolist()) == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nEvaluate the following phrase by transforming it into the spelling given.\n\n"
        "### Input:\nfreind --> friend\n\n"
        '### Response:\nThe spelling of the given phrase "freind" is incorrect, the correct spelling is "friend".'
        "<|endoftext|>"
    )
    assert words(instructions[0], gpt2) == [
        'The spelling of the given phrase "freind" is incorrect, the correct spelling is "friend".<|endoftext|>'
    ]


def test_preferences_have_the_published_lengths(pairs, gpt2):
    header = len(gpt2.encode("\n\n### Response:\n"))
    for pair, prompt, chosen, rejected in zip(pairs, (48, 45), (74, 59), (80, 61), strict=False):
        assert len(pair.chosen.ids) - 1 == chosen
        assert len(pair.rejected.ids) - 1 == rejected
        for one in pair:
            assert int(np.argmax(one.trained)) == prompt + header
            assert one.trained[prompt + header :].all()
            assert one.ids[-1] == END


def test_equal_pairs_are_found_and_counted(shared_data, pairs, gpt2):
    equal = [place for place, pair in enumerate(pairs) if np.array_equal(pair.chosen.ids, pair.rejected.ids)]
    assert equal == [122, 226, 400, 566, 628, 676]
    assert examples(shared_data / "finetune/preference-data.json", gpt2)[1].counts["equal_pairs"] == 6


def test_spam_is_read_as_the_csv_module_reads_it(shared_data, gpt2, tmp_path):
    path = shared_data / "finetune/sms-spam.tsv"
    with path.open(newline="", encoding="utf8") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    config = DataConfig(files=(str(path),), header=("label", "text"), val_fraction=0)
    data = prepare(config, gpt2, tmp_path / "data", 1024)
    assert data.count("train") == len(rows) == 5_572
    assert data.labels == ("ham", "spam")
    labels = data.arrays("train").labels
    assert [data.labels[number] for number in labels] == [label for label, _ in rows]
    assert int((labels == 1).sum()) == 747
    for number in (0, 2, 5_571):
        assert gpt2.decode(data.example("train", number).ids.tolist()) == rows[number][1]


def test_balanced_spam_has_the_published_longest_message(shared_data, gpt2):
    """As pandas' `sample(random_state=123)` balances and shuffles it; the longest of the first 70 % has 120 tokens."""
    made, maker = examples(shared_data / "finetune/sms-spam.tsv", gpt2, header=("label", "text"))
    names, numbers = maker.numbered_labels()
    labels = np.array([names[numbers[one.label]] for one in made])
    ham, spam = (np.flatnonzero(labels == name) for name in ("ham", "spam"))
    rng = np.random.RandomState(123)
    balanced = np.concatenate([ham[rng.choice(len(ham), len(spam), replace=False)], spam])
    assert len(balanced) == 1_494
    balanced = balanced[np.random.RandomState(123).choice(1_494, 1_494, replace=False)]
    train, val, test = np.split(balanced, [1_045, 1_194])
    assert (len(train), len(val), len(test)) == (1_045, 149, 300)
    assert max(len(made[number].ids) for number in train) == 120


def test_the_book_s_three_rows_have_its_targets():
    rows = [[0, 1, 2, 3, 4], [5, 6], [7, 8, 9]]
    ended = [[Example(np.array([*row, END], np.int32), np.ones(len(row) + 1, bool))] for row in rows]
    batch = collate(ended, 5, END, [0, 1, 2], is_packed=False)
    np.testing.assert_array_equal(
        batch.tokens_BT[:, :-1], [[0, 1, 2, 3, 4], [5, 6, END, END, END], [7, 8, 9, END, END]]
    )
    np.testing.assert_array_equal(
        targets_of(batch), [[1, 2, 3, 4, END], [6, END, -100, -100, -100], [8, 9, END, -100, -100]]
    )
