"""Learning a unigram vocabulary from text (Kudo 2018), as SentencePiece 0.2.1 does it.

It begins with too many pieces (`seeds`) and takes away those that cost least, a quarter at a time:

    E   expected count c of each piece, over all segmentations of all words   (`lattices`)
    M   score = ψ(c) − ψ(Σ c); pieces with c < 0.5 go
    twice E and M, then a quarter of the pieces goes                          (`pruning`)

Plain expectation–maximisation has log c − log Σ c. The digamma function ψ is the mean of log p under a Dirichlet prior
that prefers few pieces (Liang & Klein 2007): ψ(c) ≈ log(c − ½), so rare pieces lose more than frequent ones.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from llm_jax.config.values import whole_number
from llm_jax.tokenizer.sentencepiece import corpus as corpora
from llm_jax.tokenizer.sentencepiece.corpus import Corpus
from llm_jax.tokenizer.sentencepiece.normalization import Normalization
from llm_jax.tokenizer.sentencepiece.vocabulary import refuse_too_few, room_for_pieces
from llm_jax.tokenizer.unigram import seeds as finding
from llm_jax.tokenizer.unigram.lattice import UNKNOWN_PENALTY
from llm_jax.tokenizer.unigram.lattices import Lattices
from llm_jax.tokenizer.unigram.model import UnigramVocabulary
from llm_jax.tokenizer.unigram.pruning import Alternatives, prune

SUB_ITERATIONS = 2
SHRINKING = 0.75  # share of the pieces that a pruning keeps
MARGIN = 1.1  # pruning ends at so many times the size wanted
LEAST_COUNT = 0.5
RARE_STEP = 0.0001  # between the scores of characters that were lost and come back
# The scores of the vocabulary are multiples of 1/256. Then sums of them, down to −65,536, are exact in float32
# too, and segmentations of equal probability are equal for every program, whatever numbers it computes in.
STEPS_A_NAT = 256

Array = np.ndarray


@dataclass(frozen=True)
class Step:
    """What one round of expectation and maximisation came to."""

    size: int  # pieces that are left
    objective: float  # −log P(word), the mean over all words


Progress = Callable[[Step], None]


def train_unigram(
    texts: Iterable[str],
    vocab_size: int,
    normalization: Normalization | None = None,
    byte_fallback: bool = True,
    coverage: float = 0.9995,
    space_runs: bool = False,
    progress: Progress | None = None,
) -> UnigramVocabulary:
    """Learns `vocab_size` pieces: <unk>, <s>, </s>, with `byte_fallback` the 256 bytes, then pieces by score.

    Args:
        normalization: by default the text as it is, with a space before it.
        coverage: share of the text's characters that become pieces, the commonest first.
        space_runs: whether a run of spaces can be one piece, which suits code.
        progress: called after each round.

    Raises:
        ValueError: for a size that cannot hold the characters, or one that the texts have no pieces for.
    """
    normalization = normalization or Normalization()
    vocab_size = whole_number("vocab_size", vocab_size)
    corpus = corpora.read(texts, normalization, coverage, space_runs)
    n_pieces = room_for_pieces(vocab_size, byte_fallback, corpus)
    scores = learn(corpus, n_pieces, int(vocab_size * MARGIN), progress)
    refuse_too_few(len(scores), n_pieces, vocab_size)
    rounded = {piece: round(score * STEPS_A_NAT) / STEPS_A_NAT for piece, score in scores.items()}
    return UnigramVocabulary.of(rounded, normalization, byte_fallback)


def learn(corpus: Corpus, n_pieces: int, desired: int, progress: Progress | None = None) -> dict[str, float]:
    """Piece → score, the best first."""
    text = finding.Text.of(corpus)
    seeds = finding.find(text, corpus.alphabet)
    n = len(seeds.pieces)
    # One entry behind the pieces stands for characters that are none.
    words = Lattices.of(seeds.starts, seeds.starts + seeds.lengths, seeds.ids, text.begins, text.lengths, text.counts)
    is_alive = np.append(np.ones(n, bool), False)
    scores = _with_unknown(np.append(seeds.scores, 0), is_alive)
    alternatives = None
    while True:
        for _ in range(SUB_ITERATIONS):
            expected, log_likelihood = words.expect(scores)
            expected[0] += expected[~is_alive].sum()  # as in SentencePiece, what is unknown counts as the first piece
            is_alive &= expected >= LEAST_COUNT
            scores = _with_unknown(maximise(expected, is_alive), is_alive)
            words = words.only(is_alive)
            if progress:
                progress(Step(int(is_alive.sum()), float(-log_likelihood / text.counts.sum())))
        if is_alive.sum() <= desired:
            return _finish(seeds.pieces, scores[:-1], is_alive[:-1], corpus.alphabet, n_pieces)
        if alternatives is None:
            alternatives = Alternatives(seeds, is_alive)
        alternatives.keep(is_alive)
        is_alive = prune(words, alternatives, scores, is_alive, max(desired, int(SHRINKING * is_alive.sum())))
        words = words.only(is_alive)
        scores = _with_unknown(scores, is_alive)


def maximise(expected: Array, is_alive: Array) -> Array:
    """ψ(c) − ψ(Σ c) of each piece that is alive."""
    scores = np.zeros(len(expected))
    scores[is_alive] = digamma(expected[is_alive]) - digamma(expected[is_alive].sum())
    return scores


def digamma(x: Array) -> Array:
    """ψ(x), the derivative of log Γ(x), for x > 0: ψ(x) = ψ(x + 1) − 1/x up to 7, then its series in 1/(x − ½)."""
    x = np.array(x, np.float64)
    below = np.zeros_like(x)
    for _ in range(7):
        small = x < 7
        below -= np.where(small, 1 / x, 0)
        x = np.where(small, x + 1, x)
    y = 1 / (x - 0.5) ** 2
    return below + np.log(x - 0.5) + y * (1 / 24 - y * (7 / 960 - y * (31 / 8064 - y * 127 / 30720)))


def _with_unknown(scores: Array, is_alive: Array) -> Array:
    """A character whose piece is dead is unknown."""
    return np.where(is_alive, scores, scores[is_alive].min() - UNKNOWN_PENALTY)


def _finish(
    pieces: list[str], scores: Array, is_alive: Array, alphabet: Mapping[str, int], n_pieces: int
) -> dict[str, float]:
    """The characters, and the best of the others; in order of score."""
    of = {pieces[number]: float(scores[number]) for number in np.flatnonzero(is_alive)}
    worst = min(of.values())
    lost = [character for character in alphabet if character not in of]
    chosen = {character: of[character] for character in alphabet if character in of}
    chosen.update((character, worst + RARE_STEP * place) for place, character in enumerate(lost))
    for piece, score in sorted(of.items(), key=lambda item: (-item[1], item[0])):
        if len(chosen) == n_pieces:
            break
        chosen.setdefault(piece, score)
    return dict(sorted(chosen.items(), key=lambda item: (-item[1], item[0])))
