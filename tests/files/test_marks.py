"""JSON and CSV written with a byte order mark are read as those without."""

import json

from llm_jax.scoring import rows
from llm_jax.tokenizer.characters import CharacterTokenizer
from llm_jax.tokenizer.pretrained import load
from train.record.plots import read_curve

MARK = b"\xef\xbb\xbf"


def test_a_marked_tokenizer_json_is_the_same_tokenizer(tmp_path):
    made = CharacterTokenizer(["a", "b"])
    made.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_bytes(MARK + path.read_bytes())
    assert load(path).fingerprint == made.fingerprint


def test_marked_json_lines_have_their_first_row(tmp_path):
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(MARK + json.dumps({"a": 1}).encode() + b"\n")
    assert rows.read_rows(path) == [{"a": 1}]


def test_a_marked_curve_has_its_first_column(tmp_path):
    path = tmp_path / "curve.csv"
    path.write_bytes(MARK + b"step,metric,value\n1,loss,2.5\n")
    assert read_curve(path) == {"loss": [(1, 2.5)]}
