"""Writes the folder of a foreign tokenizer: its own files unchanged, and what they do not say."""

from pathlib import Path
from typing import Any

from llm_jax.files import write
from llm_jax.files.json_files import write_json
from llm_jax.tokenizer import borders
from llm_jax.tokenizer.hf_files import chat_templates, post_processor
from llm_jax.tokenizer.hf_files.companions import (
    GENERATION_CONFIG,
    SPECIAL_TOKENS_MAP,
    TOKENIZER_CONFIG,
    Companions,
    read_object,
)
from llm_jax.tokenizer.hf_files.post_processor import NEUTRAL_CLASS
from llm_jax.tokenizer.hf_files.saving import generation_fields, role_fields
from llm_jax.tokenizer.hf_files.tokenizer_json import TOKENIZER_JSON
from llm_jax.tokenizer.hugging_face.definition import Definition
from llm_jax.tokenizer.protocol import Tokenizer


def save(tokenizer: Tokenizer, definition: Definition, directory: Path) -> None:
    """Writes the files, each whole; then those that name the borders, where the files name others."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in tokenizer.files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        write(directory / name, content)
    if TOKENIZER_JSON not in tokenizer.files:
        write_json(directory / TOKENIZER_JSON, definition.content())
    if TOKENIZER_CONFIG not in tokenizer.files:
        write_json(directory / TOKENIZER_CONFIG, NEUTRAL_CLASS)
    if chat_templates.read(Companions.read(directory)) is None:
        chat_templates.save(directory, tokenizer.chat)
    if tokenizer.borders.prefix != definition.prefix:
        _write_prefix(directory, tokenizer)
    if not _says(directory, tokenizer):
        write_json(directory / GENERATION_CONFIG, generation_fields(tokenizer.borders))
    if not _says(directory, tokenizer):
        _write_borders(directory, tokenizer)
    if not _says_prefix(directory, tokenizer):
        _drop_older_prefix(directory)


def _says(directory: Path, tokenizer: Tokenizer) -> bool:
    """Whether the files in the folder name the tokenizer's borders."""
    files, wanted = Companions.read(directory), tokenizer.borders
    return borders.read(files, tokenizer.token_to_id, tokenizer.vocab_size, wanted.prefix) == wanted


def _says_prefix(directory: Path, tokenizer: Tokenizer) -> bool:
    """Whether `add_bos_token`, where the files look like older ones of ours, says the same as the post-processor."""
    files, wanted = Companions.read(directory), tokenizer.borders.prefix
    decides = post_processor.config_decides(read_object(directory / TOKENIZER_JSON), files)
    return not decides or borders.read(files, tokenizer.token_to_id, tokenizer.vocab_size).prefix == wanted


def _drop_older_prefix(directory: Path) -> None:
    config = read_object(directory / TOKENIZER_CONFIG)
    write_json(directory / TOKENIZER_CONFIG, {name: config[name] for name in config if name != "add_bos_token"})


def _write_prefix(directory: Path, tokenizer: Tokenizer) -> None:
    """Changes the post-processor of the tokenizer.json, and nothing else of it."""
    spelled = [(tokenizer.id_to_token(number) or "", number) for number in tokenizer.borders.prefix]
    changed = {"post_processor": post_processor.template(spelled)}
    write_json(directory / TOKENIZER_JSON, read_object(directory / TOKENIZER_JSON) | changed)


def _write_borders(directory: Path, tokenizer: Tokenizer) -> None:
    files = Companions.read(directory)
    named: dict[str, Any] = role_fields(tokenizer.borders, tokenizer.special_tokens)
    write_json(directory / TOKENIZER_CONFIG, files.tokenizer_config | named)
    (directory / SPECIAL_TOKENS_MAP).unlink(missing_ok=True)  # it would go before tokenizer_config.json
