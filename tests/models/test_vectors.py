"""word2vec's text format: read as it was written, and refused by line where it is damaged."""

import numpy as np
import pytest

from llm_jax.models.embeddings import vectors as files
from llm_jax.models.embeddings.vectors import Vectors


def test_vectors_are_read_as_they_were_written(tmp_path):
    matrix = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    matrix[0] = [np.float32(1e-38), -0.0, 3e38]
    words = ("king", "ค่ะ", "a\u00a0b", "5")
    files.write(tmp_path / "v.txt", Vectors(words, matrix))
    read = files.read(tmp_path / "v.txt")
    assert read.words == words
    np.testing.assert_array_equal(read.matrix, matrix)


def test_gensims_form_is_read(tmp_path):
    (tmp_path / "v.txt").write_bytes(b"2 2\r\nking 0.5 1\r\nqueen -1e-3 2 \r\n")
    read = files.read(tmp_path / "v.txt")
    assert read.words == ("king", "queen")
    np.testing.assert_allclose(read.matrix, [[0.5, 1], [-0.001, 2]])


def test_gloves_form_is_read_without_a_header(tmp_path):
    first = "".join(f"{word} 0.5 {i} -1e-3\n" for i, word in enumerate(["the", ",", "3", *"abcdefghijklmnopqrs"]))
    (tmp_path / "glove.txt").write_text(f"{first}. . . 1 2 3\r\n\n")
    read = files.read(tmp_path / "glove.txt")
    assert read.words[:4] == ("the", ",", "3", "a")
    assert read.words[-1] == ". . ."
    assert read.matrix.shape == (23, 3)
    np.testing.assert_allclose(read.matrix[[1, -1]], [[0.5, 1, -0.001], [1, 2, 3]])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"king and queen\n", "the first line is no header"),
        (b"king 0.5 1\nqueen 1 2 3\n", "the first line is no header"),
        (b"king 0.5 nan\n", "the first line is no header"),
        (b"king 1\nqueen 2\n", "the first line is no header"),
        (b"a 1 2\n" * 20 + b"b 1 x\n", "line 21 is not a word and 2 numbers"),
        (b"a 1 2\n" * 20 + b"b 1\n", "line 21 is not a word and 2 numbers"),
        (b"a 1 2\n" * 20 + b"b 1 inf\n", "line 21: the vector of 'b' has numbers that are not finite"),
        (b"2 2\na 1 2\n", "promises 2 vectors of 2 numbers, which do not fit into the file's 10 bytes"),
        (b"99999999999 300\na 1 2\n", "do not fit into the file's"),
        (b"0 2\n", "do not fit"),
        (b"1 2\na 1 2\nb 1 2\n", "promises 1 vectors, and more follow in line 3"),
        (b"2 2\na 1.00000 2.00000\n", "promises 2 vectors, and 1 follow"),
        (b"2 2\na 1 2\nb 1 2 3 x\n", "line 3 is not a word and 2 numbers"),
        (b"2 2\na 1 2\nb 1     \n\n", "line 3 is not a word and 2 numbers"),
        (b"1 2\na 1 nan\n", "line 2: the vector of 'a' has numbers that are not finite"),
        (b"1 2\na inf 2\n", "not finite"),
        (b"1 2\na 1e99 2\n", "not finite"),
        (b"1 2\n\xff\xfe\x00 1 2\n", "line 2 is not UTF-8: word2vec's binary form is not read"),
    ],
)
def test_a_damaged_file_is_refused_by_its_line(tmp_path, content, said):
    (tmp_path / "v.txt").write_bytes(content)
    with pytest.raises(ValueError, match=said) as refused:
        files.read(tmp_path / "v.txt")
    assert str(refused.value).startswith(str(tmp_path / "v.txt"))


def test_of_a_word_that_is_there_twice_the_first_counts(tmp_path, caplog):
    (tmp_path / "v.txt").write_text("3 1\na 1\nb 2\na 3\n")
    read = files.read(tmp_path / "v.txt")
    assert (read.words, read.matrix.tolist()) == (("a", "b"), [[1], [2]])
    assert "1 words are there twice" in caplog.text


def test_a_word_with_a_space_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="cannot hold the word 'a b'"):
        files.write(tmp_path / "v.txt", Vectors(("a b",), np.ones((1, 2), np.float32)))
    assert list(tmp_path.iterdir()) == []
