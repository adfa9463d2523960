"""All texts under all tokenizers, as one record.

Premium (Petrov et al. 2023, arXiv 2305.15425): tokens of a text over those of the reference, its translation. PCW: the
share of words that are split (Rust et al. 2021, arXiv 2012.15613). Distinct words kept whole: arXiv 2510.09947.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llm_jax.tokenizer.protocol import Tokenizer
from train.fertility.config import Settings, named
from train.fertility.measure import count, unknown_id
from train.fertility.texts import Text, reference_of
from train.fertility.words import NoWords, Words, words_of_all

Record = dict[str, Any]


def load_tokenizers(entries: Sequence[str]) -> dict[str, Tokenizer]:
    """By name: what was given, or NAME of NAME=TOKENIZER. Raises FileNotFoundError or ValueError."""
    from llm_jax.tokenizer.pretrained import load

    if not entries:
        raise ValueError("--tokenizers needs at least one, such as gpt2, cl100k_base, o200k_base or a tokenizer.json")
    found: dict[str, Tokenizer] = {}
    for entry in entries:
        name, rest = named(entry, Path(entry).exists())
        name = name or entry
        if name in found:
            raise ValueError(f"two tokenizers are named {name!r}: name one of them NAME={rest}")
        found[name] = load(rest)
    return found


def analyse(texts: Sequence[Text], tokenizers: Mapping[str, Tokenizer], settings: Settings) -> Record:
    """Raises ValueError for texts that do not fit together, and for settings that name what is not there."""
    settings.check()
    reference = reference_of(texts, settings.reference)
    prices = settings.prices(list(tokenizers))
    words = words_of_all(texts, settings.words)
    rows = []
    for name, tokenizer in tokenizers.items():
        unknown = unknown_id(tokenizer)
        own = [_row(text, name, tokenizer, unknown, words[text.name], settings.context) for text in texts]
        base = next((row["tokens"] for row in own if reference and row["text"] == reference.name), None)
        for row in own:
            premium = row["tokens"] / base if base else None
            row |= {"premium": premium, **_costs(row["tokens"], premium, prices.get(name))}
        rows += own
    return {
        "format": "llm-jax fertility",
        "version": 1,
        "reference": reference.name if reference else None,
        "context": settings.context,
        "prices": prices,
        "texts": [_described(text, words[text.name]) for text in texts],
        "tokenizers": [
            {"name": name, "vocab_size": one.vocab_size, "fingerprint": one.fingerprint}
            for name, one in tokenizers.items()
        ],
        "rows": rows,
    }


def _described(text: Text, words: Words | NoWords) -> Record:
    known = isinstance(words, Words)
    return {
        "name": text.name,
        "files": [str(file) for file in text.files],
        "sentences": text.sentences,
        "characters": len(text.whole),
        "bytes": len(text.whole.encode()),
        "words": words.n if known else None,
        "words_by": words.by if known else None,
        "no_words_because": None if known else words.because,
    }


def _row(
    text: Text, name: str, tokenizer: Tokenizer, unknown: int | None, words: Words | NoWords, context: int
) -> Record:
    found = count(text, tokenizer, unknown, words)
    return {
        "text": text.name,
        "tokenizer": name,
        "tokens": found.tokens,
        "per_sentence": found.tokens / text.sentences,
        "per_character": found.tokens / len(text.whole),
        "per_byte": found.tokens / len(text.whole.encode()),
        "per_word": found.tokens / words.n if isinstance(words, Words) and words.n else None,
        "words_split": found.split,
        "types_whole": found.whole,
        "unknown": found.unknown,
        "unknown_share": found.unknown / max(found.tokens, 1),
        "changed_lines": found.changed,
        "share_of_context": found.tokens / context,
        "sentences_in_context": context * text.sentences / max(found.tokens, 1),
    }


def _costs(tokens: int, premium: float | None, price: float | None) -> Record:
    """Dollars for the text, and for the translation of a million tokens of the reference."""
    if price is None:
        return {"dollars": None, "dollars_for_a_reference_million": None}
    return {
        "dollars": tokens * price / 1e6,
        "dollars_for_a_reference_million": None if premium is None else premium * price,
    }
