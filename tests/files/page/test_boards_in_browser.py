"""Leaderboards and arenas in a real browser: keyboard, two widths, dark and light, no request, no error, accessible."""

import numpy as np
import pytest

from llm_jax.scoring.choices import reading
from llm_jax.scoring.choices.values import Choices
from serve.arena import analysis as arena_analysis
from serve.arena import page as arena_page
from serve.arena import votes
from serve.arena.config import Settings as ArenaSettings
from serve.leaderboard import analysis, page
from serve.leaderboard.config import Settings

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("default")]

HOSTILE = '<img src="http://example.invalid/x" onerror="document.title=1">'


@pytest.fixture(scope="module")
def pages(shared_data, tmp_path_factory):
    """The page of nine real models on HellaSwag, that of the real votes, and one of a hostile name."""
    folder, hellaswag = tmp_path_factory.mktemp("pages"), shared_data / "hellaswag"
    files = sorted(map(str, (hellaswag / "choice-logprobs").glob("*/*.csv.gz")))
    entries = reading.read_all(files, hellaswag / "validation.parquet")
    page.write(folder / "leaderboard.html", analysis.analyse(entries, Settings(bootstraps=100)))
    read = votes.read(shared_data / "votes" / "llmfao.csv")
    record = arena_analysis.analyse(read, ArenaSettings(bootstraps=50, shuffles=5), "llmfao.csv")
    arena_page.write(folder / "arena.html", record)
    table = -np.random.default_rng(0).uniform(1, 9, (40, 4))
    items = tuple(map(str, range(40)))
    hostile = Choices(
        HOSTILE, HOSTILE, HOSTILE, "f", items, np.zeros(40, int), {"sum": table}, subsets={HOSTILE: items}
    )
    page.write(folder / "hostile.html", analysis.analyse([hostile], Settings(bootstraps=10)))
    return folder


def models(tab):
    return tab.locator("table.board td.name").all_inner_texts()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [380, 1280])
@pytest.mark.parametrize("name", ["leaderboard.html", "arena.html"])
def test_a_page_fits_its_width_and_its_text_can_be_read(check_looks, name, width, scheme):
    check_looks(name, width, scheme)


def test_ranks_move_with_the_keyboard_and_the_focus_stays(opened, to):
    tab = opened("leaderboard.html")
    before = models(tab)
    assert before[2:4] == ["HuggingFaceTB/SmolLM2-1.7B", "Qwen/Qwen2.5-1.5B"]
    to(tab, "subset")
    tab.keyboard.type("first 200")
    assert models(tab)[2:4] == before[3:1:-1]
    assert tab.evaluate("document.activeElement.id") == "subset"
    assert "another rank than before" in tab.inner_text("#status")
    assert tab.locator(".moved").first.inner_text().strip() in ("↑1", "↓1", "↑2", "↓2")


def test_confidence_widens_the_ranges_and_groups_the_bars(opened, to):
    tab = opened("leaderboard.html")
    width = "document.querySelectorAll('.reach')[4].getBoundingClientRect().width"
    plain = tab.evaluate(width)
    to(tab, "error")
    tab.keyboard.type("by group")
    assert tab.evaluate(width) > 1.5 * plain
    ranges = tab.locator("table.board tbody td:nth-child(2)").all_inner_texts()
    to_before = sum("–" in text for text in ranges)
    tab.keyboard.press("Shift+Tab")
    tab.keyboard.type("99")
    assert sum("–" in text for text in tab.locator("table.board tbody td:nth-child(2)").all_inner_texts()) >= to_before


def test_any_two_models_are_compared_by_keyboard(opened, to):
    tab = opened("leaderboard.html")
    to(tab, "compare")
    tab.keyboard.type("ibm")
    to(tab, "with")
    tab.keyboard.type("meta")
    said = tab.inner_text("#compared")
    assert said.startswith("ibm-granite/granite-3.1-1b-a400m-base is better than meta-llama/Llama-3.2-1B by 0.0023")
    assert "only the first is right on 783 items, only the second on 760; z 0.59" in said
    assert tab.evaluate("document.activeElement.id") == "with"


def test_a_rule_that_one_model_has_leads_to_its_own_board(opened, to):
    tab = opened("leaderboard.html")
    to(tab, "rule")
    tab.keyboard.type("bits")
    assert models(tab) == ["meta-llama/Llama-3.2-1B"]
    assert "lower is better" in tab.inner_text("#status")


def test_the_arena_s_rating_and_the_theme_change_by_keyboard(opened, to):
    tab = opened("arena.html")
    to(tab, "theme")
    tab.keyboard.press("Enter")
    tab.keyboard.press("Enter")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 30)"
    before = models(tab)
    to(tab, "method")
    tab.keyboard.type("Elo in")
    assert models(tab)[0] == before[0] == "GPT 4"
    assert models(tab) != before
    assert "1096" in tab.locator("table.board tbody tr").first.inner_text() or "1095.6" in tab.inner_text("table.board")


def test_a_name_of_markup_is_shown_as_text(opened):
    tab = opened("hostile.html")
    assert models(tab) == [HOSTILE]
    assert HOSTILE in tab.title()
    assert tab.locator("img").count() == 0
