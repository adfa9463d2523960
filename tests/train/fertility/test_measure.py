"""Counts of small texts, each computed by hand."""

import sys

import pytest

from llm_jax.tokenizer import CharacterTokenizer, load, train_bpe, train_wordpiece
from train.fertility import analysis, measure
from train.fertility.config import Settings
from train.fertility.page import units_of
from train.fertility.segmenters import PACKAGES, spaceless_script
from train.fertility.texts import Text, read_all
from train.fertility.words import NoWords, words_of_all


def text(*lines, name="a"):
    return Text(name, (), (tuple(lines),))


@pytest.fixture(scope="module")
def english():
    """A vocabulary of bytes, "the", " the", " cat" and their parts."""
    return train_bpe(["the the the cat cat cat the cat"] * 9, 256 + 6 + 1)


@pytest.fixture(scope="module")
def gpt2():
    """GPT-2's vocabulary; skipped where it is not in tiktoken's cache and cannot be downloaded."""
    try:
        return load("gpt2")
    except FileNotFoundError as error:
        pytest.skip(str(error))


def row(texts, tokenizers, **settings):
    return analysis.analyse(texts, tokenizers, Settings(**settings))["rows"]


def test_a_premium_is_the_ratio_of_tokens_under_the_same_tokenizer(english):
    one, two = text("the cat", name="en"), text("กา", name="th")
    record = analysis.analyse([one, two], {"ours": english}, Settings(price=("2.5",), context=10))
    first, second = record["rows"]
    assert record["reference"] == "en"
    assert first["premium"] == 1.0
    assert second["tokens"] == 7  # six bytes and the line's end
    assert second["premium"] == second["tokens"] / first["tokens"]
    assert second["dollars"] == pytest.approx(7 * 2.5e-6)
    assert second["dollars_for_a_reference_million"] == pytest.approx(2.5 * second["premium"])
    assert (second["share_of_context"], second["sentences_in_context"]) == (0.7, pytest.approx(10 / 7))
    assert (second["per_character"], second["per_byte"], second["per_sentence"]) == (7 / 3, 1.0, 7.0)


def test_a_word_is_whole_where_one_token_stands_for_its_letters(english):
    (found,) = row([text("the cat, the dog.")], {"ours": english})
    # " cat" and " the" are tokens; "dog" is three bytes; punctuation belongs to no word
    assert found["words_split"] == 1 / 4
    assert found["types_whole"] == 2 / 3
    assert found["per_word"] == found["tokens"] / 4


def test_a_type_that_is_split_in_one_place_is_not_whole(gpt2):
    (found,) = row([text("kitchen the kitchen")], {"gpt2": gpt2})  # without a space before it: kit, chen
    assert (found["words_split"], found["types_whole"]) == (1 / 3, 1 / 2)


def test_tokens_of_one_split_character_are_several(english):
    (found,) = row([text("é the")], {"ours": english})
    assert found["words_split"] == 1 / 2


def test_unknown_tokens_are_counted_and_keep_no_word_whole():
    tokenizer = train_wordpiece(["the cat sat"], 30).tokenizer()
    (found,) = row([text("the ж cat")], {"ours": tokenizer})
    assert (found["unknown"], found["unknown_share"]) == (1, 1 / found["tokens"])
    assert found["types_whole"] == 2 / 3


def test_lines_that_decoding_changes_are_counted():
    tokenizer = train_wordpiece(["the cat sat"], 30).tokenizer()  # without capitals
    (found,) = row([text("the cat", "The cat", "cat")], {"ours": tokenizer})
    assert found["changed_lines"] == 1


@pytest.mark.parametrize("line", ["ភាសាខ្មែរ", "ภาษาไทย", "ພາສາລາວ", "မြန်မာဘာသာ", "中文很好", "日本語です"])
def test_scripts_without_spaces_have_no_words_unless_they_are_given(line, english):
    one = text(f"{line} {line}")
    (found,) = row([one], {"ours": english})
    assert found["per_word"] is found["words_split"] is found["types_whole"] is None
    assert isinstance(words_of_all([one], ["spaces"])["a"], NoWords)


