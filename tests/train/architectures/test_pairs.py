"""Pairs by code and from files: what is refused, what is counted, and what reaches the model."""

from itertools import islice

import numpy as np
import pytest

from train.architectures import pairs
from train.architectures.batches import batches, encoded, padded, widths
from train.architectures.pairs import BEGIN, END, PAD, SPECIAL, UNKNOWN, Vocabulary

WORDS = [("ab" * (1 + i % 4) + "c" * (i // 4), f"p{i % 3} q r") for i in range(40)]


def lines(rows):
    return "".join(f"{word}\t{phonemes}\n" for word, phonemes in rows)


@pytest.mark.parametrize("task", ["copy", "reversal"])
def test_no_sequence_of_the_test_was_trained_on(task):
    splits = pairs.made(task, 0, 300, 20, 50)
    parts = [{source for source, _ in part} for part in (splits.train, splits.dev, splits.test)]
    assert [len(part) for part in parts] == [300, 20, 50]
    assert len(set.union(*parts)) == 370
    for source, target in splits.test:
        assert 4 <= len(source) <= 16
        assert target == (source if task == "copy" else source[::-1])
    assert pairs.made(task, 0, 300, 20, 50) == splits
    assert pairs.made(task, 1, 300, 20, 50) != splits


def test_numbers_are_written_in_words():
    said = {0: "zero", 13: "thirteen", 40: "forty", 99: "ninety nine", 100: "one hundred"}
    said |= {
        301_012: "three hundred one thousand twelve",
        1_000: "one thousand",
        20_700: "twenty thousand seven hundred",
    }
    assert {number: pairs.in_words(number) for number in said} == said
    splits = pairs.numbers(0, 50, 5, 5)
    assert all(" ".join(target) == pairs.in_words(int("".join(source))) for source, target in splits.train)


def test_a_file_is_read_in_its_order_and_divided_the_same_way_each_time(tmp_path):
    path = tmp_path / "words.tsv"
    path.write_text("\ufeff" + lines(WORDS).replace("\n", "\r\n") + "\n")
    read = pairs.read_pairs(path)
    assert read[1] == (tuple("abab"), ("p1", "q", "r"))
    assert len(read) == 40
    splits = pairs.read_splits(path, None, None, seed=0)
    assert [len(part) for part in (splits.train, splits.dev, splits.test)] == [34, 2, 4]
    assert splits == pairs.read_splits(path, None, None, seed=0)
    other = tmp_path / "test.tsv"
    other.write_text(lines(WORDS[:1]))
    splits = pairs.read_splits(path, None, other, seed=0)
    assert (len(splits.train), len(splits.dev), splits.test) == (38, 2, read[:1])


def test_a_word_that_is_there_twice_is_in_one_part(tmp_path):
    """Otherwise half of the test would be known by heart, and a word with two pronunciations could not be right."""
    path = tmp_path / "words.tsv"
    path.write_text("word\tphonemes\n" + lines([(word, f"{sound} {n}") for word, sound in WORDS for n in range(5)]))
    splits = pairs.read_splits(path, None, None, seed=0)
    parts = [{source for source, _ in part} for part in (splits.train, splits.dev, splits.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 40
    assert len(splits.train) + len(splits.dev) + len(splits.test) == 200
    assert pairs.known_sources(splits.test, splits.train) == 0
    assert pairs.known_sources(splits.train[:7], splits.train) == 7


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("word\n", "line 1: expected `word TAB phonemes`; got 1 columns in 'word'"),
        ("a\tb\tc\n", "line 1: expected `word TAB phonemes`; got 3 columns"),
        (lines(WORDS) + "\tp q\n", "line 41: the word is empty"),
        (lines(WORDS) + "word\t \n", "line 41: the pronunciation is empty"),
        ("a" * 300 + "\tb\n", "line 1: more than 200 symbols"),
        (lines(WORDS[:3]), "has 3 pairs; expected at least 20"),
        ("", "has 0 pairs"),
    ],
)
def test_a_file_that_holds_no_pairs_is_refused_with_the_line(content, said, tmp_path):
    path = tmp_path / "words.tsv"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"words\.tsv") as error:
        pairs.read_pairs(path)
    assert said in str(error.value)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "words.tsv"
    path.write_bytes(b"a\tb\n\xff\xfe\xfa\xf0c\t\xe9\n" * 30)
    with pytest.raises((ValueError, OSError)) as error:
        pairs.read_pairs(path)
    assert "words.tsv" in str(error.value)


def test_a_symbol_that_training_lacks_is_counted_and_not_refused():
    known = Vocabulary.of([(("a",), ("p",))])
    strange = [(("a", "z"), ("p",)), (("a",), ("p", "new")), (("a",), ("p",))]
    assert pairs.unseen(strange, known) == 1
    assert known.encode(("a", "z")).tolist() == [SPECIAL, UNKNOWN]
    assert known.decode(np.array([SPECIAL + 1, UNKNOWN, END, SPECIAL])) == ("p", "?")


def test_source_and_target_share_symbols_and_targets_begin_and_end():
    vocabulary = Vocabulary.of([(("a", "b"), ("b", "c"))])
    assert vocabulary.symbols == ("a", "b", "c")
    ((source, target),) = encoded([(("a", "b"), ("b", "c"))], vocabulary)
    assert source.tolist() == [SPECIAL, SPECIAL + 1]
    assert target.tolist() == [BEGIN, SPECIAL + 1, SPECIAL + 2, END]
    batch = padded([(source, target)], 5)
    assert batch.source_BS.tolist() == [[SPECIAL, SPECIAL + 1, PAD, PAD, PAD]]
    assert batch.is_source_BS.tolist() == [[True, True, False, False, False]]
    assert batch.weights_BT.tolist() == [[1, 1, 1, 0, 0]]  # two symbols and the end


def test_every_pair_is_seen_once_in_a_pass_and_few_widths_occur():
    vocabulary = Vocabulary.of([(tuple("ab"), ("p",))])
    rows = encoded([(tuple("ab" * (1 + i % 7)), ("p",)) for i in range(80)], vocabulary)
    assert len(widths(rows)) <= 3
    seen = [batch.source_BS.shape for batch in islice(batches(rows, 4, 0), 60)]
    assert {width for _, width in seen} == set(widths(rows))
    numbered = [(np.array([SPECIAL + i], np.int32), np.array([BEGIN, END], np.int32)) for i in range(40)]
    first_pass = np.concatenate([batch.source_BS[:, 0] for batch in islice(batches(numbered, 8, 0), 5)])
    assert sorted(first_pass) == list(range(SPECIAL, SPECIAL + 40))
    few = next(batches(numbered[:3], 8, 0))
    assert few.source_BS.shape[0] == 8
