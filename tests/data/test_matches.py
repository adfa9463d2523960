"""Folders and globs with links: each file is read and each folder entered once, in the order of `glob`."""

import glob
import os
import random
from pathlib import Path

import pytest

from train.finetune.data.reading.tables import Tables
from train.prepare.command import main
from train.prepare.config import PrepareConfig
from train.prepare.sources.matches import matches

NAMES = ["b.txt", "a.txt", "a/c.txt", "a/d/e.txt", "a.b/f.txt", "[w]/g.txt", "z/h.md", ".hidden/i.txt"]
VISIBLE = [name for name in sorted(NAMES) if not name.startswith(".")]


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "texts"
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"Text of {name}.")
    return folder


def found(folder: Path, *patterns) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in matches([str(pattern) for pattern in patterns])[0]]


@pytest.mark.parametrize(
    "pattern",
    [
        "**/*.txt",
        "**",
        "*/**/*.txt",
        "a/**",
        "**/d/**/*.txt",
        "[[]w]/**/*",
        "**/**/*.txt",
        "./**/*.txt",
        "a//**",
        "*.txt",
    ],
)
def test_without_links_a_pattern_matches_as_glob_does(folder, monkeypatch, pattern):
    monkeypatch.chdir(folder)
    for wanted in (pattern, f"{folder}/{pattern}"):
        expected = [Path(name) for name in sorted(set(glob.glob(wanted, recursive=True))) if Path(name).is_file()]
        assert expected
        assert matches([wanted])[0] == expected


@pytest.mark.parametrize("pattern", ["", "**/*", "**"])
@pytest.mark.parametrize("links", [{"loop": "."}, {"a/up": ".."}, {"a/d/1": "..", "a/d/2": "../..", "z/3": "../a"}])
def test_a_circle_of_links_adds_nothing(folder, caplog, pattern, links):
    for name, target in links.items():
        (folder / name).symlink_to(target)
    assert found(folder, folder / pattern) == VISIBLE
    assert f"left out, {len(links)} further name(s) of what is read already: " in caplog.text


def test_a_link_to_the_folder_around_enters_it_once(folder):
    (folder / "up").symlink_to("..")
    (folder.parent / "beside.txt").write_text("x")
    assert found(folder, folder) == [*VISIBLE[:-1], "up/beside.txt", VISIBLE[-1]]


def test_of_two_names_of_a_file_the_one_without_a_link_is_read(folder, caplog):
    (folder / "0.txt").symlink_to("b.txt")
    (folder / "a" / "0.txt").symlink_to(folder / "b.txt")
    (folder / "0").symlink_to("a/d")
    assert found(folder, folder) == VISIBLE
    assert "left out, 3 further name(s) of what is read already: " in caplog.text
    assert all(str(folder / name) in caplog.text for name in ("0.txt", "a/0.txt", "0"))


def test_files_and_folders_behind_links_are_read(folder, tmp_path):
    links = tmp_path / "links"
    links.mkdir()
    (links / "x.txt").symlink_to(folder / "b.txt")
    (links / "y").symlink_to(folder / "a")
    (tmp_path / "itself").symlink_to(links)
    assert found(links, links) == ["x.txt", "y/c.txt", "y/d/e.txt"]
    assert found(tmp_path / "itself", tmp_path / "itself") == ["x.txt", "y/c.txt", "y/d/e.txt"]


def test_equal_files_and_hard_links_are_files_of_their_own(folder):
    os.link(folder / "b.txt", folder / "c.txt")
    (folder / "d.txt").write_bytes((folder / "b.txt").read_bytes())
    assert set(found(folder, folder)) == {*VISIBLE, "c.txt", "d.txt"}


def test_the_first_of_several_given_names_is_kept(folder, monkeypatch, caplog):
    (folder / "0.txt").symlink_to("b.txt")
    monkeypatch.chdir(folder)
    paths, named = matches(["0.txt", "b.txt", str(folder)])
    assert [str(path) for path in paths[:2]] == ["0.txt", str(folder / "[w]/g.txt")]
    assert len(paths) == len(VISIBLE)
    assert named == {Path("0.txt")}
    assert "further name(s)" in caplog.text


def test_the_order_does_not_depend_on_that_of_the_disk(folder, monkeypatch):
    for name in ("0", "1", "2"):
        (folder / name).symlink_to("a")
        (folder / "z" / name).symlink_to("../a.b")
    expected, scandir = found(folder, folder), os.scandir

    class Shuffled:
        def __init__(self, path):
            self.entries = [*scandir(path)]
            rng.shuffle(self.entries)

        def __enter__(self):
            return iter(self.entries)

        __iter__, __exit__ = __enter__, lambda *_: None

        def __next__(self):
            if not self.entries:
                raise StopIteration
            return self.entries.pop()

        def close(self):
            pass

    monkeypatch.setattr(os, "scandir", Shuffled)
    for seed in range(5):
        rng = random.Random(seed)
        assert found(folder, folder) == expected


def test_a_circle_changes_neither_shards_nor_recipe(folder, tmp_path, small_tokenizer, monkeypatch):
    def prepared(out: str) -> dict[str, bytes]:
        source = (str(folder),)
        main(PrepareConfig(source=source, out=tmp_path / out, tokenizer=str(small_tokenizer), processes=1))
        names = ("manifest.json", "val_000000.bin", "train_000001.bin")
        return {name: (tmp_path / out / name).read_bytes() for name in names}

    plain = prepared("plain")
    (folder / "loop").symlink_to(".")
    (folder / "copy.txt").symlink_to("b.txt")
    assert prepared("looped") == plain


def test_finetuning_reads_each_file_once(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n')
    (tmp_path / "b.jsonl").symlink_to("a.jsonl")
    (tmp_path / "loop").symlink_to(".")
    for given in ([tmp_path], [tmp_path / "a.jsonl", tmp_path / "b.jsonl"], [tmp_path / "b.jsonl", tmp_path]):
        assert len(list(Tables(tuple(map(str, given))).rows())) == 1
