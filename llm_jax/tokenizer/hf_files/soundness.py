"""Vocabularies and merges that no program writes: refused by name, before they cost memory or time.

Most such files are damaged or edited by hand; a few are made to do harm.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MOST_BYTES = 128_000_000  # of a file; the largest in use have 40 MB
MOST_MISSING = 1_000_000  # ids without a token
LARGEST_SCORE = 1e38  # as float32, in which they are written, holds them

CURE = "get the file again"


def refuse_size(path: Path) -> None:
    """Raises ValueError for a file that is too large to be a tokenizer's."""
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(
            f"it has {size:,} bytes, and a tokenizer's file at most {MOST_BYTES:,}: this is another kind of file"
        )


def check(model: Mapping[str, Any]) -> None:
    """Raises ValueError naming the entry, for the `model` of a `tokenizer.json`."""
    vocab = model["vocab"]
    if isinstance(vocab, list):
        _check_scores(vocab)
    else:
        _check_ids(vocab)
        _check_merges(model.get("merges"))


def _check_scores(vocab: list[Any]) -> None:
    for number, entry in enumerate(vocab):
        piece, score = entry if isinstance(entry, list) and len(entry) == 2 else (None, None)
        if not isinstance(piece, str) or isinstance(score, bool) or not isinstance(score, int | float):
            raise ValueError(f"entry {number} of the vocabulary is {entry!r}; expected [piece, score]: {CURE}")
        if not -LARGEST_SCORE < score < LARGEST_SCORE:  # nor does NaN
            raise ValueError(f"the score of the piece {piece!r} is {str(score)[:40]}: {CURE}")
        if not piece:
            raise ValueError(f"entry {number} of the vocabulary has an empty piece: {CURE}")
    if twice := [piece for piece, n in Counter(entry[0] for entry in vocab).items() if n > 1]:
        raise ValueError(f"the piece {twice[0]!r} is there twice: {CURE}")


def _check_ids(vocab: Mapping[str, Any]) -> None:
    ids = {token: number for token, number in vocab.items() if type(number) is int}  # others are refused elsewhere
    highest = max(ids, key=lambda token: ids[token], default="")
    if ids and (ids[highest] > len(ids) + MOST_MISSING or min(ids.values()) < 0):
        wrong = highest if ids[highest] > len(ids) + MOST_MISSING else min(ids, key=lambda token: ids[token])
        raise ValueError(f"the id of the token {wrong!r} is {ids[wrong]:,}, and there are {len(ids):,} tokens: {CURE}")
    of: dict[int, str] = {}
    for token, number in ids.items():
        if number in of:
            raise ValueError(f"the tokens {of[number]!r} and {token!r} have one id, {number}: {CURE}")
        of[number] = token


def _check_merges(merges: Any) -> None:
    for entry in merges if isinstance(merges, list) else []:
        pair = entry.split(" ") if isinstance(entry, str) else entry
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(token, str) for token in pair):
            continue  # refused elsewhere
        if not all(pair):
            raise ValueError(f"merge {entry!r} joins a token with nothing, again and again: {CURE}")
