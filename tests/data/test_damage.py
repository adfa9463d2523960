"""Damaged tables are named with the cure, and a string that is not UTF-8 costs one row, in every kind of file."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from train.finetune.data.reading.tables import Tables
from train.prepare.config import PrepareConfig
from train.prepare.preparation import prepare
from train.prepare.slices import BadRow, rows_of
from train.prepare.sources.choose import open_source

TEXTS = [f"text {i} of the river, naïve {'x' * (i % 7)}" for i in range(30)]
KINDS = [
    "parquet snappy",
    "parquet none",
    "parquet zstd",
    "arrow file",
    "arrow stream",
    "arrow lz4",
    "arrow dictionary",
]


def written(kind: str, column: pa.Array | None = None, **options) -> bytes:
    """A table of three batches or row groups."""
    family, _, form = kind.partition(" ")
    texts = pa.array(TEXTS) if column is None else column
    rows = pa.table({"text": texts.dictionary_encode() if form == "dictionary" else texts, "id": range(len(texts))})
    sink = pa.BufferOutputStream()
    if family == "parquet":
        # Without statistics, because pyarrow aborts the process at some that are damaged.
        pq.write_table(rows, sink, row_group_size=10, compression=form, write_statistics=False, **options)
    else:
        make = pa.ipc.new_stream if form == "stream" else pa.ipc.new_file
        compression = pa.ipc.IpcWriteOptions(compression="lz4" if form == "lz4" else None)
        with make(sink, rows.schema, options=compression) as writer:
            writer.write_table(rows, max_chunksize=10)
    return sink.getvalue().to_pybytes()


def read_all(path: Path) -> list[str | BadRow]:
    options = {"config": None, "dataset_split": "train", "revision": None, "val_fraction": 0.1, "slice_bytes": 200}
    source = open_source([str(path)], text_column="text", **options)
    return [text for piece in source.slices() for text in rows_of(source, piece)]


def outcome(path: Path, read) -> list | None:
    """The rows, or None where an error names the file, in one line. Any other error passes."""
    try:
        return read(path)
    except ValueError as error:
        if str(path) not in str(error) or "\n" in str(error):
            raise
        return None


def damaged(raw: bytes, step: int):
    """Copies with one byte inverted; the magic bytes at both ends stay."""
    for place in range(8, len(raw) - 6, step):
        yield raw[:place] + bytes([raw[place] ^ 0xFF]) + raw[place + 1 :]


@pytest.mark.parametrize("kind", KINDS)
def test_an_inverted_byte_loses_no_row_or_is_an_error_that_names_the_file(kind, tmp_path):
    path = tmp_path / "x"
    n_named = 0
    for content in damaged(written(kind), 5):
        path.write_bytes(content)
        rows = outcome(path, read_all)
        assert rows is None or len(rows) == len(TEXTS)
        assert all(str(path) in row.reason for row in rows or [] if isinstance(row, BadRow))
        examples = outcome(path, lambda path: list(Tables((str(path),)).rows()))
        assert examples is None or len(examples) == len(TEXTS)
        n_named += rows is None
    assert n_named > 20


@pytest.mark.parametrize("kind", ["parquet snappy", "parquet none"])
def test_a_page_with_a_checksum_never_gives_another_text(kind, tmp_path):
    path = tmp_path / "x"
    for content in damaged(written(kind, write_page_checksum=True), 5):
        path.write_bytes(content)
        assert outcome(path, read_all) in (None, TEXTS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_cut_short_is_named(kind, tmp_path):
    path, raw = tmp_path / "x", written(kind)
    for size in range(100, len(raw) - 20, 37):
        path.write_bytes(raw[:size])
        with pytest.raises(
            ValueError, match=rf"{path}.*: not a readable \w+ file: damaged or cut short .*; copy it again"
        ):
            read_all(path)


def test_a_damaged_row_group_of_several_files_is_named(tmp_path, small_tokenizer, capsys):
    for name in ("m1", "m2", "m3"):
        (tmp_path / f"{name}.parquet").write_bytes(written("parquet snappy"))
    path = tmp_path / "m2.parquet"
    path.write_bytes(path.read_bytes()[:60] + b"\xff" + path.read_bytes()[61:])
    options = PrepareConfig(
        source=(f"{tmp_path}/m?.parquet",),
        out=tmp_path / "out",
        tokenizer=str(small_tokenizer),
        processes=1,
        unit_megabytes=0.0005,
    )
    with pytest.raises(ValueError, match=r"/m2\.parquet, row group 0: not a readable parquet file: .*; copy it again"):
        prepare(options, Console(width=500))
    assert "the parts that are tokenized are kept: the same command continues from there" in capsys.readouterr().out
    path.write_bytes(written("parquet snappy"))
    assert prepare(options).splits["train"].documents == 81


def test_a_footer_that_lists_fewer_batches_is_refused(tmp_path):
    path, raw = tmp_path / "x", written("arrow file")
    found = set()
    for place in range(len(raw) - 10 - int.from_bytes(raw[-10:-6], "little"), len(raw) - 10):
        for count in (0, 1, 2):
            path.write_bytes(raw[:place] + bytes([count]) + raw[place + 1 :])
            rows = outcome(path, read_all)
            assert rows is None or rows == TEXTS
            found.add(rows is None)
    assert found == {True, False}


def strings(kind: pa.DataType, values: list[bytes]) -> pa.Array:
    """Strings with the given bytes, which Arrow does not check."""
    of_bytes = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary(), pa.string_view(): pa.binary_view()}
    return pa.Array.from_buffers(kind, len(values), pa.array(values, of_bytes[kind]).buffers())


STRINGS = {
    "string": lambda values: strings(pa.string(), values),
    "large_string": lambda values: strings(pa.large_string(), values),
    "string_view": lambda values: strings(pa.string_view(), values),
    "dictionary": lambda values: pa.DictionaryArray.from_arrays(
        pa.array(range(len(values)), pa.int8()), strings(pa.string(), values)
    ),
    "binary": lambda values: pa.array(values, pa.binary()),
}


@pytest.mark.parametrize("column", STRINGS)
@pytest.mark.parametrize("kind", ["parquet snappy", "arrow file", "arrow stream"])
def test_a_string_that_is_not_utf_8_is_one_bad_row(kind, column, tmp_path, small_tokenizer):
    values = [f"document {i} with words".encode() for i in range(12)]
    values[7] = "café au lait, déjà vu".encode("latin1")
    path = tmp_path / "x.data"
    path.write_bytes(written(kind, STRINGS[column](values)))
    reason = r"x\.data[,:] row 7: 'text' holds bytes that are not UTF-8"

    def options(**more) -> PrepareConfig:
        return PrepareConfig((str(path),), tmp_path / "out", str(small_tokenizer), processes=1, **more)

    if kind == "parquet snappy" and column == "dictionary":  # pyarrow itself refuses the whole row group
        reason = r"x\.data, row group 0: not a readable parquet file: .*UTF8"
    with pytest.raises(ValueError, match=reason):
        prepare(options())
    if "group" in reason:
        return
    made = prepare(options(skip_bad_rows=1))
    assert sum(split.documents or 0 for split in made.splits.values()) == 11
    assert "row 7" in (tmp_path / "out" / "skipped_rows.txt").read_text()
    if column != "binary":  # whose values are bytes for fine-tuning
        rows = [row for _, row in Tables((str(path),)).rows()]
        assert isinstance(bad := rows.pop(7), BadRow)
        assert "x.data, row 7: holds bytes that are not UTF-8" in bad.reason
        assert [row["text"].encode() for row in rows if isinstance(row, dict)] == values[:7] + values[8:]


def test_a_string_deep_in_a_row_that_is_not_utf_8_is_one_bad_row(tmp_path):
    contents = strings(pa.string(), [b"sound", b"caf\xe9", b"sound"])
    turns = pa.StructArray.from_arrays([contents], ["content"])
    chats = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), turns)
    rows = pa.table({"messages": chats})
    pq.write_table(rows, tmp_path / "x.parquet")
    with pa.ipc.new_file(str(tmp_path / "x.arrow"), rows.schema) as writer:
        writer.write_table(rows)
    for name in ("x.parquet", "x.arrow"):
        read = [row for _, row in Tables((str(tmp_path / name),)).rows()]
        assert [isinstance(row, BadRow) for row in read] == [False, True, False]
        assert read[0] == {"messages": [{"content": "sound"}]}


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_two_columns_of_one_name_are_refused(kind, tmp_path):
    rows = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["text", "text"])
    path = tmp_path / f"x.{kind}"
    if kind == "parquet":
        pq.write_table(rows, path)
    else:
        with pa.ipc.new_file(str(path), rows.schema) as writer:
            writer.write_table(rows)
    with pytest.raises(ValueError, match=rf"{path}: 2 columns are called 'text'; rename all but one"):
        read_all(path)
    with pytest.raises(ValueError, match=rf"{path}: 2 columns are called 'text'; rename all but one"):
        list(Tables((str(path),)).rows())
