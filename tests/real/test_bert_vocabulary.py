"""The vocabulary of bert-base-uncased: its published ids, and those of transformers on real text."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from llm_jax.tokenizer import load
from llm_jax.tokenizer.wordpiece import vocab_file

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def folder() -> Path:
    spec = importlib.util.spec_from_file_location("minilm", Path(__file__).parent.parent / "minilm.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        return module.make()
    except RuntimeError as error:
        pytest.skip(str(error))


def test_my_name_is_john_has_the_published_ids(folder):
    vocabulary = vocab_file.read(folder / "vocab.txt")
    expected = [101, 2026, 2171, 2003, 2198, 102, 3940, 102]  # of BertTokenizer("My name is John", "pair")
    assert vocabulary.encode_for_bert("My name is John", "pair") == expected


def test_ours_the_two_files_and_transformers_have_the_same_ids_over_flores(folder, shared_data, tmp_path):
    transformers = pytest.importorskip("transformers")
    shutil.copy(folder / "vocab.txt", tmp_path)
    sides = [vocab_file.read(folder / "vocab.txt").encode, load(tmp_path).encode, load(folder).encode]
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    for path in sorted((shared_data / "flores200").glob("*.dev")):
        for line in path.read_text().split("\n")[:40]:
            ids = theirs.encode(line, add_special_tokens=False)
            assert [side(line) for side in sides] == [ids] * 3, (path.name, line)
