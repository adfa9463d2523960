"""BERT's vocab.txt: one token a line, the line's number is its id."""

from pathlib import Path
from typing import Any

from llm_jax.tokenizer.hf_files import bert_class
from llm_jax.tokenizer.hf_files.companions import Companions
from llm_jax.tokenizer.wordpiece.vocabulary import UNKNOWN, WordPieceVocabulary


def read(path: Path, lowercase: bool = True) -> WordPieceVocabulary:
    """Raises ValueError naming the file, and the line of a token that is there twice."""
    return WordPieceVocabulary(_lines(path, UNKNOWN), lowercase)


def content(path: Path, files: Companions) -> dict[str, Any]:
    """What a `tokenizer.json` would say of the vocabulary and the files beside it. Raises ValueError as `read`."""
    lines = _lines(path, files.named_token("unk_token") or UNKNOWN)
    vocab = {token: number for number, token in enumerate(lines)}
    return {"added_tokens": [], "post_processor": None, **bert_class.parts(vocab, files)}


def _lines(path: Path, unknown: str) -> list[str]:
    try:
        lines = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error.reason} at byte {error.start:,}): get the file again") from None
    seen: dict[str, int] = {}
    for number, token in enumerate(lines, start=1):
        if token in seen:
            raise ValueError(f"{path}: line {number:,} is {token!r}, as line {seen[token]:,} is: get the file again")
        seen[token] = number
    if unknown not in seen:
        raise ValueError(f"{path}: not a vocabulary of BERT's kind: none of its lines is {unknown}")
    return lines
