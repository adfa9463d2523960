"""`prepare` reads what a file holds, whatever its name, and says what it does not read."""

import bz2
import csv
import gzip
import io
import json
import logging
import lzma
import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from train.finetune.data.reading.tables import Tables
from train.prepare.slices import Source
from train.prepare.sources import matches
from train.prepare.sources.choose import open_source

TEXTS = ['one, "two"\nthree', "naïve\r\nriver", "河\t and more", "a" * 300, "last\u2028line"]
SETTINGS = {"config": None, "dataset_split": "train", "revision": None, "val_fraction": 0.1}


def source_of(*names, text_column: str = "text", slice_bytes: int = 40, **changes) -> Source:
    return open_source(
        [str(name) for name in names], text_column=text_column, slice_bytes=slice_bytes, **SETTINGS | changes
    )


def read_all(source: Source) -> list[str]:
    return [text for piece in source.slices() for text in source.read(piece)]


def zstandard(raw: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as file:
        file.write(raw)
    return sink.getvalue().to_pybytes()


def table(delimiter: str) -> bytes:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerows([["id", "text"], *enumerate(TEXTS)])
    return file.getvalue().encode()


def arrow(stream: bool) -> bytes:
    sink = pa.BufferOutputStream()
    batch = pa.table({"text": TEXTS, "id": list(range(len(TEXTS)))})
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, batch.schema) as writer:
        writer.write_table(batch, max_chunksize=2)
    return sink.getvalue().to_pybytes()


def parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": TEXTS}), sink)
    return sink.getvalue().to_pybytes()


ROWS = [{"text": text, "id": i} for i, text in enumerate(TEXTS)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
FORMS = {
    "lines": LINES,
    "lines with a mark": b"\xef\xbb\xbf" + LINES,
    "lines joined with their marks": b"".join(b"\xef\xbb\xbf" + line for line in LINES.splitlines(keepends=True)),
    "lines in utf-16": LINES.decode().encode("utf-16"),
    "gzip": gzip.compress(LINES),
    "bzip2": bz2.compress(LINES),
    "xz": lzma.compress(LINES),
    "zstandard": zstandard(LINES),
    "array": json.dumps(ROWS).encode(),
    "array with a mark": b"\xef\xbb\xbf" + json.dumps(ROWS, indent=2, ensure_ascii=False).encode(),
    "array in gzip": gzip.compress(json.dumps(ROWS, indent=1).encode()),
    "csv": table(","),
    "csv with a mark": b"\xef\xbb\xbf" + table(","),
    "csv in gzip": gzip.compress(table(",")),
    "csv of semicolons": table(";"),
    "tsv": table("\t"),
    "csv in utf-16": table("\t").decode().encode("utf-16"),
    "arrow file": arrow(stream=False),
    "arrow stream": arrow(stream=True),
    "parquet": parquet(),
}


@pytest.mark.parametrize("name", ["corpus.txt", "corpus"])
@pytest.mark.parametrize("form", FORMS)
def test_the_same_rows_are_read_from_every_form_whatever_the_name(tmp_path, form, name):
    path = tmp_path / name
    path.write_bytes(FORMS[form])
    assert read_all(source_of(path)) == TEXTS


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("x.jsonl.gz", "gzip"),
        ("x.json", "lines"),
        ("x.json", "array"),
        ("x.jsonl", "array"),
        ("x.csv", "csv"),
        ("x.csv", "tsv"),
        ("x.tsv", "tsv"),
        ("x.csv.gz", "csv in gzip"),
        ("x.jsonl.zst", "zstandard"),
        ("x.ndjson.bz2", "bzip2"),
        ("x.arrow", "arrow stream"),
        ("x.feather", "arrow file"),
        ("x.jsonl", "parquet"),
    ],
)
def test_usual_names_are_read(tmp_path, name, form):
    path = tmp_path / name
    path.write_bytes(FORMS[form])
    assert read_all(source_of(path)) == TEXTS


@pytest.mark.parametrize("form", ["csv", "gzip", "array", "array in gzip", "arrow stream"])
def test_pieces_may_be_read_in_any_order(tmp_path, form):
    path = tmp_path / "x"
    path.write_bytes(FORMS[form])
    source = source_of(path, slice_bytes=1)
    pieces = list(source.slices())
    assert len(pieces) > 3
    found = {piece: list(source.read(piece)) for piece in [*pieces[::-1], *pieces[::2]]}
    assert [text for piece in pieces for text in found[piece]] == TEXTS


