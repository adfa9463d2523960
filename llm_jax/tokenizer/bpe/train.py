"""Learning a byte-pair vocabulary from text (Sennrich et al. 2016, algorithm 1, over bytes).

The textbook counts all pairs of the whole text anew for each merge. Three observations make plain Python fast enough,
with the same result (rustbpe in nanochat and Hugging Face's trainer rest on them too):

1. No merge crosses the border of a pre-token, so each distinct pre-token is kept once, with its count. Twelve
   megabytes of Python source have 50,000 of them.
2. A merge changes the counts of its neighbours only. `_Words` knows which words hold a pair, and updates the counts
   there.
3. The most frequent pair is on top of a heap. The count of an old pair can only fall, so an entry that is out of date
   is met too early, never too late: it goes back with its new count.

Among pairs of equal count the smallest pair of ids wins, so the same text gives the same vocabulary everywhere.
"""

import heapq
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import pairwise

from llm_jax.tokenizer.bpe.encode import BytePairTokenizer
from llm_jax.tokenizer.bpe.patterns import GPT2_PATTERN, splitter
from llm_jax.tokenizer.protocol import END_OF_TEXT, check_text
from llm_jax.tokenizer.special import grown, ordinary_parts

Pair = tuple[int, int]
Progress = Callable[[int, int], None]

logger = logging.getLogger(__name__)


def train_bpe(
    texts: Iterable[str],
    vocab_size: int,
    pattern: str = GPT2_PATTERN,
    special_tokens: Sequence[str] = (END_OF_TEXT,),
    progress: Progress | None = None,
) -> BytePairTokenizer:
    """Learns `vocab_size` tokens: ids 0…255 are the bytes, then the merges in order, then the special tokens.

    `texts` may be a generator: only the distinct pre-tokens stay in memory. `progress(done, total)` is called after
    each merge. Where the texts run out of pairs, the vocabulary is smaller, and the log says so. Text that spells one
    of `special_tokens` is not learnt: it parts the text, as it does when it is encoded with that token allowed. Raises
    ValueError if `vocab_size` has no room for the bytes and special tokens, or a text holds a surrogate.

    >>> train_bpe(["low lower lowest"], vocab_size=260).encode("low")
    [257]
    """
    if isinstance(special_tokens, str) or len(set(special_tokens)) < len(special_tokens):
        raise ValueError(f"special_tokens must be distinct strings in a sequence; got {special_tokens!r}")
    grown({}, special_tokens, 0)  # refuses a faulty spelling before the work, not after it
    n_merges = vocab_size - 256 - len(special_tokens)
    if n_merges < 0:
        raise ValueError(
            f"vocab_size must be at least {256 + len(special_tokens)} (256 bytes and {len(special_tokens)} special "
            f"tokens); got {vocab_size}"
        )
    merges = learn_merges(count_pre_tokens(texts, pattern, special_tokens), n_merges, progress)
    if len(merges) < n_merges:
        logger.warning(
            f"the texts have pairs for {len(merges)} of {n_merges} merges: "
            f"the vocabulary has {vocab_size - n_merges + len(merges)} tokens, not {vocab_size}"
        )
    tokens = [bytes([byte]) for byte in range(256)]
    for left, right in merges:
        tokens.append(tokens[left] + tokens[right])
    return BytePairTokenizer(
        ranks={token: rank for rank, token in enumerate(tokens)},
        pattern=pattern,
        special_tokens={special: len(tokens) + index for index, special in enumerate(special_tokens)},
    )


def count_pre_tokens(
    texts: Iterable[str], pattern: str = GPT2_PATTERN, special_tokens: Collection[str] = ()
) -> Counter[str]:
    """How often each distinct pre-token occurs between `special_tokens`.

    Counters add, so several processes may count parts of a corpus.
    """
    if isinstance(texts, str):
        raise TypeError("texts must be an iterable of strings, one a document; got a single str")
    split = splitter(pattern)
    counts: Counter[str] = Counter()
    for text in texts:
        check_text(text)
        for part in ordinary_parts(text, special_tokens):
            counts.update(split(part))
    return counts


def learn_merges(counts: Mapping[str, int], n_merges: int, progress: Progress | None = None) -> list[Pair]:
    """The pairs of ids to merge, in order; the merge at index i makes id 256 + i. Fewer where the pairs run out."""
    words = _Words(counts)
    heap = [(-count, pair) for pair, count in words.pair_counts.items()]
    heapq.heapify(heap)
    merges: list[Pair] = []
    while heap and len(merges) < n_merges:
        negative_count, pair = heapq.heappop(heap)
        count = words.pair_counts[pair]
        if count != -negative_count:
            if count:
                heapq.heappush(heap, (-count, pair))
            continue
        new_pairs = words.merge(pair, 256 + len(merges))
        merges.append(pair)
        for new_pair in new_pairs:
            heapq.heappush(heap, (-words.pair_counts[new_pair], new_pair))
        if progress:
            progress(len(merges), n_merges)
    return merges


class _Words:
    """The distinct pre-tokens as lists of ids, how often each pair occurs in all of them, and in which words."""

    def __init__(self, counts: Mapping[str, int]):
        self.words = [list(word.encode()) for word in counts]
        self.counts = list(counts.values())
        self.pair_counts: dict[Pair, int] = defaultdict(int)
        self.holders: dict[Pair, set[int]] = defaultdict(set)  # may keep words that have lost the pair since
        for index, (word, count) in enumerate(zip(self.words, self.counts, strict=True)):
            for pair in pairwise(word):
                self.pair_counts[pair] += count
                self.holders[pair].add(index)

    def merge(self, pair: Pair, new: int) -> set[Pair]:
        """Replaces `pair` by the id `new` in every word, leftmost first; returns the pairs that hold `new`."""
        left, right = pair
        new_pairs: set[Pair] = set()
        for index in self.holders.pop(pair):
            word, count = self.words[index], self.counts[index]
            merged: list[int] = []
            position, last = 0, len(word) - 1
            while position <= last:
                if position == last or word[position] != left or word[position + 1] != right:
                    merged.append(word[position])
                    position += 1
                    continue
                position += 2
                if merged:
                    self.pair_counts[merged[-1], left] -= count
                    new_pairs.add(self._add((merged[-1], new), count, index))
                if position <= last:
                    self.pair_counts[right, word[position]] -= count
                    new_pairs.add(self._add((new, word[position]), count, index))
                merged.append(new)
            self.words[index] = merged
        self.pair_counts[pair] = 0
        # In a run such as "aaaa" a pair with `new` can arise and go again within this merge.
        return {new_pair for new_pair in new_pairs if self.pair_counts[new_pair]}

    def _add(self, pair: Pair, count: int, index: int) -> Pair:
        self.pair_counts[pair] += count
        self.holders[pair].add(index)
        return pair
