"""One text under one tokenizer, counted.

A word is whole if one token covers its letters. Where a character is split into several tokens, each of them covers the
whole character, so its word is not whole.
"""

from dataclasses import dataclass

import numpy as np

from llm_jax.tokenizer.hugging_face.tokenizer import HuggingFaceTokenizer
from llm_jax.tokenizer.protocol import Tokenizer
from train.fertility.texts import Text
from train.fertility.words import NoWords, Words


@dataclass(frozen=True)
class Counts:
    tokens: int
    unknown: int  # tokens that stand for what the vocabulary cannot write
    changed: int  # lines that decoding does not give back
    split: float | None = None  # share of words that more than one token stands for
    whole: float | None = None  # share of distinct words that one token stands for wherever they occur


def count(text: Text, tokenizer: Tokenizer, unknown: int | None, words: Words | NoWords) -> Counts:
    """Raises ValueError, naming the text, for one that the tokenizer cannot write."""
    lines = [line for line in text.lines if line.strip()]
    has_words = isinstance(words, Words) and len(words.spans) > 0
    try:
        numbers, spans = (
            tokenizer.encode_with_offsets(text.whole) if has_words else (tokenizer.encode_array(text.whole), [])
        )
        encoded = tokenizer.encode_batch(lines)
    except ValueError as error:
        raise ValueError(f"{text.name}: {error}; leave out the text or the tokenizer") from None
    ids = np.array(numbers, np.int64)
    changed = sum(tokenizer.decode(one) != line for one, line in zip(encoded, lines, strict=True))
    n_unknown = 0 if unknown is None else int((ids == unknown).sum())
    if isinstance(words, NoWords) or not has_words:
        return Counts(len(ids), n_unknown, changed)
    pieces, is_known = _pieces(np.array(spans, int).reshape(-1, 2), words.spans, ids, unknown)
    is_whole = (pieces == 1) & is_known
    broken = {word for word, kept in zip(words.types, is_whole, strict=True) if not kept}
    types = set(words.types)
    return Counts(len(ids), n_unknown, changed, float((pieces > 1).mean()), (len(types) - len(broken)) / len(types))


def _pieces(
    spans: np.ndarray, words: np.ndarray, ids: np.ndarray, unknown: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """(tokens that reach into each word, whether its first one is known)."""
    starts, stops = np.maximum.accumulate(spans[:, 0]), np.maximum.accumulate(spans[:, 1])
    first = np.searchsorted(stops, words[:, 0], side="right")
    after = np.searchsorted(starts, words[:, 1], side="left")
    is_known = np.ones(len(words), bool) if unknown is None else ids[np.minimum(first, len(ids) - 1)] != unknown
    return after - first, is_known


def unknown_id(tokenizer: Tokenizer) -> int | None:
    """The id that stands for what a vocabulary cannot write; None where it can write all."""
    if not isinstance(tokenizer, HuggingFaceTokenizer):
        return None
    model = tokenizer.definition.content()["model"]
    if model.get("unk_id") is not None:
        return int(model["unk_id"])
    name = model.get("unk_token")
    return None if name is None else tokenizer.token_to_id(name)
