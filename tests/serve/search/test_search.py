"""An index is whole or absent, follows its folder, belongs to one model, and finds exactly what is nearest."""

import dataclasses
import io
import json
import os

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import save_file

from llm_jax.hf import encoder
from llm_jax.hf.sentences import Embedder
from serve.search import index as indexes
from serve.search.command import Options, main
from serve.search.config import SearchConfig
from serve.search.work import open_searcher


@pytest.fixture
def config(folder, model, tmp_path):
    return SearchConfig(folder, model, tmp_path / "index")


def opened(config, **changes):
    """The searcher, and what was said."""
    console = Console(record=True, width=200, file=io.StringIO())
    searcher = open_searcher(dataclasses.replace(config, **changes), console)
    return searcher, console.export_text()


def test_text_is_found_and_what_is_no_text_is_left_out_by_name(config, capsys):
    searcher, said = opened(config)
    ((best, *_),) = searcher.search(["birds fly"], 5)
    assert (best.file, best.line, best.text) == ("deep/birds.md", 1, "birds fly")
    assert best.score == pytest.approx(1, abs=1e-5)
    assert "left out: picture.png: a PNG image" in said
    assert "2 passages of 2 files" in said
    options = Options(config.folder, config.model, config.index, query=("birds fly",), json=True)
    assert main(options) == 0
    found = json.loads(capsys.readouterr().out)[0]["found"]
    assert [one["file"] for one in found] == ["deep/birds.md", "cats.txt"]


def test_recall_against_brute_force_is_one(config):
    words = ["cats", "dogs", "birds", "sleep", "bark", "sing", "fly", "mat", "sky", "night"]
    for i, first in enumerate(words):
        (config.folder / f"{i}.txt").write_text("\n\n".join(f"{first} {other} {'the ' * 40}" for other in words))
    searcher, _ = opened(config, characters=180)
    embedder = Embedder(encoder.load(config.model))
    index = indexes.load(
        SearchConfig(config.folder, config.model, config.index, characters=180), embedder.fingerprint()
    )
    queries = [f"{a} {b}" for a in words[:5] for b in words[5:]]
    scores = embedder.embed(queries) @ index.vectors.T
    for found, row in zip(searcher.search(queries, 10), scores, strict=True):
        np.testing.assert_allclose([one.score for one in found], np.sort(row)[::-1][:10], atol=1e-5)


def test_what_changed_is_read_again_and_nothing_else(config, monkeypatch):
    opened(config)
    embedded = []
    embed = Embedder.embed
    monkeypatch.setattr(
        Embedder, "embed", lambda self, texts, *rest: embedded.append(texts) or embed(self, texts, *rest)
    )
    assert opened(config)[1] == ""
    (config.folder / "cats.txt").write_text("dogs bark")
    (config.folder / "new.txt").write_text("cats sing")
    (config.folder / "deep/birds.md").unlink()
    _, said = opened(config, update=False)
    assert "1 new (new.txt), 1 changed (cats.txt), 1 gone (deep/birds.md); --update reads them" in said
    assert embedded == []
    searcher, said = opened(config)
    assert embedded == [["dogs bark", "cats sing"]]
    assert "changed since the index was made: 1 new (new.txt)" in said
    assert {one.file for one in searcher.search(["birds fly"], 9)[0]} == {"cats.txt", "new.txt"}
    os.utime(config.folder / "new.txt", ns=(1, 1))  # another time, the same bytes
    embedded.clear()
    opened(config)
    assert embedded == []


def test_an_update_counts_the_files_that_have_passages_and_names_those_left_out_again(config):
    (config.folder / "empty.txt").write_text("")
    _, said = opened(config)
    assert "2 passages of 2 files" in said
    (config.folder / "new.txt").write_text("dogs bark")
    _, said = opened(config)
    assert "left out: picture.png: a PNG image" in said
    assert "3 passages of 3 files" in said


def test_an_index_of_another_model_folder_or_length_is_refused(config, other_model, tmp_path):
    opened(config)
    with pytest.raises(ValueError, match=r"of another model, whose vectors .* --rebuild"):
        opened(config, model=other_model)
    with pytest.raises(ValueError, match="of passages of 700 characters"):
        opened(config, characters=300)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/a.txt").write_text("cats")
    with pytest.raises(ValueError, match="of the folder"):
        opened(config, folder=tmp_path / "elsewhere")
    opened(config, model=other_model, rebuild=True)


def test_without_a_model_the_usual_one_of_the_hub_is_taken_from_its_cache(model, folder, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: asked.append(name) or model)
    opened(SearchConfig(folder, index=tmp_path / "index"))
    assert asked == ["sentence-transformers/all-MiniLM-L6-v2"]


def nan(place):
    save_file({"vectors": np.full((2, 16), np.nan, np.float32)}, place / "vectors.safetensors")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda p: (p / "vectors.safetensors").write_bytes(b"x" * 9), "damaged"),
        (lambda p: (p / "vectors.safetensors").unlink(), "damaged"),
        (lambda p: save_file({"vectors": np.ones((3, 16), np.float32)}, p / "vectors.safetensors"), "2 passages and"),
        (nan, "not finite"),
        (lambda p: (p / "passages.jsonl").write_text('{"file": "cats.txt"}\n'), "damaged"),
        (lambda p: (p / "passages.jsonl").write_text('{"file": "../x", "line": 1, "text": "a"}\n' * 2), "damaged"),
        (lambda p: (p / "index.json").write_text("{"), "not valid JSON"),
        (lambda p: (p / "index.json").write_text("{}"), "of another version"),
    ],
)
def test_a_damaged_index_is_refused_with_its_cure(config, spoil, said):
    opened(config)
    spoil(config.index)
    with pytest.raises(ValueError, match=f"{said}.*--rebuild"):
        opened(config)
    opened(config, rebuild=True)


def test_a_folder_that_is_no_index_is_not_replaced(config):
    config.index.mkdir()
    (config.index / "precious").write_text("x")
    with pytest.raises(FileExistsError, match="is no index"):
        opened(config)
    assert (config.index / "precious").read_text() == "x"


def test_nothing_is_left_where_saving_fails(config, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(indexes, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        opened(config)
    assert not config.index.exists()
    assert [path.name for path in config.index.parent.iterdir()] == ["texts"]


@pytest.mark.parametrize("content", [None, b"", b"\x89PNG\r\n\x1a\n" + bytes(99)])
def test_a_folder_without_text_is_refused(tmp_path, model, content):
    (tmp_path / "texts").mkdir()
    if content is not None:
        (tmp_path / "texts/a").write_bytes(content)
    with pytest.raises(ValueError, match="holds no text to search"):
        opened(SearchConfig(tmp_path / "texts", model, tmp_path / "index"))
    assert not (tmp_path / "index").exists()


def test_wrong_wishes_get_one_line(config, tmp_path):
    for changes, said in (
        ({"k": 0}, "--k must lie between"),
        ({"characters": 5}, "--characters must lie between"),
        ({"folder": tmp_path / "none"}, "no such folder"),
        ({"model": tmp_path / "none"}, "no such directory, and no owner/name of a model"),
    ):
        with pytest.raises((ValueError, OSError), match=said):
            opened(config, **changes)
    with pytest.raises(ValueError, match="--query is empty"):
        main(Options(config.folder, config.model, query=(" ",)))
