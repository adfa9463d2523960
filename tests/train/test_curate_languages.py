"""Curation by language: natural text of each language stays, junk goes; FLORES-200 has the same sentences in all."""

import dataclasses
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm_jax.command_line import run
from train.__main__ import COMMANDS

pytest.importorskip("datatrove", reason="curation needs the extra curate")
pytest.importorskip("spacy", reason="curation needs the extra curate")

from datatrove.data import Document
from datatrove.utils.word_tokenizers import load_word_tokenizer

from train.prepare.curation import languages, recipe

# datatrove forks, and other tests of this process may have started JAX; the command itself has not.
pytestmark = [
    pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # datatrove's use of tldextract, spaCy's of click
]

FLORES = {  # by their names in FLORES-200, and the code that fastText's labels have
    "arb_Arab": "ar",
    "deu_Latn": "de",
    "eng_Latn": "en",
    "hin_Deva": "hi",
    "ind_Latn": "id",
    "jav_Latn": "jv",
    "jpn_Jpan": "ja",
    "khm_Khmr": "km",
    "lao_Laoo": "lo",
    "mya_Mymr": "my",
    "sun_Latn": "su",
    "tam_Taml": "ta",
    "tgl_Latn": "tl",
    "tha_Thai": "th",
    "vie_Latn": "vi",
    "zho_Hans": "zh",
    "zsm_Latn": "ms",
}
WITHOUT_BLANKS = ["jpn_Jpan", "khm_Khmr", "lao_Laoo", "mya_Mymr", "tha_Thai", "zho_Hans"]


@pytest.fixture(scope="module")
def documents(shared_data):
    """Documents of ten sentences, each on a line of its own."""

    def read(name: str) -> list[str]:
        text = "".join(
            (shared_data / f"flores200/{name}.{part}").read_text(encoding="utf8") for part in ("dev", "devtest")
        )
        lines = text.rstrip("\n").split("\n")
        return ["\n".join(lines[i : i + 10]) for i in range(0, len(lines), 10)]

    return read


def judge(name: str):
    """A function that says by which rules of a language's filters a text is removed."""
    language = languages.find(name)
    languages.check_words(language)
    filters = recipe.filters(language)[1:]  # all but the block list of addresses

    def removed_by(text: str) -> str:
        for step in filters:
            result = step.filter(Document(text=text, id="0"))  # pyright: ignore
            if result is not True:
                return result[1]
        return ""

    return removed_by


@pytest.mark.parametrize("name", FLORES)
def test_natural_text_survives_and_junk_does_not(name, documents):
    texts = documents(name)
    removed_by = judge(name)
    kept = [text for text in texts if not removed_by(text)]
    assert len(kept) >= 0.9 * len(texts)

    lines = texts[0].split("\n")
    foreign = documents("eng_Latn" if name == "tha_Thai" else "tha_Thai")[0]
    junk = {
        "repeated lines": "\n".join(lines[:2] * 20),
        "one sentence again and again": " ".join(lines[:1] * 20),
        "symbols": "★ ☆ | → ■\n" * 60,
        "one word a line": "\n".join(
            word
            for text in texts[:6]
            for word in load_word_tokenizer(languages.find(name).name).word_tokenize(text)
            if word.isalpha()
        ),
        "another language": foreign,
        "empty": "",
        "blanks": " \n\n ",
        "nothing but a space without width": "\u200b",
    }
    assert [kind for kind, text in junk.items() if not removed_by(text)] == []


@pytest.mark.parametrize("name", ["deu_Latn", "ind_Latn", "tgl_Latn", "vie_Latn"])
def test_english_is_removed_where_another_language_in_latin_letters_is_wanted(name, documents):
    removed_by = judge(name)
    reasons = [removed_by(text) for text in documents("eng_Latn")[:40]]
    assert reasons.count("gopher_enough_stop_words") >= 36


@pytest.mark.parametrize("name", FLORES)
def test_blanks_at_the_end_of_lines_change_nothing(name, documents):
    removed_by = judge(name)
    for text in documents(name)[:5]:
        stripped = "\n".join(line.rstrip() for line in text.split("\n"))
        assert removed_by(stripped) == removed_by("\n".join(f"{line} \t" for line in stripped.split("\n")))


@pytest.mark.parametrize("name", WITHOUT_BLANKS)
def test_words_are_found_without_blanks(name, documents):
    text = documents(name)[0]
    words = load_word_tokenizer(languages.find(name).name).word_tokenize(text)
    assert len(words) > 2 * len(text.split())


@pytest.mark.parametrize(("name", "code"), FLORES.items())
def test_language_goes_by_every_name(name, code):
    language = languages.find(name)
    assert languages.find(code) is language
    three = languages.find(language.name.split("_")[0])
    assert three is language
    names, scripts = languages.in_columns(language.name)
    assert {code, language.name, language.name.split("_")[0]} <= names
    assert language.name.split("_")[1] in scripts


def test_no_name_means_two_languages():
    names = [name for each in languages.languages().values() for name in (each.name, *each.names)]
    assert len(set(names)) == len(names)


def test_package_that_is_missing_is_named_with_the_cure():
    language = dataclasses.replace(languages.find("th"), packages=("no-such-segmenter",))
    with pytest.raises(
        ImportError, match=r"tha_Thai needs the word tokenizer no-such-segmenter, which is missing: uv sync .*curate"
    ):
        languages.check_words(language)


