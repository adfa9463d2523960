"""Reading text: every document once and in order however the input is cut, and clear words for input that is wrong."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_jax.tokenizer.bpe import patterns
from train.prepare.config import PrepareConfig
from train.prepare.slices import Slice, Source, group
from train.prepare.sources.choose import open_source
from train.prepare.sources.tables import JsonLines, Parquet
from train.prepare.sources.text import RunningText, standard_library

SETTINGS = {"config": None, "dataset_split": "train", "revision": None, "val_fraction": 0.1, "slice_bytes": 1000}


def source_of(*given_names, text_column: str = "text", **changes) -> Source:
    return open_source([str(name) for name in given_names], text_column=text_column, **SETTINGS | changes)


def read_all(source: Source) -> list[str]:
    return [text for piece in source.slices() for text in source.read(piece)]


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text(max_size=40), max_size=12),
    slice_bytes=st.integers(1, 200),
    ending=st.sampled_from(["\n", "\r\n", "\n\n"]),
    last=st.booleans(),
)
def test_json_lines_are_read_once_and_in_order_wherever_they_are_cut(
    tmp_path_factory, texts, slice_bytes, ending, last
):
    path = tmp_path_factory.mktemp("corpus") / "c.jsonl"
    lines = ending.join(json.dumps({"text": text}, ensure_ascii=i % 2 == 0) for i, text in enumerate(texts))
    path.write_bytes((lines + ending * last).encode())
    assert read_all(JsonLines((path,), (str(path),), "text", slice_bytes)) == texts


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=400), slice_bytes=st.integers(1, 100), val_fraction=st.floats(0, 0.99))
def test_a_running_text_is_cut_by_characters_and_nothing_is_lost(tmp_path_factory, text, slice_bytes, val_fraction):
    path = tmp_path_factory.mktemp("corpus") / "t.txt"
    path.write_bytes(text.encode())
    source = RunningText(path, val_fraction, slice_bytes)
    halves = {"val": "", "train": ""}
    for piece in source.slices():
        halves[piece.split] += "".join(source.read(piece))
    n_train = int(len(text) * (1 - val_fraction))
    assert halves == {"val": text[n_train:], "train": text[:n_train]}


@settings(max_examples=40, deadline=None)
@given(
    text=st.lists(
        st.sampled_from([*"ab Z9 \n\n\t'.,/s河é。жЯ“", "\r\n", "\u3000", "\u2028", "\xa0", "\u0301"]), max_size=300
    ),
    slice_bytes=st.integers(1, 60),
)
@pytest.mark.parametrize("pattern", ["GPT2_PATTERN", "CL100K_PATTERN", "O200K_PATTERN"])
def test_cutting_a_running_text_does_not_change_its_pre_tokens(tmp_path_factory, text, slice_bytes, pattern):
    split = patterns.splitter(getattr(patterns, pattern))
    path = tmp_path_factory.mktemp("corpus") / "t.txt"
    path.write_bytes("".join(text).encode())
    pieces = read_all(RunningText(path, 0.0, slice_bytes))
    assert [token for piece in pieces for token in split(piece)] == split("".join(text))


@pytest.mark.parametrize(
    "line",
    [
        "the words of one endless line ",
        "A line of prose, that ends as prose does.\n",
        "Its like on another system.\r\n",
        "Русская строка, и конец её.\r\n",
        "中文的一行。\n",
        "हिन्दी की एक पंक्ति।\n",
    ],
)
def test_a_running_text_of_any_kind_is_cut_about_where_it_was_asked_for(tmp_path, line):
    path = write(tmp_path / "t.txt", line.encode() * 100)
    pieces = [piece.stop - piece.start for piece in RunningText(path, 0.0, 200).slices()]
    assert max(pieces) <= 200 + 2 * len(line.encode())


@pytest.mark.parametrize("slice_bytes", [1, 300, 10**6])
@pytest.mark.parametrize("row_group_size", [1, 7, 1000])
def test_parquet_rows_are_read_once_and_in_order_wherever_they_are_cut(
    tmp_path, documents, slice_bytes, row_group_size
):
    path = tmp_path / "x.parquet"
    table = pa.table({"id": list(range(60)), "body": documents})
    pq.write_table(table, path, row_group_size=row_group_size)
    source = Parquet((path,), ("x",), "body", slice_bytes)
    assert read_all(source) == documents
    if row_group_size == 1000 and slice_bytes == 1:
        assert len(list(source.slices())) == 16  # a single row group, too, is shared out


def test_a_hugging_face_dataset_is_streamed_row_group_by_row_group(tmp_path, documents):
    for i in range(2):
        table = pa.table({"text": documents[30 * i : 30 * i + 30], "id": list(range(30))})
        pq.write_table(table, tmp_path / f"part{i}.parquet", row_group_size=8)
    source = source_of(f"hf:{tmp_path}")
    assert len(list(source.slices())) == 8
    assert read_all(source) == documents
    assert source.describe()["files"] == 2


def test_a_hugging_face_dataset_of_json_lines_is_streamed_file_by_file(tmp_path, documents):
    for i in range(3):
        rows = documents[20 * i : 20 * i + 20]
        (tmp_path / f"part{i}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))
    source = source_of(f"hf:{tmp_path}")
    assert len(list(source.slices())) == 3
    assert read_all(source) == documents


def test_the_standard_library_comes_without_tests_and_in_a_fixed_order():
    source = standard_library()
    names = [path.as_posix() for path in source.paths]
    assert any(name.endswith("/json/decoder.py") for name in names)
    assert not any(part in name for name in names for part in ("/test/", "/tests/", "site-packages", "__pycache__"))
    assert standard_library().paths == source.paths
    assert names != sorted(names)
    assert sum(piece.bytes for piece in source.slices()) > 8_000_000


def test_slices_are_grouped_to_the_size_asked_for_and_splits_are_kept_apart():
    pieces = [
        Slice("a", 0, 1, size, split) for size, split in [(4, None), (4, None), (4, None), (20, None), (1, "val")]
    ]
    assert [len(unit) for unit in group(pieces, 10)] == [2, 1, 1, 1]
    assert [len(unit) for unit in group([Slice("hf", i, i + 1, 0) for i in range(3)], 10)] == [1, 1, 1]
    assert group([], 10) == []


def test_files_globs_and_folders_mean_the_same_files(tmp_path):
    for name in ("b.txt", "a.txt", "below/c.txt", ".hidden.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{name} text")
    expected = ["a.txt text", "b.txt text", "below/c.txt text"]
    assert read_all(source_of(tmp_path)) == expected
    assert read_all(source_of(f"{tmp_path}/**/*.txt")) == expected
    assert read_all(source_of(tmp_path / "a.txt", tmp_path / "a.txt", f"{tmp_path}/b*", tmp_path / "below")) == expected


def refused(message: str, *names, **changes) -> None:
    with pytest.raises((ValueError, OSError), match=message):
        read_all(source_of(*names, **changes))


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_no_matching_file_is_refused(tmp_path):
    refused(
        r"--source .*/\*\.txt: no such file, and no file matches; expected stdlib, a file, a glob", f"{tmp_path}/*.txt"
    )
    refused("no such file", tmp_path / "gone.txt")
    refused("--source names nothing")


def test_kinds_are_not_mixed(tmp_path):
    one, two = write(tmp_path / "a.txt", b"x"), write(tmp_path / "b.jsonl", b"{}")
    refused(r"mixes text \(.*a\.txt\) and json lines \(.*b\.jsonl\); expected one kind", one, two)
    refused("stdlib cannot be combined with others", "stdlib", one)


def test_a_missing_column_is_refused_and_the_others_named(tmp_path):
    pq.write_table(pa.table({"id": [1], "body": ["x"]}), tmp_path / "x.parquet")
    refused(r"x\.parquet: no column 'text'; there are body, id\. Choose one with --text-column", tmp_path / "x.parquet")
    path = write(tmp_path / "x.jsonl", b'{"text": "a"}\n{"body": "b", "id": 1}\n')
    refused(r"x\.jsonl:2: no column 'text'; there are body, id\.", path)
    refused(r"hf:.*: no column 'text'; there are id, body", f"hf:{tmp_path / 'x.parquet'}".removesuffix("/x.parquet"))


def test_a_text_that_is_no_string_is_refused_with_its_place(tmp_path):
    refused(
        r"x\.jsonl:2: 'text' is None; expected a string", write(tmp_path / "x.jsonl", b'{"text":"a"}\n{"text":null}')
    )
    refused(r"x\.jsonl:1: list; expected an object with 'text'", write(tmp_path / "x.jsonl", b'["a"]'))
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "n.parquet")
    refused(r"n\.parquet: column 'text' holds int64; expected strings", tmp_path / "n.parquet")
    pq.write_table(pa.table({"text": ["a", "b", None]}), tmp_path / "m.parquet", row_group_size=1)
    refused(r"m\.parquet: row 2: 'text' is null", tmp_path / "m.parquet")


def test_a_broken_json_line_is_refused_with_file_and_line(tmp_path):
    lines = b"".join(b'{"text": "line %d"}\n' % i for i in range(100))
    path = write(tmp_path / "x.jsonl", lines + b'{"text": "cut\n' + lines)
    refused(
        rf"{re.escape(str(path))}:101: not valid JSON \(Invalid control character|Unterminated", path, slice_bytes=200
    )


def test_bytes_that_are_not_utf_8_are_refused_with_file_and_offset(tmp_path):
    content = "naïve\n".encode() * 50
    path = write(tmp_path / "x.txt", content + b"caf\xe9\n")
    refused(rf"{re.escape(str(path))}: byte 0xe9 at offset {len(content) + 3} is not UTF-8", path, slice_bytes=60)
    refused(rf"offset {len(content) + 3} is not UTF-8", path, write(tmp_path / "y.txt", b"ok"))
    path = write(tmp_path / "x.jsonl", b'{"text": "ok"}\n{"text": "\xff"}\n')
    refused(r"x\.jsonl: byte 0xff at offset 25 is not UTF-8", path, slice_bytes=5)


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    refused(r"x\.parquet: not a readable parquet file", write(tmp_path / "x.parquet", b"PAR1 no"))


def test_a_dataset_that_cannot_be_reached_is_named(monkeypatch):
    import huggingface_hub

    def unreachable(*_, **__):
        raise ConnectionError("Name or service not known\nand more")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unreachable)
    refused(
        r"hf:HuggingFaceFW/fineweb: cannot be reached \(ConnectionError: Name or .*known\)", "hf:HuggingFaceFW/fineweb"
    )


def test_fineweb_alone_means_its_sample(monkeypatch):
    import huggingface_hub

    class Info:
        sha = "abc"

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: Info())
    assert source_of("hf:HuggingFaceFW/fineweb").describe() == {
        "kind": "hugging face dataset",
        "dataset": "HuggingFaceFW/fineweb",
        "config": "sample-10BT",
        "split": "train",
        "revision": "abc",
        "text_column": "text",
    }
    assert source_of("hf:HuggingFaceFW/fineweb", config="CC-MAIN-2024-10").describe()["config"] == "CC-MAIN-2024-10"
    given = "hf:HuggingFaceFW/fineweb:CC-MAIN-2024-10"
    assert source_of(given).describe()["config"] == PrepareConfig(source=(given,)).name.removeprefix("fineweb-")
    assert source_of("hf:roneneldan/TinyStories", revision="def").describe()["revision"] == "def"
