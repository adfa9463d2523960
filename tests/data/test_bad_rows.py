"""One bad row costs one file's work at most, and may be skipped, counted and listed."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from train.data.integrity import NOTES
from train.prepare import tokenise
from train.prepare.command import main
from train.prepare.config import PrepareConfig
from train.prepare.preparation import prepare
from train.prepare.sources.hub import HubDataset
from train.prepare.sources.rows import Rows
from train.prepare.sources.tables import JsonLines, Parquet

BAD = {
    "not UTF-8": b'{"text": "caf\xe9"}\n',
    "a lone surrogate": b'{"text": "x\\ud83d y"}\n',
    "null": b'{"text": null}\n',
    "a number": b'{"text": 7}\n',
    "broken JSON": b'{"text": "cut sho\n',
    "no object": b"[1, 2]\n",
    "no column": b'{"other": "x"}\n',
    "NUL bytes": b"\0\0\0\0\n",
}


@pytest.fixture
def sources(tmp_path, documents) -> list[Path]:
    """Three files of twenty documents, each more than a unit."""
    paths = []
    for k in range(3):
        path = tmp_path / f"{k}.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents[20 * k : 20 * k + 20]))
        paths.append(path)
    return paths


@pytest.fixture
def options(tmp_path, sources, small_tokenizer):
    def build(name: str, **changes) -> PrepareConfig:
        fields = {"source": tuple(map(str, sources)), "out": tmp_path / name, "tokenizer": str(small_tokenizer)}
        return PrepareConfig(**fields | {"processes": 1, "unit_megabytes": 0.003} | changes)

    return build


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != NOTES}


@pytest.fixture
def made(monkeypatch) -> list[int]:
    """Which parts are made."""
    numbers: list[int] = []
    make = tokenise.Work.make_part

    def counting(work, number):
        done = make(work, number)
        numbers.append(number)
        return done

    monkeypatch.setattr(tokenise.Work, "make_part", counting)
    return numbers


def test_after_a_row_is_mended_only_its_file_is_read_again(options, sources, made):
    whole = sources[2].read_bytes()
    sources[2].write_bytes(whole + BAD["null"])
    with pytest.raises(ValueError, match=r"2.jsonl:21: 'text' is None"):
        prepare(options("mended"))
    before = set(made)
    assert len(before) > 6
    made.clear()
    sources[2].write_bytes(whole + b'{"text": "mended"}\n')
    mended = files_of(prepare(options("mended")).folder)
    assert min(made) > 5
    assert len(made) < len(before)
    assert mended == files_of(prepare(options("fresh")).folder)


def test_a_mended_file_in_front_shifts_the_others_and_they_are_kept(options, sources, made):
    whole = sources[0].read_bytes()
    sources[0].write_bytes(BAD["broken JSON"] + whole)
    sources.reverse()
    source = tuple(str(path) for path in sources)
    with pytest.raises(ValueError, match=r"0.jsonl:1: not valid JSON"):
        prepare(options("mended", source=source))
    n_before = len(made)
    made.clear()
    sources[-1].write_bytes(whole[: len(whole) // 2].rpartition(b"\n")[0] + b"\n")
    mended = files_of(prepare(options("mended", source=source)).folder)
    assert len(made) < n_before
    assert mended == files_of(prepare(options("fresh", source=source)).folder)


def test_a_tokenizer_made_of_the_text_is_made_anew_when_the_text_is_mended(options, sources):
    whole = sources[1].read_bytes()
    made_from_text = {"tokenizer": "train:270"}
    sources[1].write_bytes(whole + b'{"text": "other other other"}\n')
    broken = options("mended", **made_from_text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.prepare.preparation.assemble", lambda *_: (_ for _ in ()).throw(RuntimeError))
        with pytest.raises(RuntimeError):
            prepare(broken)
    sources[1].write_bytes(whole)
    assert files_of(prepare(broken).folder) == files_of(prepare(options("fresh", **made_from_text)).folder)


@pytest.mark.parametrize("kind", BAD)
def test_bad_rows_are_skipped_counted_and_listed_with_file_and_row(kind, options, sources):
    clean = files_of(prepare(options("clean")).folder)
    lines = sources[1].read_bytes().splitlines(keepends=True)
    sources[1].write_bytes(b"".join([*lines[:4], BAD[kind], *lines[4:]]))
    with pytest.raises(ValueError, match=r"1.jsonl"):
        prepare(options("skipped"))
    skipped = files_of(prepare(options("skipped", skip_bad_rows=1)).folder)
    (row,) = skipped.pop("skipped_rows.txt").decode().splitlines()
    assert "1.jsonl" in row
    shards = {name: content for name, content in skipped.items() if name.endswith(".bin")}
    assert shards == {name: content for name, content in clean.items() if name.endswith(".bin")}


def test_one_bad_row_more_than_allowed_is_an_error_that_names_the_last(options, sources):
    for path in (sources[0], sources[2]):
        path.write_bytes(path.read_bytes() + BAD["null"])
    with pytest.raises(ValueError, match=r"2.jsonl:21: .*: this is bad row 2, and --skip-bad-rows allows 1"):
        prepare(options("out", skip_bad_rows=1))
    assert prepare(options("out", skip_bad_rows=2)).shards


def _arrow(path: Path, texts: list) -> None:
    table = pa.table({"text": pa.array(texts, pa.string())})
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=3)


def _in_form(form: str, folder: Path, bad: bool) -> Path:
    """Ten documents, and with `bad` one row or file in their middle that cannot be read."""
    folder.mkdir(exist_ok=True)
    texts = [f"document {i} of the river" for i in range(10)]
    path = folder / form
    if form == "files":
        path.mkdir()
        for i, text in enumerate(texts):
            (path / f"{i}.txt").write_text(text)
        if bad:
            (path / "4b.txt").write_bytes(b"caf\xe9")
        return path
    if form == "x.arrow":
        _arrow(path, [*texts[:5], *[None] * bad, *texts[5:]])
        return path
    suffix = form.rpartition(".")[2]
    end, between = {
        "csv": ("\n", "\n"),
        "tsv": ("\n", "\n"),
        "json": ("]", ","),
        "txt": ("", "<|endoftext|>"),
    }[suffix]
    broken = {
        "fields.csv": b"7,x,y",
        "quotes.csv": b'7,"a"b',
        "utf8.csv": b"7,caf\xe9",
        "fields.tsv": b"one",
        "utf8.json": b'{"text": "caf\xe9"}',
        "null.json": b'{"text": null}',
        "number.json": b"3",
        "utf8.txt": b"caf\xe9",
    }[form]
    row = {"csv": "7,{}", "tsv": "7\t{}", "json": '{{"text": "{}"}}', "txt": "{}"}[suffix]
    rows = [row.format(text).encode() for text in texts]
    begin = {"csv": b"id,text\n", "tsv": b"id\ttext\n", "json": b"[", "txt": b""}[suffix]
    path.write_bytes(begin + between.encode().join([*rows[:5], *[broken] * bad, *rows[5:]]) + end.encode())
    return path


FORMS = ["files", "x.arrow", "fields.csv", "quotes.csv", "utf8.csv", "fields.tsv", "utf8.json", "null.json"]
FORMS += ["number.json", "utf8.txt"]


@pytest.mark.parametrize("form", FORMS)
def test_bad_rows_are_skipped_in_every_kind_of_file(form, options, tmp_path):
    separator = "<|endoftext|>" if form.endswith("txt") else None
    fields = {"document_separator": separator, "unit_megabytes": 0.0001}
    clean = prepare(options("clean", source=(str(_in_form(form, tmp_path / "a", bad=False)),), **fields))
    source = (str(_in_form(form, tmp_path / "b", bad=True)),)
    with pytest.raises(ValueError, match=r"/b/"):
        prepare(options("skipped", source=source, **fields))
    skipped = prepare(options("skipped", source=source, skip_bad_rows=1, **fields))
    assert [shard.sha256 for shard in skipped.shards] == [shard.sha256 for shard in clean.shards]
    assert skipped.left_out == {"bad rows, listed in skipped_rows.txt": 1}
    assert "/b/" in (skipped.folder / "skipped_rows.txt").read_text()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", b'id,text\n1,a\n2,"b\n3,c\n4,d\n'),
        ("x.csv", b'id,text\n1,a\n2,"b\n3,c\n4,"d"\n5,e\n'),
        ("x.json", b'[{"text": "a"}, {"text": "b"'),
        ("x.json", b'[{"text": "a"} {"text": "b"}]'),
    ],
)
def test_what_hides_where_the_next_row_begins_is_not_skipped(name, content, options, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        prepare(options("out", source=(str(tmp_path / name),), skip_bad_rows=100))


@pytest.mark.parametrize("name", ["x.tsv", "x.csv", "x"])
@pytest.mark.parametrize("mark", ["\t", ",", ";"])
def test_a_table_without_a_header_is_read_by_the_number_of_a_column(name, mark, tmp_path, options):
    rows = [f"ham{mark}text number {i}" for i in range(20)]
    (tmp_path / name).write_text("\n".join(rows) + "\n")
    manifest = prepare(options("out", source=(str(tmp_path / name),), text_column="2"))
    assert sum(split.documents or 0 for split in manifest.splits.values()) == 20


def test_the_first_row_of_a_table_without_a_header_may_hold_a_line_break(tmp_path, options):
    (tmp_path / "x.csv").write_text('1,"a\nb"\n' * 3)
    manifest = prepare(options("out", source=(str(tmp_path / "x.csv"),), text_column="2"))
    assert sum(split.documents or 0 for split in manifest.splits.values()) == 3


def test_a_table_without_a_header_is_refused_with_the_cure(tmp_path, options):
    (tmp_path / "x.tsv").write_text("ham\tGo, crazy, until, there\nspam\tFree\n")
    source = (str(tmp_path / "x.tsv"),)
    with pytest.raises(ValueError, match=r"x.tsv: no column 'text'.*no header.*--text-column 2"):
        prepare(options("out", source=source))
    with pytest.raises(ValueError, match=r"no column number 3; its first line has 2"):
        prepare(options("out", source=source, text_column="3"))


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "arrow", "csv", "hub"])
def test_no_place_is_computed_for_a_row_that_is_sound(kind, options, tmp_path, monkeypatch):
    texts = pa.table({"text": [f"text {i}" for i in range(9)]})
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / f"x.{kind}"
    if kind in ("jsonl", "hub"):
        path = path.with_suffix(".jsonl")
        path.write_text("".join(json.dumps(row) + "\n" for row in texts.to_pylist()))
    elif kind == "parquet":
        pq.write_table(texts, path)
    elif kind == "csv":
        path.write_text("id,text\n" + "".join(f"1,{row['text']}\n" for row in texts.to_pylist()))
    else:
        _arrow(path, texts["text"].to_pylist())
    for source in (JsonLines, Parquet, Rows, HubDataset):
        monkeypatch.setattr(source, "place", None)
    monkeypatch.setattr(JsonLines, "_line", None)
    given = f"hf:{tmp_path / 'in'}" if kind == "hub" else str(path)
    manifest = prepare(options("out", source=(given,)))
    assert sum(split.documents or 0 for split in manifest.splits.values()) == 9


def test_ctrl_c_says_what_is_kept_and_what_is_not(options, made, monkeypatch, capsys):
    console = Console(width=500)
    make = tokenise.Work.make_part
    for stop_at, message in ((0, "nothing is left on the disk"), (2, "parts that are tokenized are kept")):

        def stopping(work, number, stop_at=stop_at):
            if number == stop_at:
                raise KeyboardInterrupt
            return make(work, number)

        monkeypatch.setattr(tokenise.Work, "make_part", stopping)
        with pytest.raises(KeyboardInterrupt):
            prepare(options("out"), console)
        assert message in capsys.readouterr().out


def test_stdlib_drops_files_without_text_and_counts_them(options, tmp_path, monkeypatch, capsys):
    for name in ("a", "b", "c"):
        (tmp_path / "lib" / name).mkdir(parents=True)
        (tmp_path / "lib" / name / "__init__.py").write_text("")
        (tmp_path / "lib" / name / "work.py").write_text(f"def {name}():\n    return 1\n" * 9)
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path / "lib"))
    asked = options("out", source=("stdlib",), border="none")
    assert main(asked) == 0
    assert "left out, documents without text: 3" in capsys.readouterr().out
    assert sum(split.documents or 0 for split in prepare(asked).splits.values()) == 3


def test_quotes_are_text_in_a_tsv_file_that_does_not_quote(tmp_path, options):
    source = tmp_path / "x.tsv"
    source.write_text('ham\t"Hello there\nspam\tsay "yes"\nham\t"quoted" then not\n')
    prepare(options("raw", source=(str(source),), text_column="2", tokenizer="characters", border="none"))
    found = json.loads((tmp_path / "raw" / "tokenizer.json").read_text())["model"]["vocab"]
    assert '"' in found
    source.write_text('ham\t"Hello there"\nspam\tyes\nham\t"a ""word"" b"\n')
    made = prepare(options("quoted", source=(str(source),), text_column="2", tokenizer="characters", border="none"))
    assert sum(split.bytes or 0 for split in made.splits.values()) == len('Hello thereyesa "word" b')
