"""`train critique` from files to its JSON and page; bad input gets one line with the cure."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import small_models
from fineweb import nearly, prose

from llm_jax.command_line import run
from train.__main__ import COMMANDS
from train.critique import documents
from train.critique.config import CritiqueConfig

HOSTILE = '</script><img src="http://example.invalid/x" onerror="document.title=1">\x1b[2J[bold]'


def critique(*arguments: object) -> int:
    return run("python -m train", "", COMMANDS, ["critique", *map(str, arguments)])


@pytest.fixture
def tokenizer(tmp_path):
    small_models.bytes_tokenizer().save(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    texts = [*map(prose, range(6)), nearly(prose(0)), f"{HOSTILE} " * 4, "short", "   "]
    labels = ["en", "de", HOSTILE, *["en"] * 7]
    path.write_text("".join(json.dumps({"text": t, "source": s}) + "\n" for t, s in zip(texts, labels, strict=True)))
    return path


class TestReading:
    """Needs no datatrove."""

    def read(self, *files, **options):
        return documents.read(CritiqueConfig(tuple(map(str, files)), **options))

    def test_lines_of_one_label_are_joined_over_files_and_an_incomplete_end_is_left(self, tmp_path):
        for name, n in (("a.dev", 5), ("a.devtest", 4), ("b.dev", 2)):
            (tmp_path / name).write_text("".join(f"{name} {i}\n" for i in range(n)))
        found = self.read(tmp_path / "a.dev", tmp_path / "a.devtest", tmp_path / "b.dev", lines=3)
        assert [one.label for one in found.documents] == ["a", "a", "a", "b"]
        assert found.documents[1].text == "a.dev 3\na.dev 4\na.devtest 0"
        assert found.documents[3].text == "b.dev 0\nb.dev 1"

    def test_a_draw_has_the_limit_s_size_and_the_files_order(self, tmp_path):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps({"text": f"t{i}"}) + "\n" for i in range(100)))
        found = self.read(path, limit=10)
        numbers = [int(one.text[1:]) for one in found.documents]
        assert len(numbers) == 10 < found.found == 100
        assert numbers == sorted(numbers) != list(range(10))

    def test_the_language_is_the_label_where_no_other_is_asked_for(self, tmp_path):
        path = tmp_path / "rows.parquet"
        pq.write_table(pa.table({"text": ["a", "b"], "language": ["en", None], "int_score": [3, 2]}), path)
        found = self.read(path)
        assert (found.label, [one.label for one in found.documents]) == ("language", ["en", ""])
        assert [one.score for one in found.documents] == [3, 2]

    @pytest.mark.parametrize(
        ("name", "text", "options", "message"),
        [
            ("a.jsonl", "", {}, "no document in 1 files: they are empty"),
            ("a.txt", " \n", {}, "no document in 1 files"),
            ("a.parquet", "", {}, "is empty"),
            ("a.parquet", "PAR1 cut", {}, "not a parquet file"),
            ("a.jsonl", '{"text": "a"}\n{"text', {}, "a.jsonl:2"),
            ("a.jsonl", '{"body": "a"}', {}, "no column 'text'; there are body. Choose one with --text-column"),
            ("a.jsonl", '{"text": "a"}', {"label": "source"}, "no column 'source' for --label; there are text"),
            ("a.jsonl", '{"text": null}', {}, "'text' is null"),
            ("a.jsonl", '{"text": 3}', {}, "expected text"),
            ("a.jsonl", '{"text": "a", "score": "high"}', {}, "expected a number"),
            ("a.txt", "text", {"label": "source"}, "is text and has no columns; leave --label out"),
        ],
    )
    def test_bad_input_is_named_in_one_line(self, tmp_path, name, text, options, message):
        (tmp_path / name).write_text(text)
        with pytest.raises((ValueError, OSError), match=message) as error:
            self.read(tmp_path / name, **options)
        assert str(tmp_path / name) in str(error.value)
        assert "\n" not in str(error.value)


def test_a_missing_extra_is_said_with_its_cure(monkeypatch, capsys):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "datatrove" else real(name, *a))
    assert critique("x.jsonl") == 2
    assert "a critique needs datatrove: uv sync --inexact --extra curate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--limit", 0], "--limit must be at least 1"),
        (["--choices", "x"], "--choices needs the data file of its items"),
    ],
)
def test_an_option_out_of_range_is_named(flags, message, capsys):
    assert critique("x.jsonl", *flags) == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


class TestWhole:
    """Everything together; needs the extra."""

    pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

    @pytest.fixture(autouse=True)
    def _extra(self):
        pytest.importorskip("datatrove", reason="a critique needs the extra curate")
        pytest.importorskip("spacy", reason="a critique needs the extra curate")

    def test_json_and_page_hold_the_same_and_markup_is_harmless(self, rows, tokenizer, tmp_path, capsys):
        out = tmp_path / "out"
        flags = ["--label", "source", "--tokenizer", tokenizer, "--words", "spaces", "--out", out]
        assert critique(rows, *flags) == 0
        record = json.loads((out / "critique.json").read_text())
        assert (record["documents"], record["empty"], record["found"]) == (9, 1, 9)
        assert {one["label"] for one in record["labels"]} == {"en", "de", HOSTILE}
        assert record["duplicates"]["removed"]["documents"] == 1
        page = (out / "critique.html").read_text()
        assert "<img" not in page
        said = capsys.readouterr().out
        assert "\x1b[2J" not in said
        assert "</script><img" in said  # as text
        assert "stop words" in said

    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            (["--filters", "xx"], "--filters xx: no filters for this language"),
            (["--train", "nothing"], "--train 'nothing' is no filter or rule here; there are Gopher repetition"),
            (["--tokenizer", "no-such"], "no-such"),
            (["--benchmark", "absent.jsonl"], "absent.jsonl does not exist"),
        ],
    )
    def test_a_wrong_option_is_named_before_anything_is_written(
        self, rows, tokenizer, tmp_path, capsys, flags, message
    ):
        given = [] if "--tokenizer" in flags else ["--tokenizer", tokenizer]
        assert critique(rows, *given, *flags, "--words", "spaces", "--out", tmp_path / "out") == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