def test_running_text_in_gzip_gives_the_pieces_of_plain_text(tmp_path):
    text = "".join(f"line {i} of a naïve text\n" for i in range(200)).encode()
    (tmp_path / "a.txt").write_bytes(text)
    plain = source_of(tmp_path / "a.txt", slice_bytes=500)
    for name, raw in {
        "b.gz": gzip.compress(text),
        "c": text.decode().encode("utf-16"),
        "d": b"\xef\xbb\xbf" + text,
    }.items():
        (tmp_path / name).write_bytes(raw)
        packed = source_of(tmp_path / name, slice_bytes=500)
        assert [(p.start, p.stop, p.split) for p in packed.slices()] == [
            (p.start, p.stop, p.split) for p in plain.slices()
        ]
        assert read_all(packed) == read_all(plain)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.json", b'{\n "data": [\n  {"text": "a"}\n ]\n}\n', r"x\.json: one JSON value over several lines.*jq -c"),
        ("x.json", b'{"data": [{"text": "a"}]}', "no column 'text'; there are data"),
        ("x.json", b'[{"text": "a"}, {"text": 3}]', "x.json, element 1: 'text' is 3; expected a string"),
        ("x.json", b'[{"text": "a"}, {"text": "b"', "x.json, element 1: not valid JSON"),
        ("x.json", b'[{"text": "a"}] [1]', "something follows the end of its array"),
        ("x.csv", b"id,body\n1,a\n", r"x\.csv: no column 'text'; there are body, id\. Choose one with --text-column"),
        ("x.csv", b"text,id,text\n1,a,b\n", r"x\.csv: 2 columns are called 'text'; rename all but one"),
        ("x.csv", b"id,text\n1,a\n2,b,c\n", r"x\.csv:3: 3 fields; expected 2"),
        ("x.csv", b'id,text\n1,"a\n', r"x\.csv:\d: not a row of CSV"),
        ("x.csv", b"id,text\n1,caf\xe9\n", r"x\.csv: byte 0xe9 at offset 13 is not UTF-8"),
        ("x.parquet", b"<html>not found</html>", r"x\.parquet: not a readable parquet file"),
        ("x.jsonl.gz", gzip.compress(LINES)[:-20], r"x\.jsonl\.gz: gzip file that is damaged or cut short"),
        ("x.txt.gz", gzip.compress(b"caf\xe9 " * 9), r"x\.txt\.gz: byte 0xe9 .* decompress it, then iconv"),
        ("x.txt", b"PK\x03\x04" + bytes(26) + b"a.txt", r"x\.txt: a zip archive; unpack it"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_cure(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_all(source_of(tmp_path / name))


@pytest.mark.parametrize(
    "text", ["{curly} prose\nnext", "[1] a footnote\n", "a, text, of commas\nno table\n", "{}\n", "[{a list\n"]
)
def test_prose_that_begins_like_a_table_is_prose(tmp_path, text):
    (tmp_path / "x.txt").write_text(text)
    assert "".join(reversed(read_all(source_of(tmp_path / "x.txt")))) == text


def _string_types() -> list[pa.DataType]:
    plain = [pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.string_view()]
    return [*plain, pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int8(), pa.large_string())]


@pytest.mark.parametrize("kind", _string_types(), ids=str)
def test_every_type_of_text_is_read_from_parquet_and_arrow(tmp_path, kind):
    column = pa.array(TEXTS).dictionary_encode() if pa.types.is_dictionary(kind) else pa.array(TEXTS)
    rows = pa.table({"text": column.cast(kind)})
    pq.write_table(rows, tmp_path / "x.parquet", row_group_size=3)
    assert read_all(source_of(tmp_path / "x.parquet")) == TEXTS
    with pa.ipc.new_file(str(tmp_path / "x.arrow"), rows.schema) as writer:
        writer.write_table(rows)
    assert read_all(source_of(tmp_path / "x.arrow")) == TEXTS


def test_bytes_that_are_no_text_are_refused_with_their_row(tmp_path):
    pq.write_table(pa.table({"text": [b"ok", b"\xff\xd8"]}), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=r"x\.parquet: row 1: 'text' holds bytes that are not UTF-8"):
        read_all(source_of(tmp_path / "x.parquet"))


def test_what_a_pattern_matches_and_is_not_read_is_said(tmp_path, caplog):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(f"{name} text")
    (tmp_path / "dead.txt").symlink_to(tmp_path / "gone.txt")
    (tmp_path / "photo.txt").write_bytes(b"\x89PNG\r\n\x1a\n")
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / ".hidden").write_text("x")
    for pattern in (tmp_path, f"{tmp_path}/*.txt"):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert read_all(source_of(pattern)) == ["a.txt text", "b.txt text"]
        said = caplog.text
        for part in ("links to nothing: .*dead.txt", "a PNG image.*: .*photo.txt", "neither file nor folder.*pipe.txt"):
            assert re.search(part, said)
        assert ("hidden" in said) == (pattern == tmp_path)
    with pytest.raises(ValueError, match=r"photo\.txt: a PNG image"):
        source_of(tmp_path / "photo.txt", tmp_path / "a.txt")


