"""A foreign tokenizer's files, as bytes: they are copied and never rewritten."""

from pathlib import Path

from llm_jax.tokenizer.hf_files.chat_templates import FOLDER as CHAT_FOLDER
from llm_jax.tokenizer.hf_files.chat_templates import JINJA, MORE
from llm_jax.tokenizer.hf_files.companions import ADDED_TOKENS, SPECIAL_TOKENS_MAP, TOKENIZER_CONFIG
from llm_jax.tokenizer.hf_files.tokenizer_json import TOKENIZER_JSON
from llm_jax.tokenizer.hf_files.vocab_merges import MERGES, VOCABULARY

SENTENCEPIECE = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")  # names in use, the commonest first
VOCAB_TXT = "vocab.txt"  # WordPiece's
VOCABULARIES = (TOKENIZER_JSON, VOCABULARY, MERGES, *SENTENCEPIECE, VOCAB_TXT)
NAMES = (*VOCABULARIES, TOKENIZER_CONFIG, SPECIAL_TOKENS_MAP, ADDED_TOKENS, JINJA)


def read(folder: Path) -> dict[str, bytes]:
    """Name → content of those that are there."""
    found = {name: folder / name for name in NAMES} | {f"{CHAT_FOLDER}/{p.name}": p for p in folder.glob(MORE)}
    return {name: path.read_bytes() for name, path in found.items() if path.is_file()}
