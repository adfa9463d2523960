"""`train sentences`: an encoder that transformers' directories hold, better than before, and refusals by line."""

import json

import numpy as np
import pytest

from llm_jax.hf import encoder
from llm_jax.hf.sentences import Embedder
from train.embeddings.sentences import data, training
from train.embeddings.sentences.config import SentencesConfig

WORDS = [["cat", "dog", "horse", "bird"], ["bread", "soup", "apple", "rice"], ["car", "train", "ship", "plane"]]


def pairs(path, count, seed):
    """Sentences of one topic are similar, whatever their words; of two topics they are not."""
    random = np.random.default_rng(seed)
    lines = []
    for _ in range(count):
        one, other = random.integers(0, 3, 2)
        first, second = (" ".join(random.choice(WORDS[topic], 3)) for topic in (one, other))
        lines.append(f"{first},{second},{5.0 if one == other else 0.0}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.long
def test_an_encoder_learns_what_people_find_similar(tmp_path):
    options = SentencesConfig(
        pairs(tmp_path / "train.csv", 240, 0), dev=pairs(tmp_path / "dev.csv", 80, 1),
        test=pairs(tmp_path / "test.csv", 80, 2), vocab_size=80, d_model=32, batch=40, epochs=6, most_tokens=12,
        dropout=0.1, rate=3e-3, out=tmp_path / "out",
    )  # fmt: skip
    said = []
    model, record = training.train(options, said.append)
    assert len(said) == 6
    assert record["dev"] == max(epoch.correlation for epoch in said)
    assert record["test"] > max(record["dev_before_training"], 70)
    encoder.save(model, options.out, record)
    assert json.loads((options.out / "report.json").read_text())["test"] == record["test"]
    vectors = Embedder(encoder.load(options.out)).embed(["cat dog", "bird horse", "soup rice"])
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "0 pairs of 0 similarities"),
        ("a,b,1\n" * 9, "9 pairs of 1 similarities; nothing can be learnt"),
        ("a,b,1\na,b\n", "line 2: expected sentence,sentence,similarity"),
        ("a,b,1\na,b,nan\n", "line 2"),
        ("sentence1,sentence2,score\na,b,1\n", "line 1: expected sentence,sentence,similarity without a header"),
        ("a,b,1\n,b,2\n", "line 2"),
        ('a,b,1\n"a,b,2\n', "line 2"),
    ],
)
def test_a_wrong_file_of_pairs_is_refused_by_its_line(tmp_path, content, said):
    (tmp_path / "pairs.csv").write_text(content)
    with pytest.raises(ValueError, match=said) as refused:
        data.read(tmp_path / "pairs.csv")
    assert str(refused.value).startswith(str(tmp_path / "pairs.csv"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"d_model": 40}, "--d-model must be a multiple of 32"),
        ({"batch": 1}, "--batch must be at least 2"),
        ({"dropout": 1.0}, "--dropout lies in"),
        ({"most_tokens": 2}, "--most-tokens from 4 to 512"),
    ],
)
def test_numbers_out_of_range_are_refused(tmp_path, changes, said):
    path = pairs(tmp_path / "train.csv", 8, 0)
    with pytest.raises(ValueError, match=said):
        SentencesConfig(path, out=tmp_path / "out", **changes).check()
    with pytest.raises(FileNotFoundError, match="no such file"):
        SentencesConfig(tmp_path / "none.csv").check()


def test_the_pairs_for_choosing_have_two_similarities_where_there_are_two():
    found = data.Pairs([f"a{i}" for i in range(40)], ["b"] * 40, np.array([5.0] + [0.0] * 39))
    for seed in range(5):
        dev, rest = training._apart(found, seed)
        assert set(dev.similarity.tolist()) == {0.0, 5.0}
        assert sorted([*dev.first, *rest.first]) == sorted(found.first)
