"""The shard format: byte for byte llm.c's, and every way in which a file can fail to be one."""

import io
import re

import numpy as np
import pytest

from train.data.shards import ShardError, open_tokens, write_header

TOKENS = [50256, 464, 3290, 0, 65535]


def test_a_shard_is_byte_for_byte_what_llm_c_writes(shard_bytes):
    file = io.BytesIO()
    write_header(file, len(TOKENS))
    file.write(np.array(TOKENS, np.uint16).tobytes())
    assert file.getvalue() == shard_bytes(TOKENS)


def test_llm_c_and_build_nanogpt_shards_are_read(tmp_path, shard_bytes):
    (tmp_path / "a.bin").write_bytes(shard_bytes(TOKENS))
    np.save(tmp_path / "b.npy", np.array(TOKENS, np.uint16))
    for name in ("a.bin", "b.npy"):
        tokens = open_tokens(tmp_path / name)
        assert tokens.tolist() == TOKENS
        assert tokens.dtype == np.uint16
        with pytest.raises(ValueError, match="read-only"):
            tokens[0] = 1


def test_opening_a_shard_reads_nothing_but_its_header(tmp_path, shard_bytes):
    path = tmp_path / "sparse.bin"
    with path.open("wb") as file:
        file.write(shard_bytes([], count=10**9))
        file.truncate(1024 + 2 * 10**9)
    assert len(open_tokens(path)) == 10**9


WIDE = {"magic": 20240801, "version": 7, "width": "I"}
REFUSALS = {
    "wrong magic": ({"magic": 123}, "magic 123; expected 20240520", "train prepare"),
    "Llama 3 magic alone": ({"magic": 20240801}, "version 1; expected 7, which magic 20240801", "Convert"),
    "wrong version": ({"version": 2}, "version 2; expected 1", "Convert"),
    "version of the other width": ({"version": 7}, "version 7; expected 1, which magic 20240520", "Convert"),
    "truncated": ({"count": 6}, "10 bytes of tokens; expected 12 for the 6 tokens", "Truncated"),
    "appended": ({"count": 3}, "10 bytes of tokens; expected 6 for the 3 tokens", "appended"),
    "four bytes a token": ({"width": "I"}, r"4 bytes a token \(20 bytes for 5 tokens\); expected 2 bytes", "uint16"),
    "no tokens": ({"count": 0}, "0 tokens in the header; expected at least 1", "again"),
    "negative count": ({"count": -1}, "-1 tokens in the header", "again"),
    "wide, truncated": (WIDE | {"count": 6}, "20 bytes of tokens; expected 24 for the 6 tokens", "Truncated"),
    "wide, appended": (WIDE | {"count": 3}, "20 bytes of tokens; expected 12 for the 3 tokens", "appended"),
    "wide, two bytes a token": (
        WIDE | {"width": "H"},
        r"2 bytes a token \(10 bytes for 5 tokens\); expected 4 bytes a token \(uint32\)",
        "Truncated, or ids of another type: write the tokens as uint32",
    ),
    "wide, no tokens": (WIDE | {"count": 0}, "0 tokens in the header; expected at least 1", "again"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_bad_shard_is_refused_with_file_finding_expectation_and_cure(tmp_path, shard_bytes, case):
    changes, finding, cure = REFUSALS[case]
    path = tmp_path / "train_000001.bin"
    path.write_bytes(shard_bytes(TOKENS, **changes))
    with pytest.raises(ShardError, match=f"{re.escape(str(path))}: {finding}.*{cure}"):
        open_tokens(path)


def test_a_file_shorter_than_the_header_is_refused(tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(b"\0" * 1023)
    with pytest.raises(ShardError, match=r"x\.bin: 1023 bytes; expected a header of 1024 bytes. Truncated"):
        open_tokens(path)


def test_a_missing_shard_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.bin: shard is missing"):
        open_tokens(tmp_path / "gone.bin")


@pytest.mark.parametrize(
    ("array", "finding"),
    [
        (np.array(TOKENS, np.int32), r"int32 of shape \(5,\); expected uint16 or uint32 of shape \(tokens,\)"),
        (np.array(TOKENS, np.uint64), r"uint64 of shape \(5,\); expected uint16 or uint32"),
        (np.array([TOKENS], np.uint16), r"uint16 of shape \(1, 5\); expected uint16 or uint32 of shape \(tokens,\)"),
        (np.array([TOKENS], np.uint32), r"uint32 of shape \(1, 5\)"),
        (np.array([], np.uint16), r"uint16 of shape \(0,\)"),
        (np.array(TOKENS, ">u2"), ">u2 of shape|>u2|uint16 of shape"),
    ],
)
def test_an_npy_of_another_type_or_shape_is_refused(tmp_path, array, finding):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(ShardError, match=finding):
        open_tokens(tmp_path / "x.npy")


def test_a_truncated_or_pickled_npy_is_refused(tmp_path):
    whole = io.BytesIO()
    np.save(whole, np.array(TOKENS, np.uint16))
    (tmp_path / "cut.npy").write_bytes(whole.getvalue()[:-1])
    (tmp_path / "empty.npy").write_bytes(b"")
    np.save(tmp_path / "pickled.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for name in ("cut.npy", "empty.npy", "pickled.npy"):
        with pytest.raises(ShardError, match=rf"{name}: no readable array"):
            open_tokens(tmp_path / name)