def test_many_of_one_kind_are_counted(tmp_path, caplog):
    (tmp_path / "a.txt").write_text("text")
    for i in range(9):
        (tmp_path / f"dead{i}.txt").symlink_to(tmp_path / "gone")
    source_of(tmp_path)
    assert caplog.text.count("WARNING") == 1
    assert "dead2.txt and 6 more" in caplog.text


@pytest.mark.parametrize("denied", ["folder", "file"])
def test_what_may_not_be_read_is_named(tmp_path, monkeypatch, denied):
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "a.txt").write_text("text")
    if denied == "folder":
        monkeypatch.setattr(matches.os, "access", lambda path, mode: Path(path) != folder)
    else:
        opened = Path.open

        def refuse(path, *arguments, **options):
            if path.name == "a.txt":
                raise PermissionError(13, "Permission denied", str(path))
            return opened(path, *arguments, **options)

        monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionError, match=r"closed.* may not be read by this user; change"):
        source_of(tmp_path)


@pytest.mark.parametrize("slice_bytes", [1, 7, 10**6])
@pytest.mark.parametrize("packed", [False, True])
def test_divided_text_is_the_documents_between_the_separators(tmp_path, slice_bytes, packed):
    text = "First.\nSecond line.\n<|endoftext|>\nNext, naïve.<|endoftext|>\r\n\nLast one\n<|endoftext|>\n"
    path = tmp_path / "x.txt"
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    source = source_of(path, separator="<|endoftext|>", slice_bytes=slice_bytes)
    assert read_all(source) == ["First.\nSecond line.", "Next, naïve.", "\nLast one"]
    assert source.separated


@pytest.mark.parametrize("separator", ["aa", "\n\n", "%%%%", "河"])
def test_a_separator_is_found_wherever_the_text_is_cut(tmp_path, monkeypatch, separator):
    monkeypatch.setattr("train.prepare.sources.divided.BLOCK_BYTES", 3)
    text = f"x{separator * 3}y{separator}z a{separator}{separator[0]}b"
    (tmp_path / "x.txt").write_text(text)
    whole = read_all(source_of(tmp_path / "x.txt", separator=separator, slice_bytes=10**6))
    assert read_all(source_of(tmp_path / "x.txt", separator=separator, slice_bytes=1)) == whole
    assert [t.strip("\n") for t in whole] == [t.strip("\n") for t in text.split(separator)]


def test_a_separator_goes_with_plain_text_alone(tmp_path):
    (tmp_path / "x.jsonl").write_bytes(LINES)
    for name in (tmp_path / "x.jsonl", "stdlib"):
        with pytest.raises(ValueError, match="--document-separator is for plain text"):
            source_of(name, separator="###")
    (tmp_path / "x.txt").write_text("text")
    with pytest.raises(ValueError, match="--document-separator is empty"):
        source_of(tmp_path / "x.txt", separator="")
    with pytest.raises(ValueError, match=r"--document-separator: lone surrogate U\+DCE9 at position 3"):
        source_of(tmp_path / "x.txt", separator="caf\udce9")  # of a command line that is not UTF-8


@pytest.mark.parametrize("form", ["lines", "array", "array without a name"])
def test_an_integer_of_any_length_beside_the_text_is_read(tmp_path, form):
    rows = [{"id": 1, "text": "a"}, {"id": "DIGITS", "text": "b"}, {"id": [{"n": "DIGITS"}], "text": "c"}]
    lines = json.dumps(rows) if form.startswith("array") else "".join(json.dumps(row) + "\n" for row in rows[::-1])
    path = tmp_path / ("x" if form.endswith("name") else "x.json")
    path.write_text(lines.replace('"DIGITS"', "-" + "7" * 5000))
    texts = ["a", "b", "c"]
    assert read_all(source_of(path)) == (texts if form.startswith("array") else texts[::-1])
    assert [row["text"] for _, row in Tables((str(path),)).rows() if isinstance(row, dict)] == sorted(
        texts, reverse=form == "lines"
    )


@pytest.mark.parametrize("flag", ["config", "revision"])
def test_what_is_for_datasets_of_the_hub_is_refused_for_files(tmp_path, flag):
    (tmp_path / "x.txt").write_text("text")
    for name in (tmp_path / "x.txt", "stdlib"):
        with pytest.raises(ValueError, match=rf"--{flag} x is for hf: datasets; .* is none: leave the option out"):
            source_of(name, text_column="text", slice_bytes=40, **{flag: "x"})


@pytest.mark.parametrize("column", ["0", "body"])
def test_a_column_of_plain_text_is_refused(tmp_path, column):
    (tmp_path / "x.txt").write_text("text\nand more")
    for name, separator in ((tmp_path / "x.txt", None), (tmp_path / "x.txt", "#"), ("stdlib", None)):
        with pytest.raises(ValueError, match=rf"--text-column {column}: .* is plain text, which has no columns"):
            source_of(name, text_column=column, separator=separator)
