"""Words as sequences of symbols, how often each pair of neighbours occurs in them, and the merging of one pair.

A symbol is a number, and a word a Python string whose characters have those numbers. So a pair is a string of two
characters, and Python's own search and replacement of strings, which are written in C, find and merge it.
"""

from collections import defaultdict
from collections.abc import Iterable


class Words:
    """Distinct words with their counts. `counts` has the count of every pair, 0 for those that were merged away.

    `merged`: how often the last merge took place.
    """

    def __init__(self, words: Iterable[str], counts: Iterable[int]):
        self.words, self.word_counts = list(words), list(counts)
        self.counts: dict[str, int] = defaultdict(int)
        self.merged = 0
        self._holders: dict[str, list[int]] = defaultdict(list)  # may name words that have lost the pair since
        for index, (word, count) in enumerate(zip(self.words, self.word_counts, strict=True)):
            for place in range(len(word) - 1):
                pair = word[place : place + 2]
                self.counts[pair] += count
                self._holders[pair].append(index)

    def merge(self, pair: str, new: str) -> dict[str, int]:
        """Replaces `pair` by the symbol `new` in every word, leftmost first; returns how pair counts have changed."""
        changes: dict[str, int] = defaultdict(int)
        self.merged = 0
        for index in dict.fromkeys(self._holders.pop(pair, ())):
            word = self.words[index]
            place = word.find(pair)
            if place < 0:
                continue
            count, last, end = self.word_counts[index], len(word) - 2, -1
            while place >= 0:
                if place:
                    before = new if place == end else word[place - 1]
                    changes[before + pair[0]] -= count
                    changes[before + new] += count
                    self._holders[before + new].append(index)
                if place < last:
                    after = word[place + 2]
                    changes[pair[1] + after] -= count
                    changes[new + after] += count
                    self._holders[new + after].append(index)
                end = place + 2
                self.merged += count
                place = word.find(pair, end)
            self.words[index] = word.replace(pair, new)
        changes[pair] = -self.counts[pair]
        for changed, by in changes.items():
            self.counts[changed] += by
        return changes
