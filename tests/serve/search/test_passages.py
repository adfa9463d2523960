"""Every word of a text is in exactly one passage, none is longer than asked, and its line is the right one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.search.passages import divide, files

WORD = st.text(alphabet="ab.。\u0e01", min_size=1, max_size=30)
TEXT = st.lists(st.lists(WORD, max_size=30).map(" ".join), max_size=12).map("\n".join)


@given(TEXT, st.integers(30, 200))
def test_every_word_is_in_one_passage(text, characters):
    found = divide(text, characters)
    assert "".join("".join(passage.text for passage in found).split()) == "".join(text.split())
    assert all(0 < len(passage.text) <= characters for passage in found)
    lines = text.split("\n")
    for passage in found:
        first = passage.text.split("\n")[0].strip()
        assert first in lines[passage.line - 1]


def test_paragraphs_are_joined_and_long_ones_cut_behind_a_sentence():
    text = "one.\n\ntwo.\n\n" + "A sentence of some length. " * 8 + "\n\nend"
    found = divide(text, 100)
    assert found[0].text == "one.\ntwo."
    assert [passage.line for passage in found[:2]] == [1, 5]
    assert all(passage.text.endswith(".") for passage in found[:-1])


def test_links_that_lead_outside_are_left_out(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.txt").write_text("x")
    (tmp_path / "in/a.txt").write_text("x")
    (tmp_path / "in/link.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "in/up").symlink_to(tmp_path)
    assert [name for name, _ in files(tmp_path / "in")] == ["a.txt"]


@pytest.mark.parametrize("text", ["", "\n\n", "   "])
def test_an_empty_text_has_no_passage(text):
    assert divide(text, 100) == []
