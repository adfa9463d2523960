"""A file of prompts is its lines, whatever it is packed in."""

import gzip

import pytest

from serve.text.prompt_file import read_lines

TEXT = "one prompt\n\na naïve one\n"


@pytest.mark.parametrize(
    "raw",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        TEXT.encode("utf-16-le"),
        TEXT.replace("\n", "\r\n").encode("utf-8-sig"),
        gzip.compress(TEXT.encode(), mtime=0),
    ],
    ids=["plain", "marked", "utf-16", "utf-16 without a mark", "of Windows", "gzip"],
)
def test_a_byte_order_mark_is_no_part_of_the_first_prompt(tmp_path, raw):
    (tmp_path / "prompts.txt").write_bytes(raw)
    assert read_lines(tmp_path / "prompts.txt") == ["one prompt", "", "a naïve one"]


def test_a_file_that_is_no_text_is_refused_by_name(tmp_path):
    (tmp_path / "prompts.txt").write_bytes(b"%PDF-1.7\n")
    with pytest.raises(ValueError, match=r"prompts\.txt: a PDF; save its text as UTF-8 first"):
        read_lines(tmp_path / "prompts.txt")
