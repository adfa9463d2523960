"""Totals over FLORES-200 equal the published ones (tokenization_lengths.csv of Petrov et al. 2023, references)."""

import csv

import pytest

from llm_jax.tokenizer import load
from train.fertility import analysis, texts
from train.fertility.config import Settings

LANGUAGES = {
    "arb_Arab": "Standard Arabic",
    "deu_Latn": "German",
    "eng_Latn": "English",
    "hin_Deva": "Hindi",
    "ind_Latn": "Indonesian",
    "jav_Latn": "Javanese",
    "jpn_Jpan": "Japanese",
    "khm_Khmr": "Khmer",
    "lao_Laoo": "Lao",
    "mya_Mymr": "Burmese",
    "sun_Latn": "Sundanese",
    "tam_Taml": "Tamil",
    "tgl_Latn": "Tagalog",
    "tha_Thai": "Thai",
    "vie_Latn": "Vietnamese",
    "zho_Hans": "Chinese (Simplified)",
    "zsm_Latn": "Standard Malay",
}
O200K = {"eng_Latn": 52_279, "ind_Latn": 64_852, "tam_Taml": 102_458, "khm_Khmr": 175_665}
PREMIUMS = {  # GPT-2, cl100k
    "ind_Latn": (1.98, 1.55),
    "vie_Latn": (4.54, 2.45),
    "tha_Thai": (9.05, 4.39),
    "lao_Laoo": (13.19, 9.62),
    "khm_Khmr": (15.33, 8.88),
    "mya_Mymr": (16.89, 11.70),
    "zho_Hans": (3.21, 1.91),
}


@pytest.fixture(scope="module")
def flores(shared_data):
    folder = shared_data / "flores200"
    return texts.read_all([str(folder / f"{name}.{part}") for name in LANGUAGES for part in ("dev", "devtest")])


@pytest.fixture(scope="module")
def published(shared_data):
    with (shared_data / "flores200/tokenization_lengths.csv").open(encoding="utf8") as file:
        return {row["Language"]: row for row in csv.DictReader(file)}


def test_dev_and_devtest_are_one_text_of_2009_sentences(flores):
    assert [text.name for text in flores] == list(LANGUAGES)
    assert {text.sentences for text in flores} == {2009}


@pytest.mark.parametrize(("name", "column"), [("gpt2", "GPT-2"), ("cl100k_base", "cl100k_base")])
def test_totals_of_all_seventeen_languages_are_the_published_ones(flores, published, name, column):
    tokenizer = load(name)
    found = {text.name: len(tokenizer.encode_array(text.whole)) for text in flores}
    assert found == {code: int(published[language][column]) for code, language in LANGUAGES.items()}


@pytest.mark.long
def test_the_record_has_the_published_totals_and_premiums(flores, published):
    names = ("gpt2", "cl100k_base", "o200k_base")
    record = analysis.analyse(flores, {name: load(name) for name in names}, Settings(reference="eng_Latn"))
    rows = {(row["text"], row["tokenizer"]): row for row in record["rows"]}
    for code, language in LANGUAGES.items():
        for name, column in (("gpt2", "GPT-2"), ("cl100k_base", "cl100k_base")):
            assert rows[code, name]["tokens"] == int(published[language][column])
    assert {code: rows[code, "o200k_base"]["tokens"] for code in O200K} == O200K
    for code, premiums in PREMIUMS.items():
        assert tuple(round(rows[code, name]["premium"], 2) for name in names[:2]) == premiums
        assert rows[code, "o200k_base"]["premium"] == pytest.approx(rows[code, "o200k_base"]["tokens"] / 52_279)
    assert all(row["changed_lines"] == row["unknown"] == 0 for row in record["rows"])
    words = {text["name"]: text["words"] for text in record["texts"]}
    assert (words["eng_Latn"], words["ind_Latn"]) == (42_855, 38_880)
    assert {name for name, n in words.items() if n is None} == {
        *("tha_Thai", "lao_Laoo", "khm_Khmr", "mya_Mymr", "zho_Hans", "jpn_Jpan")
    }
