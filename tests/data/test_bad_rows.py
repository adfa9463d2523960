"""One bad row costs one file's work at most, and may be skipped, counted and listed."""

import json
from pathlib import Path

import pytest

from train.data.integrity import NOTES
from train.prepare import tokenise
from train.prepare.config import PrepareConfig
from train.prepare.preparation import prepare

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
