"""Curation through datatrove: FineWeb's filters, MinHash, and shards that are those of `train prepare`."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fineweb import nearly, prose, write_parquet

from llm_jax.command_line import run
from train.__main__ import COMMANDS
from train.data import manifest as manifests

pytest.importorskip("datatrove", reason="curation needs the extra curate")
pytest.importorskip("spacy", reason="curation needs the extra curate")

# datatrove forks, and other tests of this process may have started JAX; the command itself has not.
pytestmark = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")


def curate(*arguments: str) -> int:
    return run("python -m train", "", COMMANDS, ["curate", *arguments])


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    """Twelve good documents, each of these once more with a word changed, and one bad document of every kind."""
    good = [prose(seed) for seed in range(12)]
    bad = ["too short", "lorem ipsum dolor. " * 40, "{ code } " * 100]
    texts = [*good, *map(nearly, good), *bad, prose(98), prose(99)]
    sure = len(texts) - 2
    folder = tmp_path_factory.mktemp("parquet")
    write_parquet(folder / "part.parquet", texts, ["en"] * sure + ["fr", "en"], [0.9] * (sure + 1) + [0.3])
    return folder


@pytest.fixture(scope="module")
def tokenizer(parquet, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    source = ["--source", str(parquet / "part.parquet"), "--out", str(folder / "data"), "--tokenizer", "train:300"]
    assert run("python -m train", "", COMMANDS, ["prepare", *source]) == 0
    return str(folder / "data")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # datatrove's use of tldextract, spaCy's of click
def test_near_duplicates_bad_and_foreign_documents_are_left_out(parquet, tokenizer, tmp_path, capsys):
    out = tmp_path / "curated"
    assert curate(str(parquet), "--out", str(out), "--tokenizer", tokenizer) == 0
    said = capsys.readouterr().out
    assert "29 documents, 24 kept" in said
    assert "2 removed by language, by its column: other_language 1, unsure_language 1" in said
    assert "3 removed by Gopher Repetition: " in said
    assert "0 removed by Gopher Quality\n" in said
    assert "24 documents, 12 kept" in said
    manifest = manifests.read(out)
    assert sum(split.documents or 0 for split in manifest.splits.values()) == 12
    assert not (out / ".prepare").exists()
    lines = (tmp_path / ".curate-curated/kept/00000.jsonl").read_text().splitlines()
    kept = [json.loads(line)["text"] for line in lines]
    assert len({text.replace(" a ", " the ") for text in kept}) == 12

    # The same command again does nothing, another one is refused, and the cure is the folder of the work.
    assert curate(str(parquet), "--out", str(out), "--tokenizer", tokenizer) == 0
    assert curate(str(parquet), "--out", str(out), "--tokenizer", tokenizer, "--no-dedup") == 2
    error = capsys.readouterr().err
    assert "dedup: 'True' there, 'False' now" in error
    assert f"{tmp_path / '.curate-curated'}: was begun" in error

    # A result that is gone is made again, from what was kept.
    shutil.rmtree(out)
    assert curate(str(parquet), "--out", str(out), "--tokenizer", tokenizer) == 0
    assert manifests.read(out) == manifest

    # A finished folder whose work is gone may be of anything.
    shutil.rmtree(tmp_path / ".curate-curated")
    assert curate(str(parquet), "--out", str(out), "--tokenizer", tokenizer) == 2
    assert "curated is finished, but" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_changed_input_is_refused_and_a_filter_that_keeps_nothing_says_so(tokenizer, tmp_path, capsys):
    write_parquet(tmp_path / "a.parquet", [prose(seed) for seed in range(3)])
    arguments = [str(tmp_path / "a.parquet"), "--out", str(tmp_path / "out"), "--tokenizer", tokenizer]
    assert curate(*arguments, "--language", "de") == 2
    printed = capsys.readouterr()
    assert "3 removed by language, by its column: other_language 3" in printed.out
    assert "no document of 3 was kept; see --language 'deu_Latn', --language-score 0.821" in printed.err
    assert not (tmp_path / "out").exists()
    write_parquet(tmp_path / "a.parquet", [prose(seed) for seed in range(4)])
    assert curate(*arguments, "--language", "de") == 2
    assert "input.names_and_sizes:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        ([".", "--tokenizer", "train:300"], "curation needs one that exists"),
        ([".", "--tasks", "0"], "--tasks must be at least 1"),
        ([".", "--shard-tokens", "3000000000"], "--shard-tokens must be at least 1 and at most 2147483647"),
    ],
)
def test_mistake_is_one_line(arguments, message, tokenizer, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert curate(*arguments, *([] if "--tokenizer" in arguments else ["--tokenizer", tokenizer])) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_file_without_the_columns_is_named(tokenizer, tmp_path, capsys):
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "bare.parquet")
    assert curate(str(tmp_path), "--tokenizer", tokenizer) == 2
    assert "bare.parquet: no column 'language'; there are text; --language '' keeps" in capsys.readouterr().err
