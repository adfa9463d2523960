"""Which pieces a vocabulary can do without (Kudo 2018, section 3.2).

Without a piece, the text that it covers is written with the next best segmentation of it. The loss is how much the log
likelihood of the corpus falls:

    loss = F · (log p(piece) − Σ log p′(part)),   p′: the frequency of the piece moved to its parts

SentencePiece's estimate, which looks at most likely segmentations alone. Hugging Face's trainer computes another loss.
"""

import numpy as np

from llm_jax.tokenizer.unigram.lattices import Lattices
from llm_jax.tokenizer.unigram.seeds import Seeds

Array = np.ndarray


class Alternatives:
    """For each piece of more than one character, its segmentations without itself."""

    def __init__(self, seeds: Seeds, is_alive: Array):
        n = len(is_alive)
        order = np.argsort(seeds.starts, kind="stable")
        starts, lengths, ids = seeds.starts[order].astype(np.int64), seeds.lengths[order], seeds.ids[order]
        keep = is_alive[ids] | (lengths == 1)
        starts, lengths, ids = starts[keep], lengths[keep], ids[keep]
        where, size = np.zeros(n, np.int64), np.zeros(n, np.int64)
        where[seeds.ids], size[seeds.ids] = seeds.starts, seeds.lengths  # any place of each
        self.pieces = np.flatnonzero(is_alive & (size > 1))
        where, size = where[self.pieces], size[self.pieces]
        first = np.searchsorted(starts, where)
        n_each = np.searchsorted(starts, where + size) - first
        owner = np.repeat(np.arange(len(self.pieces)), n_each)
        edges = np.arange(len(owner)) + np.repeat(first - np.concatenate(([0], np.cumsum(n_each)[:-1])), n_each)
        fits = (starts[edges] + lengths[edges] <= (where + size)[owner]) & (lengths[edges] < size[owner])
        owner, edges = owner[fits], edges[fits]
        begins = np.concatenate(([0], np.cumsum(size + 1)[:-1]))
        shift = (begins - where)[owner]
        self.lattices = Lattices.of(
            starts[edges] + shift,
            starts[edges] + shift + lengths[edges],
            ids[edges],
            begins,
            size,
            np.ones(len(self.pieces)),
        )

    def keep(self, is_alive: Array) -> None:
        """Drops every alternative that contains a dead piece."""
        self.lattices = self.lattices.only(is_alive)


def prune(words: Lattices, alternatives: Alternatives, scores: Array, is_alive: Array, size: int) -> Array:
    """Which pieces stay alive: all that have no alternative, and the costliest others, `size` together."""
    best = words.best(scores)
    frequency = best.counts
    frequency[0] += frequency[~is_alive].sum()  # as in SentencePiece, an unknown character counts as the first piece
    frequency[~is_alive] = 0
    owners = alternatives.pieces
    others = alternatives.lattices.best(scores)
    parts = np.where(is_alive[others.pieces], others.pieces, 0)
    loss = losses(frequency, owners, parts, others.words, words.counts.sum())
    is_used = is_alive & (frequency > 0)
    is_candidate = is_used[owners] & (scores[owners] > others.scores)  # else it is not its own best segmentation
    stays = is_used.copy()
    stays[owners] = False
    candidates = np.flatnonzero(is_candidate)
    costliest = candidates[np.argsort(-loss[candidates], kind="stable")]
    stays[owners[costliest[: max(0, size - int(stays.sum()))]]] = True
    return stays


def losses(frequency: Array, pieces: Array, parts: Array, owners: Array, n_words: float) -> Array:
    """The loss of each of `pieces`; parts[i] is a piece in the alternative of pieces[owners[i]]."""
    total = frequency.sum()
    own = frequency[pieces]
    n_parts = np.bincount(owners, minlength=len(pieces))
    with np.errstate(divide="ignore", invalid="ignore"):  # of a piece with frequency 0, which goes anyway
        log_own = np.log(own) - np.log(total)
        log_parts = np.bincount(owners, np.log(frequency[parts] + own[owners]), len(pieces))
        log_parts -= n_parts * np.log(total + own * (n_parts - 1))
        return own / n_words * (log_own - log_parts)
