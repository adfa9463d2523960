"""`python -m train fertility`: what it prints and writes, and what it says to bad input."""

import csv
import json
import re

import pytest

from llm_jax.command_line import run as front_door
from llm_jax.tokenizer import train_bpe, train_wordpiece
from train.commands import COMMANDS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    files = {
        "english.txt": "the cat\nthe dog\n",
        "thai.txt": "แมว\nหมา\n",
        "short.txt": "one\n",
        "hole.txt": "one\n\n",
        "empty.txt": "\n \n",
        "thai.words": "แมว\nหมู\n",
    }
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf8")
    (folder / "latin.txt").write_bytes("ok\ncaf\u00e9 au lait\n".encode("latin-1"))
    train_wordpiece(["the cat the dog"], 20).tokenizer().save(folder / "latin-only")
    train_bpe(["the cat the dog"], 270).save(folder / "ours")
    return folder


@pytest.fixture
def run(folder, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(folder)

    def call(*arguments, tokenizer="ours"):
        flags = ["--tokenizers", tokenizer, "--out", str(tmp_path / "out")]
        status = front_door("python -m train", "", COMMANDS, ["fertility", *arguments, *flags])
        return status, capsys.readouterr()

    return call


def test_tables_fit_80_columns_and_every_form_is_written(run, tmp_path):
    status, said = run("english.txt", "thai.txt", "--price", "2.5")
    assert status == 0
    assert max(map(len, said.out.splitlines()[:-1])) <= 80  # the last names the folder
    assert "no words of thai: Thai writes no spaces between words" in said.out
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["fertility.csv", "fertility.html", "fertility.json", "premium.png", "tokens.png"]
    record = json.loads((tmp_path / "out/fertility.json").read_text(encoding="utf8"))
    with (tmp_path / "out/fertility.csv").open(encoding="utf8") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == ["english", "thai"]
    assert [int(row["tokens"]) for row in rows] == [row["tokens"] for row in record["rows"]]
    assert rows[1]["per_word"] == ""
    thai = next(line for line in said.out.splitlines() if line.startswith("thai"))
    assert thai.split()[-3:] == ["–", "–", "–"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.txt"], r"none\.txt: no such file"),
        (["."], r"\. is a folder: name its files"),
        (["empty.txt"], r"empty\.txt holds no text: give a file of sentences"),
        (["latin.txt"], r"latin\.txt, line 2: .*0xe9.* not UTF-8: convert it with iconv"),
        (["english.txt", "short.txt"], r"english has 2 lines and short 1: .*--reference none"),
        (["english.txt", "hole.txt"], r"line 2 of hole is empty and that of english is not"),
        (["english.txt", "--reference", "klingon"], r"--reference klingon: .* there are english, or none"),
        (["english.txt", "english.txt"], r"english\.txt is there twice"),
        (["english.txt", "--words", "nonsense"], r"--words nonsense: expected spaces, segmenter, or a file"),
        (["english.txt", "thai.txt", "--words", "latin.txt"], r"no text is named 'latin'; give NAME="),
        (["thai.txt", "--words", "short.txt"], r"short\.txt has 1 lines and thai 2"),
        (["thai.txt", "--words", "thai.words"], r"thai\.words, line 2 is not the text of thai"),
        (["english.txt", "--price", "cheap"], r"--price cheap: expected dollars"),
        (["english.txt", "--price", "nan"], r"--price nan: expected dollars"),
        (["english.txt", "--price", "gpt9=1"], r"no tokenizer is named 'gpt9'; there are ours"),
        (["english.txt", "--context", "0"], r"--context must be at least 1"),
        (["english.txt", "--sentences", "0"], r"--sentences must be at least 1"),
    ],
)
def test_bad_input_gets_one_line_with_the_cure_and_leaves_nothing(run, tmp_path, arguments, message):
    status, said = run(*arguments)
    assert status == 2
    assert re.search(message, said.err), said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_unknown_tokenizer_is_named_with_those_that_are_known(run):
    status, said = run("english.txt", tokenizer="gpt3")
    assert status == 2
    assert "no tokenizer 'gpt3'" in said.err
    assert "cl100k_base" in said.err


def test_without_a_reference_texts_need_not_be_translations(run):
    status, said = run("english.txt", "short.txt", "--reference", "none")
    assert status == 0
    assert "premium over" not in said.out


def test_a_low_premium_by_lost_text_is_called_so(run):
    status, said = run("english.txt", "thai.txt", tokenizer="latin-only")
    assert status == 0
    assert "thai under latin-only: 100% of its tokens are unknown; text is lost" in said.out
    assert "english under" not in said.out
