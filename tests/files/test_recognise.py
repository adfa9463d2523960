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
from hypothesis import given, settings
from hypothesis import strategies as st

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


SCRIPTS = {  # sentences of the Universal Declaration of Human Rights, or of its words
    "English": "All human beings are born free and equal in dignity and rights.",
    "French": "Tous les êtres humains naissent libres et égaux en dignité — et en droits.",
    "Vietnamese": "Tất cả mọi người sinh ra đều được tự do và bình đẳng.",
    "Russian": "Все люди рождаются свободными и равными в своём достоинстве.",
    "Greek": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι.",
    "Hebrew": "כל בני האדם נולדו בני חורין ושווים בערכם.",
    "Arabic": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق.",
    "Hindi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता है।",
    "Punjabi": "ਸਾਰਾ ਮਨੁੱਖੀ ਪਰਿਵਾਰ ਆਪਣੀ ਮਹਿਮਾ ਵਿਚ ਜਨਮ ਤੋਂ ਆਜ਼ਾਦ ਹੈ।",
    "Tamil": "மனிதப் பிறவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்.",
    "Thai": "มนุษย์ทั้งหลายเกิดมา มีอิสระและเสมอภาคกัน",
    "Georgian": "ყველა ადამიანი იბადება თავისუფალი და თანასწორი.",
    "Chinese": "人人生而自由，在尊严和权利上一律平等。",
    "Japanese": "すべての人間は、生まれながらにして自由であり、かつ　平等である。",
    "Korean": "모든 인간은 태어날 때부터 자유로우며 평등하다.",
}


@settings(max_examples=150, deadline=None)
@given(
    lines=st.lists(st.sampled_from(sorted(SCRIPTS)), min_size=1, max_size=6),
    encoding=st.sampled_from(["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-8"]),
)
def test_text_of_any_scripts_is_read_without_its_mark(tmp_path_factory, lines, encoding):
    text = "".join(f"{SCRIPTS[name]}\n" for name in lines)
    path = tmp_path_factory.mktemp("scripts") / "x.txt"
    path.write_bytes(text.encode(encoding))
    assert read_text(path) == text


@settings(max_examples=300, deadline=None)
@given(
    lines=st.lists(st.sampled_from(sorted(SCRIPTS)), min_size=1, max_size=6),
    places=st.one_of(
        st.integers(2, 60).map(lambda step: slice(step - 1, None, step)),
        st.sets(st.integers(0, 200), min_size=1, max_size=60),
    ),
    is_aligned=st.booleans(),
)
def test_utf_8_with_zero_bytes_is_never_another_text(tmp_path_factory, lines, places, is_aligned):
    characters = list("".join(f"{SCRIPTS[name]}\n" for name in lines))
    found = range(len(characters))[places] if isinstance(places, slice) else [p for p in places if p < len(characters)]
    for place in sorted(found, reverse=True):
        characters.insert(place, "\0")
    text = "".join(characters)
    text += " " * (-len(text.encode()) % 4) * is_aligned
    path = tmp_path_factory.mktemp("zeros") / "x.txt"
    path.write_bytes(text.encode())
    if refusal := recognise(path).refusal:
        assert refusal.startswith(("text with zero bytes; replace them", "binary data"))
    else:
        assert read_text(path) == text


@pytest.mark.parametrize(
    "content",
    [
        b"abc\0def\n" * 300,
        b"./a/file.py\0./b/other.py\0" * 40,
        b"id,text\n1,a\0\n22,bcd\0\n" * 40,
    ],
)
def test_zero_bytes_are_named_with_the_cure(tmp_path, content):
    (tmp_path / "x.txt").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.txt: text with zero bytes; replace them first, .* tr '\\0' '\\n'"):
        read_text(tmp_path / "x.txt")


@pytest.mark.parametrize("content", [b"caf\xe9 ol\xe9\0" * 100, b"\xe9t\xe9\0ab\n" * 100, b"no\xebl\0\0" * 90])
def test_latin_1_with_zero_bytes_is_refused(tmp_path, content):
    (tmp_path / "x.txt").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.txt: .*binary data"):
        read_text(tmp_path / "x.txt")


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
