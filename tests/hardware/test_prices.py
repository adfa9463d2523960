"""Prices: dated ranges, replaced by a user's file, whose holes are named."""

import pytest

from llm_jax.hardware.catalogue import accelerators
from llm_jax.hardware.prices import Price, prices


def test_the_prices_shipped_are_of_accelerators_in_the_catalogue():
    found = prices()
    assert len(found) >= 10
    assert set(found) <= {entry.name for entry in accelerators()}


def test_a_users_file_replaces_them(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text('\ufeff["H200"]\nlow = 2\nhigh = 3.5\ndate = "2026-11"\n')  # with an editor's mark
    assert prices(path) == {"H200": Price(2.0, 3.5, "2026-11")}
    path.write_text("[H200]\n", encoding="utf-16")
    with pytest.raises(ValueError, match=r"prices.toml is not text in UTF-8 .*: save it as UTF-8"):
        prices(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[H300]\nlow = 1\n", "H300: the catalogue has no accelerator of this name; one of: .*H200"),
        ('[H200]\nlow = 1\ndate = "2026-11"\n', "H200: expected low, high and date; got {'low': 1, 'date': '2026-11'}"),
        ('[H200]\nlow = 0\nhigh = 1\ndate = "2026-11"\n', "H200: low must be dollars an hour, above 0; got 0"),
        ('[H200]\nlow = nan\nhigh = 1\ndate = "2026-11"\n', "H200: low must be dollars an hour, above 0; got nan"),
        ('[H200]\nlow = 3\nhigh = 1\ndate = "2026-11"\n', "H200: low is above high: 3 and 1"),
        ('[H200]\nlow = 1\nhigh = 1\ndate = "autumn"\n', "H200: date must be YYYY-MM; got 'autumn'"),
        ('[H200]\nlow = 1\nhigh = 1\ndate = "2026-13"\n', "H200: date must be YYYY-MM; got '2026-13'"),
        ("H200 = 3\n", "H200: expected low, high and date; got 3"),
        ("low = \n", "not TOML"),
    ],
)
def test_a_file_with_holes_is_refused_by_name(text, message, tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"prices.toml: {message}"):
        prices(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.toml: no such file of prices"):
        prices(tmp_path / "nowhere.toml")
