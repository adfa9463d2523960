"""The pieces to begin with: every character, and the substrings of words that occur in two contexts.

As in SentencePiece, a piece has at most 16 characters, of one script, and ▁ at its beginning alone, or it is a run of
▁. Japanese counts as one script; digits, punctuation and all that is of no script are another, so no piece joins
letters with digits.
"""

from dataclasses import dataclass

import numpy as np

from llm_jax.tokenizer.sentencepiece.corpus import HOLE, Corpus
from llm_jax.tokenizer.sentencepiece.normalization import SPACE
from llm_jax.tokenizer.sentencepiece.scripts import INHERITED, scripts_of
from llm_jax.tokenizer.unigram.suffixes import nodes_of, sort_suffixes

LONGEST = 16  # characters of a piece
MOST_SEEDS = 1_000_000
END_OF_WORD, END_OF_LINE = 0x110000, 0x110001
Array = np.ndarray


@dataclass(frozen=True)
class Text:
    """The distinct words one after the other, each with its end mark; arrays over its symbols.

    A symbol is a code point. An end mark is none, and says whether another word follows: a word that ends lines and
    stands inside them is followed by two different symbols.
    """

    string: str  # with "\0" for the marks
    symbols: Array  # uint32
    begins: Array  # where each word begins
    lengths: Array  # of each word, without its mark
    counts: Array  # of each word

    @classmethod
    def of(cls, corpus: Corpus) -> "Text":
        lengths = np.array([len(word) for word, _ in corpus.words])
        begins = np.concatenate(([0], np.cumsum(lengths[:-1] + 1)))
        string = "\0".join([*(word for word, _ in corpus.words), ""])
        symbols = np.frombuffer(string.encode("utf-32-le"), np.uint32).copy()
        symbols[begins + lengths] = [END_OF_WORD if after else END_OF_LINE for _, after in corpus.words]
        return cls(string, symbols, begins, lengths, np.array(list(corpus.words.values()), np.float64))

    def substring(self, start: int, length: int) -> str:
        return self.string[start : start + length]


@dataclass(frozen=True)
class Seeds:
    """Pieces and their scores, characters first; and each place of the text where a piece stands."""

    pieces: list[str]
    scores: Array
    starts: Array
    lengths: Array
    ids: Array  # of the piece; the number of pieces for a character that is none


def find(text: Text, alphabet: dict[str, int], longest: int = LONGEST, most: int = MOST_SEEDS) -> Seeds:
    """The seeds, scored by count · length, of which the `most` best are kept, and their log share."""
    suffixes = sort_suffixes(text.symbols, longest + 1)
    room = _room(text, longest)
    weights = np.zeros(len(text.symbols))
    for place in range(int(text.lengths.max(initial=0))):
        has = text.lengths > place
        weights[text.begins[has] + place] = text.counts[has]
    before = np.concatenate(([0.0], np.cumsum(weights[suffixes.order])))
    firsts, lasts, lengths = [], [], []
    for length in range(2, longest + 1):
        nodes = nodes_of(suffixes, length)
        fits = room[suffixes.order[nodes.first]] >= length
        firsts.append(nodes.first[fits])
        lasts.append(nodes.last[fits])
        lengths.append(np.full(int(fits.sum()), length))
    first, last, length = map(np.concatenate, (firsts, lasts, lengths))
    score = (before[last] - before[first]) * length
    best = np.lexsort((-length, last, -score))[:most]  # among equals as in SentencePiece
    first, last, length, score = first[best], last[best], length[best], score[best]
    pieces = list(alphabet) + [
        text.substring(start, size) for start, size in zip(suffixes.order[first].tolist(), length.tolist(), strict=True)
    ]
    scores = np.concatenate((list(alphabet.values()), score))
    characters = _characters(text, alphabet, len(pieces))
    n_each = last - first
    places = np.repeat(first - np.concatenate(([0], np.cumsum(n_each)[:-1])), n_each) + np.arange(n_each.sum())
    return Seeds(
        pieces,
        np.log(scores) - np.log(scores.sum()),
        np.concatenate((characters[0], suffixes.order[places])).astype(np.int32),
        np.concatenate((np.ones(len(characters[0]), np.int32), np.repeat(length, n_each))).astype(np.int32),
        np.concatenate((characters[1], len(alphabet) + np.repeat(np.arange(len(first)), n_each))).astype(np.int32),
    )


def _characters(text: Text, alphabet: dict[str, int], unknown: int) -> tuple[Array, Array]:
    """(place, id) of every character in the words."""
    inside = np.ones(len(text.symbols), bool)
    inside[text.begins + text.lengths] = False
    places = np.flatnonzero(inside)
    codes = np.array([ord(character) for character in alphabet], np.uint32)
    order = np.argsort(codes)
    found = np.searchsorted(codes[order], text.symbols[places])
    found = order[np.minimum(found, len(codes) - 1)]
    return places, np.where(codes[found] == text.symbols[places], found, unknown)


def _room(text: Text, longest: int) -> Array:
    """How long a piece may be that begins at each symbol."""
    n = len(text.symbols)
    stops = np.zeros(n, bool)
    stops[text.begins + text.lengths] = True
    stops |= text.symbols == ord(HOLE)
    places = np.flatnonzero(stops)
    room = places[np.searchsorted(places, np.arange(n))] - np.arange(n)
    change, before = _script_changes(text)
    index = np.searchsorted(before, np.arange(n))
    inside = index < len(before)
    room[inside] = np.minimum(room[inside], change[index[inside]] - np.arange(n)[inside])
    is_space = text.symbols == ord(SPACE)
    ends_run = np.flatnonzero(~is_space)
    in_run = np.flatnonzero(is_space[:-1] & is_space[1:])  # such a piece is of spaces alone
    room[in_run] = ends_run[np.searchsorted(ends_run, in_run)] - in_run
    return np.minimum(room, longest)


def _script_changes(text: Text) -> tuple[Array, Array]:
    """Where a character is of another script than the last one before it that has a script; and where that one is."""
    unique, inverse = np.unique(np.where(text.symbols < END_OF_WORD, text.symbols, ord(SPACE)), return_inverse=True)
    characters = [chr(code) for code in unique.tolist()]
    of = scripts_of("".join(characters)) | {SPACE: INHERITED}
    script = np.array([of[character] for character in characters])[inverse]
    has = np.flatnonzero(script != INHERITED)
    differs = np.flatnonzero(script[has][1:] != script[has][:-1])
    return has[1:][differs], has[:-1][differs]
