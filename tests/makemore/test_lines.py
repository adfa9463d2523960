"""Reading, splitting, windows and sequences."""

import random

import numpy as np
import pytest

from train.first_principles.makemore.dataset import lines, splits
from train.first_principles.makemore.dataset.examples import sequences, windows


def test_names_are_split_as_in_the_lectures(names):
    """182,625 / 22,655 / 22,866: printed by Karpathy's notebooks ("build_dataset")."""
    sizes = {name: sum(len(line) + 1 for line in part) for name, part in names.splits.items()}
    assert sizes == {"train": 182_625, "dev": 22_655, "test": 22_866}
    assert names.vocab_size == 27
    assert names.alphabet.decode(names.splits["train"][0]) == "yuheng"


def test_the_split_is_the_global_shuffle_of_seed_42():
    texts = [f"line{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(50)]
    found = lines.from_texts(list(texts), "here")
    random.seed(42)
    random.shuffle(texts)
    decoded = {name: [found.alphabet.decode(line) for line in part] for name, part in found.splits.items()}
    assert decoded == {"train": texts[:40], "dev": texts[40:45], "test": texts[45:]}


def test_the_split_of_the_readme_is_that_of_makemore_py():
    """As makemore.py does it: torch.manual_seed(3407), torch.randperm, the last 1,000 at most for the test."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: uv sync --group test")
    for count, tested in ((50, 5), (12_000, 1000)):
        texts = [f"line {i}" for i in range(count)]
        torch.manual_seed(3407)
        order = torch.randperm(count).tolist()
        found = splits.split(texts, "readme")
        assert found["test"] == [texts[i] for i in order[-tested:]]
        assert found["train"] + found["dev"] == [texts[i] for i in order[:-tested]]
        assert len(found["dev"]) == tested


def test_the_embedded_words_need_no_file():
    found = lines.read(None)
    assert len(found.all) > 5_000
    assert {"alef", "omega", "umbrella"} <= {found.alphabet.decode(line) for line in found.all}
    assert found.alphabet.alphabet == "\nabcdefghijklmnopqrstuvwxyz"


def plain_windows(rows, context):
    """The loop of the lectures."""
    inputs, targets = [], []
    for row in rows:
        window = [0] * context
        for symbol in [*row.tolist(), 0]:
            inputs.append(window)
            targets.append(symbol)
            window = [*window[1:], symbol]
    return inputs, targets


@pytest.mark.parametrize("context", [1, 3, 8])
def test_windows_equal_the_plain_loop(data, context):
    found = windows(data.splits["dev"], context)
    assert (found.inputs.tolist(), found.targets.tolist()) == plain_windows(data.splits["dev"], context)


def test_sequences_hold_the_same_predictions_as_windows(data):
    rows = data.splits["dev"]
    found, context = sequences(rows, data.longest + 1), data.longest + 1
    in_windows = windows(rows, context)
    assert found.predictions == in_windows.predictions == len(in_windows.targets)
    real = found.weights > 0
    assert found.targets[real].tolist() == in_windows.targets.tolist()
    assert found.inputs[real].tolist() == in_windows.inputs[:, -1].tolist()
    assert not found.targets[~real].any()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; expected one name or word per line"),
        (b"\n \n", "has no lines but blank ones"),
        (b"emma\n", "has 1 line; expected one name or word per line, at least 10"),
        (b"\x89PNG\r\n\x1a\n" * 20, "a PNG image"),
        (b"ab\xff\n" * 20, r"not text in UTF-8 \(byte 2\)"),
        (b"ab\n" * 11 + b"x" * 600 + b"\n", "line 12 has 600 characters"),
    ],
)
def test_a_file_that_cannot_be_learned_from_is_refused_with_its_name(tmp_path, content, message):
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"bad.txt.*{message}"):
        lines.read(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_a_byte_order_mark_is_no_letter(tmp_path, encoding):
    names = [f"ann{'abcdefghijkl'[i]}" for i in range(12)]
    (tmp_path / "plain.txt").write_text("\n".join(names))
    (tmp_path / "marked.txt").write_bytes("\n".join(names).encode(encoding))
    assert lines.read(tmp_path / "marked.txt").alphabet.fingerprint == (
        lines.read(tmp_path / "plain.txt").alphabet.fingerprint
    )


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent.txt does not exist; expected a text file"):
        lines.read(tmp_path / "absent.txt")
    with pytest.raises(IsADirectoryError, match=r"is a folder; expected a text file"):
        lines.read(tmp_path)


def test_any_alphabet_will_do():
    found = lines.from_texts(["žluť", "日本", "a b", "İ", "😀"] * 4, "here")
    assert np.concatenate(found.all).min() > 0  # 0 is the line break alone
