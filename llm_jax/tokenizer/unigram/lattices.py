"""The lattices of all words at once, in NumPy: what `lattice` computes for one text, for a whole corpus.

All edges lie in three arrays (start, end, piece), ordered by the number of characters before their end, then by their
end. So the edges into all places that are t characters from the beginning of their word are one slice, which NumPy
works through in a few calls; the loop runs over t, of which there are as many as the longest word has characters.

The expected count of a piece is the derivative of Σ count · log P(word) by the piece's score (Eisner 2016:
inside-outside is backpropagation). Forward computes log P and, for each edge, the chance that a path through its end
came over it; backward carries the words' counts to the edges.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

Array = np.ndarray


class Best(NamedTuple):
    """The most likely segmentations."""

    counts: Array  # of each piece, times the count of the words
    scores: Array  # of each word
    pieces: Array  # all pieces of all words …
    words: Array  # … and the word in which each stands


@dataclass(frozen=True)
class Lattices:
    """`ids` of edges are pieces; the scores that are passed in have one entry for each.

    Word w begins at place `begins[w]` and ends at `begins[w] + lengths[w]`.
    """

    starts: Array
    ends: Array
    ids: Array
    begins: Array
    lengths: Array
    counts: Array

    @classmethod
    def of(cls, starts: Array, ends: Array, ids: Array, begins: Array, lengths: Array, counts: Array) -> "Lattices":
        """Puts the edges in order."""
        depth = np.zeros(int(begins[-1] + lengths[-1]) + 1, np.int64)
        word_of = np.repeat(begins, lengths + 1)
        places = np.repeat(begins - np.concatenate(([0], np.cumsum(lengths + 1)[:-1])), lengths + 1)
        places = places + np.arange(len(places))
        depth[places] = places - word_of
        # Among the edges into one place the longest piece comes first, and wins where scores are equal.
        order = np.argsort(depth[ends] << 40 | ends.astype(np.int64) << 8 | (255 - (ends - starts)))
        return cls(starts[order], ends[order], ids[order], begins, lengths, counts)

    def only(self, is_alive: Array) -> "Lattices":
        """Without the edges of dead pieces, except those of single characters."""
        keep = is_alive[self.ids] | (self.ends - self.starts == 1)
        return Lattices(self.starts[keep], self.ends[keep], self.ids[keep], self.begins, self.lengths, self.counts)

    @cached_property
    def _heads(self) -> Array:
        """The first edge into each place that has one, then the number of edges."""
        changes = np.flatnonzero(self.ends[1:] != self.ends[:-1]) + 1
        return np.concatenate(([0], changes, [len(self.ends)]))

    @cached_property
    def _levels(self) -> Array:
        """Where in `_heads` the places with 1, 2, 3, … characters before them begin."""
        longest = int(self.lengths.max())
        alive = np.bincount(self.lengths, minlength=longest + 1)
        return np.concatenate(([0], np.cumsum(len(self.lengths) - np.cumsum(alive)[:-1])))

    def _slices(self):
        """For each level: its edges, the first of each place among them, how many each has, and the places."""
        heads, levels = self._heads, self._levels
        for first, last in pairwise(levels.tolist()):
            edges = slice(int(heads[first]), int(heads[last]))
            inside = heads[first:last]
            yield edges, inside - inside[0], np.diff(heads[first : last + 1]), self.ends[inside]

    def expect(self, scores: Array) -> tuple[Array, float]:
        """(expected count of each piece, Σ count · log P(word))."""
        total = np.zeros(int(self.ends.max()) + 1)
        chance = scores[self.ids]
        for edges, heads, widths, places in self._slices():
            terms = total[self.starts[edges]] + chance[edges]
            highest = np.maximum.reduceat(terms, heads)
            np.exp(terms - np.repeat(highest, widths), out=terms)
            sums = np.add.reduceat(terms, heads)
            total[places] = highest + np.log(sums)
            chance[edges] = terms / np.repeat(sums, widths)
        ends = self.begins + self.lengths
        flow = np.zeros(len(total))
        flow[ends] = self.counts
        for edges, _, _, _ in reversed(list(self._slices())):
            chance[edges] *= flow[self.ends[edges]]
            np.add.at(flow, self.starts[edges], chance[edges])
        return np.bincount(self.ids, chance, len(scores)), float(self.counts @ total[ends])

    def best(self, scores: Array) -> Best:
        """The most likely segmentation of each word."""
        highest_at = np.zeros(int(self.ends.max()) + 1)
        edge_into = np.zeros(len(highest_at), np.int64)
        weights = scores[self.ids]
        for edges, heads, widths, places in self._slices():
            terms = highest_at[self.starts[edges]] + weights[edges]
            highest = np.maximum.reduceat(terms, heads)
            highest_at[places] = highest
            place_of = np.repeat(np.arange(len(places)), widths)
            reach = np.flatnonzero(terms == highest[place_of])
            is_first = np.concatenate(([True], place_of[reach][1:] != place_of[reach][:-1]))
            edge_into[places] = edges.start + reach[is_first]
        ends = self.begins + self.lengths
        words, here = np.arange(len(ends)), ends.copy()
        found, found_in = [], []
        while len(words):
            edges = edge_into[here]
            found.append(self.ids[edges])
            found_in.append(words)
            here = self.starts[edges]
            going = here > self.begins[words]
            words, here = words[going], here[going]
        pieces, words = np.concatenate(found), np.concatenate(found_in)
        counts = np.bincount(pieces, self.counts[words], len(scores))
        return Best(counts, highest_at[ends], pieces, words)
