"""The page of `train fertility` in a real browser: no glyph torn apart, keyboard, search, two widths, both themes."""

import pytest

from llm_jax.tokenizer import load
from train.fertility import analysis, page
from train.fertility.config import Settings
from train.fertility.texts import Text, read_all

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("default")]

HOSTILE = '<img src="http://example.invalid/x" onerror="document.title=1">'
LANGUAGES = ("eng_Latn", "arb_Arab", "hin_Deva", "khm_Khmr", "mya_Mymr", "tha_Thai", "tam_Taml", "lao_Laoo")


@pytest.fixture(scope="module")
def pages(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    tokenizers = {name: load(name) for name in ("gpt2", "o200k_base")}
    texts = [
        Text(one.name, one.files, (one.lines[:12],))
        for one in read_all([str(shared_data / f"flores200/{name}.dev") for name in LANGUAGES])
    ]
    record = analysis.analyse(texts, tokenizers, Settings(price=("2.5",)))
    page.write(folder / "fertility.html", record, texts, tokenizers, 12)
    hostile = [Text(HOSTILE, (), ((HOSTILE,),))]
    page.write(folder / "hostile.html", analysis.analyse(hostile, tokenizers, Settings()), hostile, tokenizers, 1)
    return folder


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [380, 1280])
def test_the_page_fits_its_width_and_its_text_can_be_read(check_looks, width, scheme):
    check_looks("fertility.html", width, scheme)


@pytest.mark.parametrize("tokenizer", ["gpt2", "o200k_base"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_coloured_tokens_take_the_place_of_the_plain_line(opened, language, tokenizer):
    """A cluster or a joined letter that is torn apart has other glyphs, so another width."""
    tab = opened("fertility.html")
    tab.select_option("#text-right", language)
    tab.select_option("#tokenizer-right", tokenizer)
    widths = tab.evaluate("""() => [...document.querySelectorAll(".pair > div:last-child .strip")].map((strip) => {
        const plain = strip.cloneNode();
        plain.textContent = strip.textContent;
        strip.after(plain);
        for (const one of [strip, plain]) Object.assign(one.style, { whiteSpace: "pre", width: "max-content" });
        const found = [strip, plain].map((one) => one.getBoundingClientRect().width);
        plain.remove();
        return [...found, strip.children.length];
    })""")
    assert len(widths) == 12
    for coloured, plain, units in widths:
        assert abs(coloured - plain) <= 0.5 + units / 64  # each unit's width is rounded to 1/64 of a pixel


def test_a_split_character_is_tied_and_says_its_tokens(opened, to):
    tab = opened("fertility.html")
    tab.select_option("#text-right", "khm_Khmr")
    strip = tab.locator(".pair > div:last-child .strip").first
    tied = strip.locator(".tied").first
    assert tied.evaluate("one => one.ids.length") > 1
    assert tied.evaluate("one => getComputedStyle(one).backgroundImage").startswith("linear-gradient")
    strip.focus()
    tab.keyboard.press("ArrowRight")
    said = tab.inner_text("#unit")
    assert "tokens, ids " in said
    tab.keyboard.press("End")
    assert tab.inner_text("#unit") != said
    assert tab.locator(".here").count() == 1
    shown = "one => [getComputedStyle(one).backgroundImage, getComputedStyle(one).backgroundColor]"
    assert tab.locator(".here").evaluate(shown) == ["none", "rgb(28, 36, 48)"]


def test_a_line_from_right_to_left_is_walked_from_its_beginning_on_the_right(opened):
    tab = opened("fertility.html")
    tab.select_option("#text-right", "arb_Arab")
    strip = tab.locator(".pair > div:last-child .strip").first
    assert strip.evaluate("one => getComputedStyle(one).direction") == "rtl"
    strip.focus()
    tab.keyboard.press("ArrowLeft")
    assert strip.evaluate("one => one.here") == 0


def test_search_keeps_the_lines_that_hold_the_words(opened, to):
    tab = opened("fertility.html")
    assert tab.locator(".pair").count() == 12
    to(tab, "search")
    tab.keyboard.type("stanford")
    assert tab.locator(".pair").count() == 1
    assert tab.inner_text("#status").startswith("1 line: ")
    tab.keyboard.type("qqq")
    assert tab.inner_text("#status") == "No line holds this."


def test_the_figure_and_the_texts_change_by_keyboard(opened, to):
    tab = opened("fertility.html")
    before = tab.locator("tbody tr").all_inner_texts()
    assert before[-1].split() == ["eng_Latn", "1.00", "1.00"]
    to(tab, "figure")
    tab.keyboard.type("dollars for")
    assert tab.locator("tbody tr").all_inner_texts()[-1].split() == ["eng_Latn", "2.50", "2.50"]
    to(tab, "text-left")
    tab.keyboard.type("tha")
    assert "tha_Thai" in tab.locator(".count").first.inner_text()
    assert tab.evaluate("document.activeElement.id") == "text-left"


def test_a_text_of_markup_is_shown_as_text(opened):
    tab = opened("hostile.html")
    assert tab.locator(".strip").first.inner_text() == HOSTILE
    assert tab.locator("img").count() == 0
