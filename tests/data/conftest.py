"""Shards, corpora and a small tokenizer for the tests of the data road. Nothing here needs a network."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from train.prepare.config import PrepareConfig

WORDS = ("the", "a", "of", "to", "in", "stone", "river", "lamp", "seven", "walks", "17", "it's,", "(x)", "naïve", "河")


def text_of(n_words: int, seed: int) -> str:
    """Deterministic text with short lines."""
    chosen = np.random.default_rng(seed).choice(WORDS, n_words)
    return " ".join(word if i % 9 else f"{word}\n" for i, word in enumerate(chosen, 1)) + "\n"


@pytest.fixture(scope="session")
def documents() -> list[str]:
    """Sixty documents of uneven length, about 24 kB; one is empty."""
    return ["" if i == 7 else text_of(20 + 37 * i % 130, i) for i in range(60)]


@pytest.fixture
def json_lines(tmp_path: Path, documents: list[str]) -> Path:
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(documents)))
    return path


@pytest.fixture(scope="session")
def small_tokenizer(tmp_path_factory: pytest.TempPathFactory, documents: list[str]) -> Path:
    """Folder of a byte-pair tokenizer of 300 ids."""
    from llm_jax.tokenizer.bpe.train import train_bpe

    folder = tmp_path_factory.mktemp("tokenizer")
    train_bpe(documents, 300).save(folder)
    return folder


@pytest.fixture(scope="session")
def shard_bytes() -> Callable[..., bytes]:
    """What llm.c's `write_datafile` (dev/data/data_common.py) puts into a GPT-2 shard, built without our code."""

    def build(tokens, magic: int = 20240520, version: int = 1, count: int | None = None, width: str = "H") -> bytes:
        tokens = [int(token) for token in tokens]
        header = [magic, version, len(tokens) if count is None else count] + [0] * 253
        return struct.pack("<256i", *header) + struct.pack(f"<{len(tokens)}{width}", *tokens)

    return build


@pytest.fixture
def shard_folder(tmp_path: Path, shard_bytes) -> Callable[..., Path]:
    """Makes a folder of shards, name → tokens, as another program would leave it."""

    def build(**shards) -> Path:
        folder = tmp_path / "shards"
        folder.mkdir(exist_ok=True)
        for name, tokens in shards.items():
            (folder / f"{name}.bin").write_bytes(shard_bytes(tokens))
        return folder

    return build


@pytest.fixture
def options(tmp_path, json_lines):
    """A preparation with every kind of stage: a tokenizer from the text, fourteen parts, six shards."""

    def build(name: str, **more) -> PrepareConfig:
        return PrepareConfig(
            source=(str(json_lines),),
            out=tmp_path / name,
            tokenizer="train:280",
            shard_tokens=2500,
            processes=1,
            unit_megabytes=0.002,
            **more,
        )

    return build
