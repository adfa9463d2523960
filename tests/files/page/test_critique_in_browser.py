"""The page of a critique in a real browser: keyboard alone, two widths, dark and light, no request, accessible."""

import json

import pytest
import small_models
from fineweb import nearly, prose

pytest.importorskip("datatrove", reason="a critique needs the extra curate")
pytest.importorskip("spacy", reason="a critique needs the extra curate")

from llm_jax.scoring.choices import ours
from train.critique import analysis, page
from train.critique.config import CritiqueConfig

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("default")]

HOSTILE = '<img src="http://example.invalid/x" onerror="document.title=1">'
TRAINING = {
    "filter": HOSTILE,
    "tokens": 1000,
    "parameters": 1000,
    "sides": [{"side": side, "epochs": 1.5} for side in ("all documents", HOSTILE)],
    "runs": [
        {"trained_on": side, "seed": seed, "bits_per_byte": {"all documents": 2.0 + seed / 10, HOSTILE: 1.9}}
        for seed in (0, 1)
        for side in ("all documents", HOSTILE)
    ],
    "differences": [{"held_out": one, "difference": -0.1, "stderr": 0.02} for one in ("all documents", HOSTILE)],
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A small corpus with every section, and markup anywhere."""
    folder = tmp_path_factory.mktemp("pages")
    texts = [*map(prose, range(12)), nearly(prose(0)), f"{HOSTILE} " * 3, "short", "too short, too", "and so on … " * 9]
    labels = [HOSTILE if len(text) < 300 else "en" for text in texts]
    rows = [{"text": text, "language": labels[i], "int_score": i % 5} for i, text in enumerate(texts)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    items = [{"ctx": prose(i)[:200], "endings": ["a", HOSTILE], "label": "1"} for i in (1, 2, 50, 51)]
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    sums = [{"item": str(i), "gold": 1, "sum": [-1.0 - i % 2, -1.5]} for i in range(4)]
    ours.write(folder / "choices.jsonl", {"model": HOSTILE, "task": "hellaswag"}, sums)
    small_models.bytes_tokenizer().save(folder / "tokenizer")
    record = analysis.analyse(
        CritiqueConfig(
            (str(folder / "rows.jsonl"),),
            words="spaces",
            tokenizer=str(folder / "tokenizer"),
            benchmark=(folder / "items.jsonl",),
            choices=(str(folder / "choices.jsonl"),),
        )
    )
    page.write(folder / "critique.html", {**record, "training": TRAINING})
    page.write(folder / "bare.html", {**record, "label": "", "duplicates": None, "contamination": []})
    return folder


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [380, 1280])
@pytest.mark.parametrize("name", ["critique.html", "bare.html"])
def test_the_page_fits_its_width_and_its_text_can_be_read(check_looks, name, width, scheme):
    check_looks(name, width, scheme)


def test_a_threshold_moves_by_keyboard_and_the_counts_with_it(opened, to):
    tab = opened("critique.html")
    to(tab, "rule")
    tab.keyboard.type("Gopher quality: too few")
    assert tab.evaluate("document.activeElement.id") == "rule"
    said = tab.inner_text("#said")
    assert said.startswith("words, removed below 50: 23.5 % of the documents")  # 4 of 17
    to(tab, "threshold")
    tab.keyboard.press("End")
    assert "100.0 % of the documents" in tab.inner_text("#said")
    assert tab.evaluate("document.activeElement.id") == "threshold"
    assert tab.locator("rect.kept").count() == 0
    tab.keyboard.press("Home")
    assert " 0.0 % of the documents" in tab.inner_text("#said")
    assert tab.locator("rect.gone").count() == 0
    assert tab.locator("table.labels tbody tr").count() == 2


def test_examples_follow_the_rule(opened, to):
    tab = opened("critique.html")
    to(tab, "rule")
    tab.keyboard.type("Gopher quality: ellipses")
    assert "and so on …" in tab.locator(".sample").first.inner_text()


def test_one_label_is_looked_at_by_keyboard(opened, to):
    tab = opened("critique.html")
    row = tab.locator("table.board").first.locator("tr", has_text="too few words")
    before = row.inner_text()
    to(tab, "label")
    tab.keyboard.press("ArrowDown")
    assert "0.0 %" in row.inner_text()
    assert row.inner_text() != before


def test_markup_in_texts_labels_and_names_is_shown_as_text(opened):
    tab = opened("critique.html")
    assert tab.locator("img").count() == 0
    assert tab.title() == "What curation removes"
    assert tab.get_by_text(HOSTILE).count() >= 3
