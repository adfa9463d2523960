"""Byte-pair encoding over characters (Sennrich et al. 2016), as in SentencePiece and Llama 2.

The symbols to begin with are characters, not bytes; a rare character is written by byte fallback. As in SentencePiece,
no piece joins two scripts. The score of a piece is minus its place in the order of merging.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import cached_property

from llm_jax.config.values import whole_number
from llm_jax.tokenizer.bpe.merge import merge
from llm_jax.tokenizer.bpe.pairs import Words
from llm_jax.tokenizer.bpe.train import merges_of
from llm_jax.tokenizer.sentencepiece import corpus as corpora
from llm_jax.tokenizer.sentencepiece.corpus import HOLE, Corpus
from llm_jax.tokenizer.sentencepiece.model_file import BPE
from llm_jax.tokenizer.sentencepiece.normalization import SPACE, Normalization
from llm_jax.tokenizer.sentencepiece.scripts import INHERITED, scripts_of
from llm_jax.tokenizer.sentencepiece.vocabulary import SentencePieceVocabulary, refuse_too_few, room_for_pieces

Progress = Callable[[int, int], None]


class PairEncodingVocabulary(SentencePieceVocabulary):
    """The piece with the best score is merged first."""

    algorithm = BPE

    def segment(self, text: str) -> list[str]:
        return merge(text, self._ranks)

    @cached_property
    def _ranks(self) -> dict[str, int]:
        in_order = sorted(self.scores, key=lambda piece: -self.scores[piece])
        return {piece: rank for rank, piece in enumerate(in_order)}


def train_pair_encoding(
    texts: Iterable[str],
    vocab_size: int,
    normalization: Normalization | None = None,
    byte_fallback: bool = True,
    coverage: float = 0.9995,
    space_runs: bool = False,
    progress: Progress | None = None,
) -> PairEncodingVocabulary:
    """Learns `vocab_size` tokens: <unk>, <s>, </s>, with `byte_fallback` the 256 bytes, merges, characters.

    Args:
        normalization: by default the text as it is, with a space before it.
        coverage: share of the text's characters that become pieces, the commonest first.
        space_runs: whether a run of spaces can be one piece, which suits code.
        progress: `progress(done, total)` is called after each merge.

    Raises:
        ValueError: for a size that cannot hold the characters, or one that the texts have no pairs for.
    """
    normalization = normalization or Normalization()
    vocab_size = whole_number("vocab_size", vocab_size)
    corpus = corpora.read(texts, normalization, coverage, space_runs)
    n_pieces = room_for_pieces(vocab_size, byte_fallback, corpus)
    alphabet = list(corpus.alphabet)
    pieces = list(alphabet)
    for left, right in merges_of(_words(corpus), len(alphabet), n_pieces - len(alphabet), progress):
        pieces.append(pieces[left] + pieces[right])
    refuse_too_few(len(pieces), n_pieces, vocab_size)
    in_order = pieces[len(alphabet) :] + alphabet
    scores = {piece: -float(place) for place, piece in enumerate(in_order)}
    return PairEncodingVocabulary.of(scores, normalization, byte_fallback)


def _words(corpus: Corpus) -> Words:
    """The words, cut where the script changes, in symbols: a character's place in the alphabet."""
    script = scripts_of("".join(corpus.alphabet)) | {SPACE: INHERITED}
    parts = Counter[str]()
    for (word, _), count in corpus.words.items():
        for stretch in word.split(HOLE):
            for part in _cut(stretch, script):
                parts[part] += count
    symbols = str.maketrans({character: chr(number) for number, character in enumerate(corpus.alphabet)})
    return Words((part.translate(symbols) for part in parts), parts.values())


def _cut(word: str, script: dict[str, int]) -> list[str]:
    """Parts of one script each; of several spaces before a word the last one is the word's."""
    n_spaces = len(word) - len(word.lstrip(SPACE))
    if n_spaces > 1 and n_spaces < len(word):
        return [word[: n_spaces - 1], *_cut(word[n_spaces - 1 :], script)]
    parts, start, last = [], 0, INHERITED
    for place, character in enumerate(word):
        own = script[character]
        if own != INHERITED:
            if last not in (INHERITED, own):
                parts.append(word[start:place])
                start = place
            last = own
    return [*parts, word[start:]]
