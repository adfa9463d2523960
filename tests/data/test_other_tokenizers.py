"""Shards from a tokenizer of others: its ids, its borders, and its files beside the shards."""

import io
import json

import published_tokenizers
import pytest
import sentencepiece

from llm_jax.tokenizer import load
from train.data.shards import open_tokens
from train.data.tokenizer import tokenizer_beside, verify_tokenizer
from train.prepare.config import PrepareConfig
from train.prepare.preparation import prepare

TEXTS = [f"Document number {number}.\n\tIts <s> end 😀" for number in range(100)]


def sentencepiece_folder(folder):
    folder.mkdir()
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_writer=model, vocab_size=290, byte_fallback=True, minloglevel=2
    )
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    return folder


@pytest.fixture(params=[*published_tokenizers.FAMILIES, "sentencepiece"])
def folder(request, tmp_path):
    if request.param == "sentencepiece":
        return sentencepiece_folder(tmp_path / "tokenizer")
    found = published_tokenizers.write(request.param, tmp_path / "tokenizer", TEXTS, 400)
    (found / "chat_template.jinja").write_text("{{ messages[0].content }}")
    (found / "additional_chat_templates").mkdir()
    (found / "additional_chat_templates" / "rag.jinja").write_text("more")
    return found


def test_documents_get_its_ids_between_its_borders_and_its_files_lie_beside(folder, tmp_path):
    source = tmp_path / "corpus.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    asked = PrepareConfig(
        source=(str(source),), out=tmp_path / "out", tokenizer=str(folder), val_fraction=0.0, processes=1
    )
    manifest = prepare(asked)
    theirs = load(folder)
    tokens = [int(token) for shard in manifest.shards for token in open_tokens(manifest.path(shard))]
    assert tokens == [number for text in TEXTS for number in [*theirs.borders.between, *theirs.encode(text)]]
    assert (manifest.tokenizer.name, manifest.tokenizer.fingerprint) == (theirs.name, theirs.fingerprint)
    assert manifest.tokenizer.vocab_size == theirs.vocab_size
    beside = tokenizer_beside(manifest)
    assert beside is not None
    assert (beside.borders, beside.chat and beside.chat.templates) == (
        theirs.borders,
        theirs.chat and theirs.chat.templates,
    )
    assert verify_tokenizer(manifest.folder) == ""
    for name, content in theirs.files.items():
        assert (manifest.folder / name).read_bytes() == content
    assert prepare(asked).tokenizer == manifest.tokenizer  # nothing is done twice
