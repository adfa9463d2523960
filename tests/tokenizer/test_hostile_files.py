"""Files that no program writes are refused in one line that names file and entry, before they cost memory or time."""

import json
import time

import pytest

from llm_jax.tokenizer import load
from llm_jax.tokenizer.hf_files import soundness
from llm_jax.tokenizer.sentencepiece import protobuf
from llm_jax.tokenizer.sentencepiece.model_file import NORMAL, UNKNOWN


def piece(text: str, score: float = -1.0, kind: int = NORMAL) -> bytes:
    return protobuf.text(1, protobuf.text(1, text.encode()) + protobuf.float32(2, score) + protobuf.number(3, kind))


UNK = piece("<unk>", 0.0, UNKNOWN)
# A field that says it has more bytes than follow: of a piece, of the file, and of 2⁶⁰ bytes.
LYING = [
    UNK + b"\x0a\x7fabc",
    b"\x0a\xff\xff\xff\x7f" + UNK,
    UNK + b"\x0a" + b"\x80" * 8 + b"\x10x",
    UNK + b"\x0a" + b"\xff" * 20,
]
MODELS = {
    **{f"lying length {number}": (raw, r"damaged one \(.*\): get the file again") for number, raw in enumerate(LYING)},
    "NaN": (UNK + piece("a", float("nan")), r"the score of the piece 'a' is nan"),
    "infinite": (UNK + piece("a", float("-inf")), r"the score of the piece 'a' is -inf"),
    "twice": (UNK + piece("ab") + piece("ab"), r"the piece 'ab' is there twice"),
    "a piece without end": (UNK + piece("ab" * 500_000), r"the piece 'abababababababababab'… has 1,000,000 characters"),
    "empty piece": (UNK + piece(""), r"piece 1 has no text"),
    "no unknown token": (piece("a"), r"piece 0 is not its unknown token"),
    "a score of three bytes": (UNK + protobuf.text(1, b"\x0a\x01a\x15\0\0\0"), r"damaged one"),
    "a piece that is no UTF-8": (UNK + protobuf.text(1, protobuf.text(1, b"\xff")), r"damaged one"),
    "an unknown kind of field": (UNK + b"\x0b", r"damaged one"),
    "a number as a piece": (UNK + protobuf.number(1, 5), r"damaged one"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_lies_is_refused_by_name(name, tmp_path):
    raw, message = MODELS[name]
    (tmp_path / "tokenizer.model").write_bytes(raw)
    refused(tmp_path, rf"tokenizer\.model: .*{message}")


def byte_level(vocab: dict[str, int], merges: list) -> dict:
    return {
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
    }


def unigram(vocab: list) -> dict:
    return {"model": {"type": "Unigram", "unk_id": 0, "vocab": vocab}}


JSON = {
    "a score that is no number": (json.dumps(unigram([["<unk>", 0.0], ["a", None]])), r"entry 1 .* is \['a', None\]"),
    "NaN": (json.dumps(unigram([["<unk>", 0.0], ["a", float("nan")]])), r"the score of the piece 'a' is nan"),
    "infinite": (json.dumps(unigram([["<unk>", 0.0], ["a", float("inf")]])), r"the score of the piece 'a' is inf"),
    "a huge score": (json.dumps(unigram([["<unk>", 0.0], ["a", 10**400]])), r"'a'"),
    "a piece twice": (json.dumps(unigram([["<unk>", 0.0], ["a", -1.0], ["a", -2.0]])), r"the piece 'a' is there twice"),
    "an empty piece": (json.dumps(unigram([["<unk>", 0.0], ["", -1.0]])), r"entry 1 .* has an empty piece"),
    "a token twice": ('{"model": {"type": "BPE", "vocab": {"a": 0, "a": 1}, "merges": []}}', r"the name 'a' twice"),
    "an id twice": (json.dumps(byte_level({"a": 0, "b": 0}, [])), r"the tokens 'a' and 'b' have one id, 0"),
    "a huge id": (json.dumps(byte_level({"a": 0, "b": 10**9}, [])), r"the id of the token 'b' is 1,000,000,000"),
    "a negative id": (json.dumps(byte_level({"a": 0, "b": -1}, [])), r"the id of the token 'b' is -1"),
    "a merge with nothing": (json.dumps(byte_level({"a": 0, "b": 1}, [["a", ""]])), r"merge \['a', ''\] joins a token"),
    "a merge of itself": (json.dumps(byte_level({"a": 0, "b": 1}, ["a b"])), r"merge 'a b' is not a pair"),
    "nested lists": ("[" * 100_000, r"nested too deep"),
    "nested objects": ('{"model":' * 100_000, r"nested too deep"),
    "nested decoders": (
        '{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "decoder": '
        + '{"type": "Sequence", "decoders": [' * 400
        + "]}" * 400
        + "}",
        r"nested too deep|recursion limit exceeded",
    ),
}


@pytest.mark.parametrize("name", JSON)
def test_a_tokenizer_json_that_lies_is_refused_by_name(name, tmp_path):
    raw, message = JSON[name]
    (tmp_path / "tokenizer.json").write_text(raw)
    refused(tmp_path, rf"tokenizer\.json: .*{message}")


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model", "vocab.txt"])
def test_a_vocabulary_of_a_gigabyte_is_refused_unread(name, tmp_path):
    with (tmp_path / name).open("wb") as file:
        file.truncate(1 << 30)
    refused(tmp_path, rf"{name}: it has 1,073,741,824 bytes, and a tokenizer's file at most {soundness.MOST_BYTES:,}")


def refused(folder, message: str) -> None:
    begun = time.process_time()
    with pytest.raises(ValueError, match=message) as refusal:
        load(folder)
    assert "\n" not in str(refusal.value)
    assert time.process_time() - begun < 5  # a bound against hours, not a measurement
