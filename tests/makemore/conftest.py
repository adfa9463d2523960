"""A small file of lines with rules that can be learned: consonant and vowel in turn."""

import random
from pathlib import Path

import pytest

from train.first_principles.makemore.dataset import lines
from train.first_principles.makemore.dataset.lines import Lines


def words(count: int = 300, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choice("bdk") + rng.choice("aei") for _ in range(rng.randint(1, 4))) for _ in range(count)]


@pytest.fixture(scope="session")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("lines") / "words.txt"
    path.write_text("\n".join(words()) + "\n")
    return path


@pytest.fixture(scope="session")
def data(file) -> Lines:
    return lines.read(file)


@pytest.fixture(scope="session")
def names(shared_data) -> Lines:
    """Karpathy's names.txt."""
    return lines.read(shared_data / "text" / "names.txt")