def test_thai_makes_no_folder_in_the_home(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHAINLP_READ_ONLY", raising=False)
    languages.check_words(languages.find("th"))
    assert os.environ["PYTHAINLP_READ_ONLY"] == "1"


def curate(*arguments: str) -> int:
    return run("python -m train", "", COMMANDS, ["curate", *arguments])


@pytest.fixture(scope="module")
def tokenizer(documents, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "a.txt").write_text("\n\n".join(documents("tha_Thai")[:20]), encoding="utf8")
    source = ["--source", str(folder / "a.txt"), "--out", str(folder / "data"), "--tokenizer", "train:300"]
    assert run("python -m train", "", COMMANDS, ["prepare", *source]) == 0
    return str(folder / "data")


@pytest.fixture
def thai(documents, tmp_path):
    """Eight good documents, each once more with a word changed, and two bad ones, with FineWeb-2's columns."""
    good = documents("tha_Thai")[:8]
    texts = [*good, *(text.replace("และ", "หรือ", 1) for text in good), documents("eng_Latn")[0], "สั้น"]
    columns = {"url": "https://example.org", "language": "tha", "language_script": "Thai", "language_score": 0.95}
    table = {"text": texts, **{name: [value] * len(texts) for name, value in columns.items()}}
    pq.write_table(pa.table(table), tmp_path / "thai.parquet")
    return tmp_path


def test_thai_is_judged_as_thai_and_the_report_shows_every_filter(thai, tokenizer, capsys):
    assert curate(str(thai), "--out", str(thai / "out"), "--language", "th", "--tokenizer", tokenizer) == 0
    said = capsys.readouterr().out
    assert "18 documents, 16 kept" in said
    assert "0 removed by language, by its column\n" in said
    assert "2 removed by Gopher Quality: gopher_" in said
    assert "0 removed by FineWeb Quality\n" in said
    assert "16 documents, 8 kept" in said  # by 5-grams of Thai words

    steps = json.loads((thai / ".curate-out/logs/filter/stats.json").read_text())
    dropped = {step["name"].split(":")[-1].strip(): step["stats"].get("dropped", 0) for step in steps}
    assert dropped["🥇 Gopher Quality"] == 2
    noted = json.loads((thai / ".curate-out/options.json").read_text())
    assert (noted["language"], noted["filters"], noted["language_score"]) == ("tha_Thai", "tha_Thai", "0.9")


def test_near_duplicates_are_found_by_words_of_the_language(thai):
    from train.prepare.curation.command import Options
    from train.prepare.curation.stages import stages

    options = languages.resolve(Options(source=thai, language="th", out=thai / "out"))
    step = next(stage for stage in stages(options) if stage.name == "signatures").steps[1]
    text = pq.read_table(thai / "thai.parquet")["text"][0].as_py()
    assert step.language == "tha_Thai"
    assert len(step.get_shingles(text)) > 100  # between blanks are some 40 pieces


def test_file_without_columns_is_judged_by_the_filters_asked_for(documents, tokenizer, tmp_path, capsys):
    pq.write_table(pa.table({"text": documents("tha_Thai")[:4]}), tmp_path / "bare.parquet")
    out = ["--out", str(tmp_path / "out"), "--tokenizer", tokenizer, "--no-dedup"]
    assert curate(str(tmp_path), *out, "--language", "th") == 2
    assert "no column 'language'; there are text; --language '' keeps" in capsys.readouterr().err
    assert curate(str(tmp_path), *out, "--language", "", "--filters", "th") == 0
    assert "4 documents, 4 kept" in capsys.readouterr().out


def test_every_language_by_the_filters_for_english_is_said(documents, tokenizer, tmp_path, capsys):
    pq.write_table(pa.table({"text": documents("tha_Thai")[:4]}), tmp_path / "bare.parquet")
    out = ["--out", str(tmp_path / "out"), "--tokenizer", tokenizer, "--no-dedup"]
    assert curate(str(tmp_path), *out, "--language", "") == 2
    assert "documents of every language go through the filters for English; --filters" in capsys.readouterr().out


def test_language_in_another_script_is_left_out():
    column = recipe.LanguageColumn("hin_Deva", 0.5)
    document = Document(
        text="a", id="0", metadata={"language": "hin", "language_script": "Latn", "language_score": 1.0}
    )  # pyright: ignore
    assert column.filter(document) == (False, "other_script")


@pytest.mark.parametrize("option", ["--language", "--filters"])
def test_language_without_settings_is_refused_with_the_list(option, tmp_path, capsys):
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "a.parquet")
    assert curate(str(tmp_path), option, "xx", "--out", str(tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert f"{option} xx: no filters for this language; there are arb_Arab (ar), " in error
    assert "tha_Thai (th)" in error
    assert "Name the nearest of them by --filters" in error
    assert error.count("\n") == 1


def test_language_without_settings_may_take_those_of_another(capsys):
    from train.prepare.curation.command import Options

    resolved = languages.resolve(Options(source=None, language="xx", filters="de"))  # pyright: ignore
    assert (resolved.language, resolved.filters, resolved.language_score) == ("xx", "deu_Latn", 0.821)
