import json

import pyarrow
import pyarrow.parquet
import pytest

from llm_jax.scoring import hellaswag
from llm_jax.scoring.likelihood import Scored, scorer

ROW = {
    "activity_label": "Baking",
    "ctx_a": "How to bake. [header] Mix [title] it",
    "ctx_b": "then we",
    "ctx": "How to bake. [header] Mix [title] it then we",
    "endings": ["eat. [step] Yes", "sleep", "café", "run"],
    "label": "2",
}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_harness_preparation_cleans_wikihow_and_capitalises_the_fragment(tmp_path):
    (item,) = hellaswag.read_items(write(tmp_path / "a.jsonl", [ROW]))
    assert item.query == "Baking: How to bake. Mix. it Then we"
    assert item.endings[0] == "eat. Yes"
    assert item.gold == 2


def test_the_plain_preparation_changes_nothing(tmp_path):
    (item,) = hellaswag.read_items(write(tmp_path / "a.jsonl", [ROW]), "plain")
    assert item == (ROW["ctx"], tuple(ROW["endings"]), 2)


def test_parquet_and_jsonl_hold_the_same_items(tmp_path):
    jsonl = write(tmp_path / "a.jsonl", [ROW, ROW])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([ROW, ROW]), tmp_path / "a.parquet")
    assert hellaswag.read_items(jsonl) == hellaswag.read_items(tmp_path / "a.parquet")
    assert len(hellaswag.read_items(jsonl, limit=1)) == 1


def test_the_real_file_has_ten_thousand_items_with_four_endings(shared_data):
    items = hellaswag.read_items(shared_data / "hellaswag" / "validation.parquet")
    assert len(items) == 10_042
    assert {len(item.endings) for item in items} == {4}
    assert items[0].query == "Roof shingle removal: A man is sitting on a roof. he"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "a"}, r"has the columns text; HellaSwag \(row 1\) needs activity_label, ctx, endings, label too"),
        (
            {**ROW, "label": ""},
            r"row 1: label '' is not the number of one of its 4 endings; the test split has no labels",
        ),
        ({**ROW, "label": 4}, r"label 4 is not the number of one of its 4 endings"),
    ],
)
def test_other_columns_and_labels_are_refused_by_name(tmp_path, row, message):
    with pytest.raises(ValueError, match=message):
        hellaswag.read_items(write(tmp_path / "a.jsonl", [row]))


def test_missing_unreadable_and_unknown_files_are_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a.parquet does not exist"):
        hellaswag.read_items(tmp_path / "a.parquet")
    with pytest.raises(FileNotFoundError, match=r"is a folder: name one file"):
        hellaswag.read_items(tmp_path)
    for name, content, message in [
        ("a.parquet", "no parquet", r"a.parquet is not a parquet file"),
        ("a.jsonl", '{"a": 1}\n{', r"a.jsonl, line 2 is not JSON"),
        ("b.jsonl", "[1]\n", r"b.jsonl, line 1 is a list; expected an object"),
        ("c.jsonl", "", r"c.jsonl has no rows"),
        ("a.csv", "a,b", r"a.csv: data files are .parquet, .jsonl, .json; got '.csv'"),
    ]:
        (tmp_path / name).write_text(content)
        with pytest.raises(ValueError, match=message):
            hellaswag.read_items(tmp_path / name)


def test_accuracies_follow_from_the_log_likelihoods_by_hand(bytes_tokenizer):
    items = [hellaswag.Item("q", ("a", "bbbb", "éé"), 1), hellaswag.Item("q", ("a", "bbbb", "éé"), 2)]
    requests = hellaswag.encode(items, bytes_tokenizer)
    # per answer: tokens with the space 2, 5, 5; characters 1, 4, 2; bytes 1, 4, 4
    answers = [Scored(nats, False, *[None] * 3) for nats in (-2.0, -3.0, -2.5) * 2]
    found = hellaswag.accuracies(items, requests, answers)
    choices = {"sum": 0, "token mean": 2, "character": 1, "byte": 2}
    for convention, choice in choices.items():
        assert found[convention].value == sum(item.gold == choice for item in items) / 2


def test_a_model_that_knows_the_answer_scores_one(bytes_tokenizer, params, config, plan):
    """Each item's gold ending is what the model itself finds most likely, so the accuracy by sums must be 1."""
    call = scorer(params, config, plan)
    draft = [hellaswag.Item(f"query {i}", ("aa", "bb", "cc", "dd"), 0) for i in range(5)]
    requests = hellaswag.encode(draft, bytes_tokenizer)
    from llm_jax.scoring.likelihood import score

    answers = [answer.log_likelihood for answer in score(requests, call, config.context_length)]
    items = [item._replace(gold=max(range(4), key=lambda c, i=i: answers[4 * i + c])) for i, item in enumerate(draft)]
    found = hellaswag.evaluate(items, bytes_tokenizer, call, config.context_length)
    assert found["sum"].value == found["byte"].value == 1.0
    wrong = [item._replace(gold=(item.gold + 1) % 4) for item in items]
    assert hellaswag.evaluate(wrong, bytes_tokenizer, call, config.context_length)["sum"].value == 0.0