@pytest.mark.parametrize("line", ["한국어는 띄어쓰기를 한다", "लोग हिंदी बोलते हैं", "كتاب", "tiếng Việt", "123 456"])
def test_other_scripts_have_words_between_spaces(line):
    assert spaceless_script(line) is None


def test_words_of_a_file_may_be_divided_by_spaces_or_zero_width_ones(tmp_path, english):
    (tmp_path / "a.words").write_text("ภาษา ไทย\nที่\u200bนี่\n", encoding="utf8")
    (words,) = words_of_all([text("ภาษาไทย", "ที่นี่")], [str(tmp_path / "a.words")]).values()
    assert words.types == ("ภาษา", "ไทย", "ที่", "นี่")
    assert [tuple(span) for span in words.spans] == [(0, 4), (4, 7), (8, 11), (11, 14)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("script", "line", "first"),
    [
        ("Thai", "ภาษาไทยสวย", "ภาษาไทย"),
        ("Lao", "ພາສາລາວ", "ພາສາລາວ"),
        ("Khmer", "ខ្ញុំស្រលាញ់ភាសាខ្មែរ", "ខ្ញុំ"),
        ("Chinese", "我来到北京清华大学", "我"),
        ("Japanese", "今日は天気です", "今日は"),
    ],
)
def test_segmenters_find_words(script, line, first):
    pytest.importorskip(PACKAGES[script], reason="uv sync --extra words")
    (words,) = words_of_all([text(line)], ["segmenter"]).values()
    assert words.types[0] == first
    assert "".join(words.types) == line


def test_a_missing_segmenter_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "khmercut", None)
    with pytest.raises(ModuleNotFoundError, match=r"khmercut for Khmer .*uv sync --extra words"):
        words_of_all([text("ភាសាខ្មែរ")], ["segmenter"])


def test_files_that_differ_in_their_suffix_are_one_text_joined_by_a_space(tmp_path):
    (tmp_path / "x.dev").write_bytes(b"one\r\ntwo\n")
    (tmp_path / "x.devtest").write_bytes(b"three")
    (read,) = read_all([str(tmp_path / "x.dev"), str(tmp_path / "x.devtest")])
    assert read.whole == "one two  three "
    assert [read.whole[start:][: len(line)] for start, line in zip(read.starts, read.lines, strict=True)] == [
        *("one", "two", "three")
    ]


def test_a_unit_ends_where_a_token_and_a_grapheme_end():
    # k, then i + combining mark of two bytes each in three tokens, then an emoji of two UTF-16 numbers
    spans = [(0, 1), (1, 2), (2, 3), (2, 3), (3, 4)]
    assert units_of("ki\u0301😀", [1, 2, 3, 4, 5], spans) == [[1, 1], [2, 2, 3, 4], [2, 5]]
    assert units_of("a b", [7, 8], [(0, 1), (2, 3)]) == [[1, 7], [1], [1, 8]]  # a space that no token has
    assert units_of("", [], []) == []


@pytest.mark.parametrize("name", ["gpt2", "english"])
@pytest.mark.parametrize("line", ["ខ្ញុំស្រលាញ់ភាសាខ្មែរ", "a 👩‍👩‍👧 b", "في يوم الاثنين", " two  spaces "])
def test_units_hold_the_whole_line_and_all_tokens_in_order(line, name, request):
    tokenizer = request.getfixturevalue(name)
    ids, spans = tokenizer.encode_with_offsets(line)
    units = units_of(line, ids, spans)
    assert sum(unit[0] for unit in units) == len(line.encode("utf-16-le")) // 2
    assert [number for unit in units for number in unit[1:]] == ids


def test_a_text_that_a_tokenizer_cannot_write_is_named():
    with pytest.raises(ValueError, match=r"^th: .*leave out the text or the tokenizer"):
        measure.count(text("กา", name="th"), CharacterTokenizer("abc "), None, NoWords(""))
