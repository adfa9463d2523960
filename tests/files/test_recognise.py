"""A file is known by its first bytes, and its text is the same whatever it is packed in."""

import bz2
import gzip
import io
import lzma
import pickle
import re
import sqlite3
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from llm_jax.files.content import formats, open_utf8, read_text, recognise

TEXT = "Naïve river, 河 and 17 stones.\nДве строки 🌊\n" * 40


def zstandard(raw: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as file:
        file.write(raw)
    return sink.getvalue().to_pybytes()


PACKINGS = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda raw: lzma.compress(raw, lzma.FORMAT_ALONE),
    "zstandard": zstandard,
    "two members": lambda raw: gzip.compress(raw[:99], mtime=0) + gzip.compress(raw[99:], mtime=0),
    "two frames": lambda raw: zstandard(raw[:99]) + zstandard(raw[99:]),
    "utf-8-sig": lambda raw: b"\xef\xbb\xbf" + raw,
    **{
        name: (lambda raw, name=name: raw.decode().encode(name))
        for name in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")
    },
    "utf-16-be with its mark": lambda raw: b"\xfe\xff" + raw.decode().encode("utf-16-be"),
    "utf-16 in gzip": lambda raw: gzip.compress(raw.decode().encode("utf-16")),
    "marked in zstandard": lambda raw: zstandard(b"\xef\xbb\xbf" + raw),
}


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_text_is_the_same_in_every_packing_and_without_its_mark(tmp_path, packing):
    path = tmp_path / "misnamed.jpg"
    path.write_bytes(PACKINGS[packing](TEXT.encode()))
    assert read_text(path) == TEXT


@pytest.mark.parametrize("packing", PACKINGS)
def test_any_range_of_bytes_is_read_in_any_order(tmp_path, packing):
    path, whole = tmp_path / "x", TEXT.encode()
    path.write_bytes(PACKINGS[packing](whole))
    form = recognise(path).form
    for start, size in [(0, 10), (500, 700), (700, 5), (3, 4), (len(whole) - 2, 9), (0, len(whole)), (10**9, 3)]:
        with open_utf8(path, form) as file:
            file.seek(start)
            assert file.read(size) == whole[start : start + size]


@pytest.mark.parametrize(
    "text", ["hi", "one two", "中文的一行。\n又一行。\n" * 9, "Здесь был текст\n", "ab\0cde" + "x" * 500]
)
def test_short_texts_and_other_scripts_are_recognised(tmp_path, text):
    for encoding in ("utf-8", "utf-16") + (("utf-16-le", "utf-16-be") if "\0" not in text else ()):
        path = tmp_path / encoding
        path.write_bytes(text.encode(encoding))
        assert read_text(path) == text


def _zip(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"x" * 30)
    return file.getvalue()


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"), io.BytesIO())
    return file.getvalue()


def _npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, tokens=np.arange(9))
    return file.getvalue()


def _sqlite(tmp_path: Path) -> bytes:
    path = tmp_path / "made.db"
    connection = sqlite3.connect(path)
    connection.execute("create table t (a text)")
    connection.commit()
    connection.close()
    return path.read_bytes()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (_zip("a.txt"), "a zip archive; unpack it"),
        (_zip("[Content_Types].xml", "word/document.xml"), "docx"),
        (_zip("[Content_Types].xml", "xl/workbook.xml"), "xlsx"),
        (_npz(), "npz"),
        (_tar(), "a tar archive; unpack it"),
        (gzip.compress(_tar(), mtime=0), "a tar archive inside gzip"),
        (zstandard(_tar()), "a tar archive inside zstandard"),
        (gzip.compress(gzip.compress(b"x", mtime=0), mtime=0), "compressed twice"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a PNG image"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG"),
        (_sqlite, "an SQLite database"),
        (b"\x7fELF\x02\x01\x01" + bytes(20), "an ELF program"),
        (pickle.dumps({"itos": {1: "a"}}), "a pickle; reading one may run any code"),
        (pickle.dumps(["a"], 0), "a pickle"),
        (b"PAR1\x15\x04" + b"x" * 50, "table \\(parquet\\)"),
        (b"GGUF\x03\0\0\0" + bytes(20), "a GGUF model"),
        (b"{\\rtf1\\ansi hello}", "rich text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "Git LFS.*git lfs pull"),
        (np.random.default_rng(0).bytes(5000), "binary data"),
        (np.random.default_rng(0).integers(0, 50257, 5000).astype("uint16").tobytes(), "binary data"),
        (np.arange(5000, dtype="int32").tobytes(), "binary data"),
        (np.zeros(100).tobytes(), "binary data"),
    ],
)
def test_what_is_no_text_is_refused_by_name(tmp_path, content, what):
    path = tmp_path / "story.txt"
    path.write_bytes(content(tmp_path) if callable(content) else content)
    with pytest.raises(ValueError, match=rf"story\.txt: .*{what}"):
        read_text(path)


def test_no_cure_says_again_what_the_file_is():
    for what, cure, _ in formats.FORMATS:
        noun = re.sub(r" \(.*\)", "", what).split()[-1].removesuffix("s")
        assert noun in ("file", "text") or not re.search(rf"\b{noun}s?\b", cure, re.IGNORECASE), (what, cure)
        assert not re.search(r"\bit is an? ", cure), (what, cure)


@pytest.mark.parametrize("packing", ["gzip", "bzip2", "xz", "zstandard", "utf-16 in gzip"])
def test_a_packed_file_cut_short_is_refused_by_name_every_time(tmp_path, packing):
    path = tmp_path / "x.txt"
    path.write_bytes(PACKINGS[packing](np.random.default_rng(0).bytes(90_000).hex().encode())[:-30])
    for _ in range(2):
        with pytest.raises(ValueError, match=r"x\.txt: .*damaged or cut short .*copy it again"):
            read_text(path)


def test_utf_16_with_half_a_character_is_refused_by_name(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes("text\n".encode("utf-16") * 1 + b"\x00\xd8\x41\x00")
    with pytest.raises(ValueError, match=r"x\.txt: begins as UTF-16, but is damaged"):
        read_text(path)
