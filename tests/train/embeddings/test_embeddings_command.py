"""`train embeddings`: one folder, whole or not at all, from a text, a file of vectors or a model."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from llm_jax.models.embeddings import vectors as files
from llm_jax.models.embeddings.config import SkipGramConfig
from train.embeddings import atlas, inputs, pictures, views
from train.embeddings.config import EmbeddingsConfig
from train.embeddings.work import work

SMALL = SkipGramConfig(width=8, min_count=1, epochs=2, subsample=0.0)


@pytest.fixture
def text(tmp_path) -> Path:
    random = np.random.default_rng(0)
    lines = [" ".join(random.choice(list("abcdefgh" if i % 2 else "ijklmnop"), 12)) for i in range(200)]
    (tmp_path / "text.txt").write_text("\n".join(lines))
    return tmp_path / "text.txt"


@pytest.fixture(autouse=True)
def without_atlas(monkeypatch):
    monkeypatch.setattr(atlas.shutil, "which", lambda name: None)


def test_a_text_becomes_a_folder(text, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "has_tsne", lambda: False)
    (tmp_path / "questions.txt").write_text(": letters\na b c d\ni j k nowhere\n")
    options = EmbeddingsConfig(
        text, skip_gram=SMALL, out=tmp_path / "out", near=("a",), analogy=("a", "b", "c"),
        questions=tmp_path / "questions.txt", k=3,
    )  # fmt: skip
    record = work(options, Console(quiet=True))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"vectors.txt", "report.json", "pca.png", "points.parquet"}
    assert len(files.read(tmp_path / "out/vectors.txt").words) == 16
    assert json.loads((tmp_path / "out/report.json").read_text())["words"] == 16
    assert [len(found) for found in record["neighbours"].values()] == [3]
    assert record["questions"] == {
        "letters": {"questions": 2, "known": 1, "right": record["questions"]["letters"]["right"]}
    }
    assert "scikit-learn" in record["left_out"][0]
    assert "embedding-atlas is not installed" in record["left_out"][1]
    views.show(Console(quiet=True), record)


@pytest.mark.long
def test_counted_vectors_and_a_file_of_vectors_go_through_the_same_views(text, tmp_path):
    options = EmbeddingsConfig(text, method="ppmi", skip_gram=SMALL, out=tmp_path / "ppmi", points=20)
    assert work(options, Console(quiet=True))["method"] == "ppmi"
    assert (tmp_path / "ppmi/tsne.png").is_file()
    again = work(EmbeddingsConfig(tmp_path / "ppmi/vectors.txt", out=tmp_path / "again"), Console(quiet=True))
    assert again["method"] == "vectors of a file"
    assert (tmp_path / "again/vectors.txt").read_bytes() == (tmp_path / "ppmi/vectors.txt").read_bytes()


def glove(words="abcdefgh") -> str:
    random = np.random.default_rng(0)
    return "".join(f"{word} {' '.join(f'{value:.4f}' for value in random.normal(size=4))}\n" for word in words)


def test_a_file_of_glove_is_vectors_and_not_a_text_of_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "has_tsne", lambda: False)
    (tmp_path / "glove.txt").write_text(glove())
    record = work(EmbeddingsConfig(tmp_path / "glove.txt", out=tmp_path / "out", k=2), Console(quiet=True))
    assert (record["method"], record["words"], record["width"]) == ("vectors of a file", 8, 4)
    assert files.read(tmp_path / "out/vectors.txt").words == tuple("abcdefgh")


@pytest.mark.parametrize("text", ["1 2 3 4\n5 6 7 8\n", "king 1 2\nthe queen\n", "in 1999\nin 2001\n", "a b c\n", ""])
def test_a_text_with_numbers_stays_a_text(tmp_path, text):
    (tmp_path / "text.txt").write_text(text)
    assert inputs.stored(tmp_path / "text.txt") is None


@pytest.mark.parametrize("begin", ["", "8 4\n"])
def test_vectors_that_are_compressed_or_not_plain_utf_8_are_refused_and_not_learnt_from(tmp_path, begin):
    text = begin + glove()
    for name, content in (("gz", gzip.compress(text.encode())), ("bom", text.encode("utf-8-sig"))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} holds vectors, and is .*: unpack or convert it first"):
            inputs.stored(tmp_path / name)


def test_token_embeddings_of_a_model_keep_their_ids(tmp_path):
    from llm_jax.tokenizer import train_bpe

    tokenizer = train_bpe(["a b ab ab abc abc"] * 9, 262)
    names = inputs.names(tokenizer, 270)
    assert len(set(names)) == 270
    assert names[260] == tokenizer.id_to_token(260)
    assert names[269] == "<269>"
    vectors = files.Vectors(names, np.ones((270, 2), np.float32))
    spelled = views.spelled(vectors, ["a"])
    assert spelled == ["a"] or spelled[0].endswith("a")


def test_components_are_ordered_by_variance_and_have_the_same_sign_everywhere():
    matrix = np.random.default_rng(0).normal(size=(40, 5)) * [1, 5, 1, 3, 1]
    xy, shares = pictures.principal(matrix)
    assert shares[0] > shares[1] > 0.15
    centred = matrix - matrix.mean(axis=0)
    np.testing.assert_allclose(np.abs(np.corrcoef(xy[:, 0], centred[:, 1])[0, 1]), 1, atol=0.02)
    np.testing.assert_allclose(pictures.principal(-matrix)[0], -xy, atol=1e-9)


@pytest.mark.parametrize(
    ("content", "changes", "said"),
    [
        (b"", {}, "text.txt holds no word"),
        (b"  \n \n", {}, "text.txt holds no word"),
        (b"word " * 9, {}, "1 of 1 different words occur at least 1 times"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 99, {}, "a PNG image"),
        (b"a b c d " * 9, {"analogy": ("a", "b")}, "words by threes"),
        (b"a b c d " * 9, {"near": ("z",)}, "no vector for 'z'"),
        (b"a b c d " * 9, {"k": 0}, "--k must be at least 1"),
        (b"a b c d " * 9, {"method": "ppmi"}, "lower --width"),
        (b"3 2\nking 1 2\n", {}, "promises 3 vectors"),
    ],
)
def test_a_wrong_source_or_wish_gets_one_line_and_leaves_nothing(tmp_path, content, changes, said):
    (tmp_path / "text.txt").write_bytes(content)
    options = EmbeddingsConfig(tmp_path / "text.txt", skip_gram=SMALL, out=tmp_path / "out", **changes)
    with pytest.raises((ValueError, OSError), match=said):
        work(options, Console(quiet=True))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_there_already_is_kept(text, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/precious").write_text("x")
    with pytest.raises(FileExistsError, match="would be lost"):
        work(EmbeddingsConfig(text, skip_gram=SMALL, out=tmp_path / "out"), Console(quiet=True))


def test_a_file_of_questions_is_refused_by_its_line(tmp_path):
    (tmp_path / "q.txt").write_text(": s\na b c\n")
    with pytest.raises(ValueError, match="line 2: expected four words"):
        views.answered(files.Vectors(("a", "b"), np.eye(2, dtype=np.float32)), tmp_path / "q.txt")
