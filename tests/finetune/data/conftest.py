"""Tokenizers with chat templates, and files of examples."""

import json
from pathlib import Path

import published_templates
import published_tokenizers
import pytest
from small_models import bytes_tokenizer

from llm_jax import tokenizer as tokenizers


@pytest.fixture(scope="session")
def plain():
    """The simplest tokenizer: bytes, and one token that ends a text; no template."""
    return bytes_tokenizer()


@pytest.fixture(scope="session")
def gpt2(shared_data):
    return tokenizers.load("gpt2")


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """(our tokenizer, its folder) of a family's published template."""
    made = {}

    def of(name: str):
        if name not in made:
            family, template = published_templates.TEMPLATES[name]
            folder = published_tokenizers.write(family, tmp_path_factory.mktemp("chat"), ["the dog", "a dog"], 300)
            (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
            made[name] = tokenizers.load(folder), folder
        return made[name]

    return of


@pytest.fixture
def file_of(tmp_path):
    """Writes rows as JSON lines, or anything else as it is; returns the path as a text."""

    def write(content, name: str = "data.jsonl") -> str:
        path = Path(tmp_path) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content, encoding="utf8")
        else:
            path.write_text("".join(f"{json.dumps(row)}\n" for row in content), encoding="utf8")
        return str(path)

    return write
