"""What a path holds, by its contents: vectors that are there already, or a text to learn them from."""

import logging
from pathlib import Path

import numpy as np

from llm_jax.files.content import UTF8, read_text, recognise
from llm_jax.files.json_files import read_json
from llm_jax.models.embeddings import vectors as files
from llm_jax.models.embeddings.vectors import Vectors
from llm_jax.runs import is_run
from llm_jax.tokenizer import Tokenizer

logger = logging.getLogger(__name__)


def stored(source: Path) -> tuple[Vectors, str] | None:
    """The vectors that a path holds, and what they are; None for a text.

    Raises:
        OSError, ValueError: a damaged file, a folder that is no model; named with the cure.
    """
    if source.is_dir():
        return _of_model(source), "token embeddings"
    _refuse_packed(source)
    if files.header(source) or files.width_without_header(source):
        return files.read(source), "vectors of a file"
    return None


def _refuse_packed(source: Path) -> None:
    """Raises ValueError for vectors that are compressed or not plain UTF-8: in a text the numbers would be words."""
    content = recognise(source)
    if content.kind == "text" and content.form != UTF8:
        first = content.head_text.encode().splitlines()[: files.FIRST_LINES]
        whole = first[:-1] or first  # the last one may be cut
        if first and (files.parse_header(first[0]) or files.parse_width(whole)):
            how = f"compressed ({content.form.compression})" if content.form.compression else "not plain UTF-8"
            raise ValueError(f"{source} holds vectors, and is {how}: unpack or convert it first")


def sentences(source: Path, lowercase: bool) -> list[list[str]]:
    """The words of each line that has any. Raises ValueError for a file that is no text, or has no word."""
    try:
        text = read_text(source)
    except UnicodeDecodeError as error:
        raise ValueError(f"{source}: not UTF-8 ({error.reason} at byte {error.start:,}): convert it first") from None
    found = [line.split() for line in (text.lower() if lowercase else text).split("\n")]
    if not any(found):
        raise ValueError(f"{source} holds no word: give a text, in which words stand between white space")
    return [line for line in found if line]


def _of_model(folder: Path) -> Vectors:
    is_encoder = not is_run(folder) and _model_type(folder) == "bert"
    if is_encoder:
        from llm_jax.hf import encoder

        read = encoder.load(folder)
        table, tokenizer = read.params.token_embedding, read.tokenizer
    else:
        from llm_jax.hf import open_model

        opened = open_model(folder)
        table, tokenizer = opened.params.token_embedding, opened.tokenizer
    matrix = np.asarray(table, np.float32)[: tokenizer.vocab_size]
    return Vectors(names(tokenizer, len(matrix)), matrix)


def names(tokenizer: Tokenizer, count: int) -> tuple[str, ...]:
    """The spelling of each token; `<id>` where it has none, one with spaces, or another token's."""
    found: dict[str, None] = {}
    for number in range(count):
        name = tokenizer.id_to_token(number)
        if not name or not name.isprintable() or " " in name or name in found:
            name = f"<{number}>"
        found[name] = None
    return tuple(found)


def _model_type(folder: Path) -> object:
    path = folder / "config.json"
    return read_json(path).get("model_type") if path.is_file() else None
