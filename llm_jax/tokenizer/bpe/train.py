"""Learning a byte-pair vocabulary from text (Sennrich et al. 2016, algorithm 1, over bytes).

The textbook counts all pairs of the whole text anew for each merge. Three observations make plain Python fast enough,
with the same result (rustbpe in nanochat and Hugging Face's trainer rest on them too):

1. No merge crosses the border of a pre-token, so each distinct pre-token is kept once, with its count. Twelve
   megabytes of Python source have 50,000 of them.
2. A merge changes the counts of its neighbours only. `Words` knows which words hold a pair, and updates the counts
   there.
3. The most frequent pair is on top of a heap. The count of an old pair can only fall, so an entry that is out of date
   is met too early, never too late: it goes back with its new count.

Among pairs of equal count the smallest pair of symbols wins, so the same text gives the same vocabulary everywhere.
`train_bpe` numbers the bytes as Hugging Face's trainer does, so that its merges are the same, one by one.
"""

import heapq
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from llm_jax.config.values import whole_number
from llm_jax.tokenizer.bpe.counting import count_pre_tokens
from llm_jax.tokenizer.bpe.encode import BytePairTokenizer
from llm_jax.tokenizer.bpe.pairs import Words
from llm_jax.tokenizer.bpe.patterns import GPT2_PATTERN
from llm_jax.tokenizer.hf_files.tokenizer_json import byte_characters
from llm_jax.tokenizer.protocol import END_OF_TEXT
from llm_jax.tokenizer.special import grown

Pair = tuple[int, int]
Progress = Callable[[int, int], None]

# Bytes in the order of their characters in a tokenizer.json, where a space comes behind the letters.
_HUGGING_FACE_ORDER = sorted(range(256), key=byte_characters().__getitem__)
_TO_HUGGING_FACE = {byte: number for number, byte in enumerate(_HUGGING_FACE_ORDER)}

logger = logging.getLogger(__name__)


def train_bpe(
    texts: Iterable[str],
    vocab_size: int,
    pattern: str = GPT2_PATTERN,
    special_tokens: Sequence[str] = (END_OF_TEXT,),
    progress: Progress | None = None,
    processes: int = 1,
) -> BytePairTokenizer:
    """Learns `vocab_size` tokens: ids 0…255 are the bytes, then the merges in order, then the special tokens.

    `texts` may be a generator: only the distinct pre-tokens stay in memory. `progress(done, total)` is called after
    each merge. `processes` is how many count pre-tokens. Where the texts run out of pairs, the vocabulary is smaller,
    and the log says so. Text that spells one of `special_tokens` is not learnt: the text is split at it, as in encoding
    with that token allowed. Raises ValueError if `vocab_size` has no room for the bytes and special tokens, or
    a text holds a surrogate.

    >>> train_bpe(["low lower lowest"], vocab_size=260).encode("low")
    [257]
    """
    if isinstance(special_tokens, str) or len(set(special_tokens)) < len(special_tokens):
        raise ValueError(f"special_tokens must be distinct strings in a sequence; got {special_tokens!r}")
    grown({}, special_tokens, 0)  # refuses a faulty spelling before the work, not after it
    vocab_size = whole_number("vocab_size", vocab_size)
    n_merges = vocab_size - 256 - len(special_tokens)
    if n_merges < 0:
        raise ValueError(
            f"vocab_size must be at least {256 + len(special_tokens)} (256 bytes and {len(special_tokens)} special "
            f"tokens); got {vocab_size}"
        )
    counts = count_pre_tokens(texts, pattern, special_tokens, processes)
    words = Words((_as_symbols(word).translate(_TO_HUGGING_FACE) for word in counts), counts.values())
    merges = merges_of(words, 256, n_merges, progress)
    if len(merges) < n_merges:
        logger.warning(
            f"the texts have pairs for {len(merges)} of {n_merges} merges: "
            f"the vocabulary has {vocab_size - n_merges + len(merges)} tokens, not {vocab_size}"
        )
    tokens = [bytes([byte]) for byte in _HUGGING_FACE_ORDER]
    for left, right in merges:
        tokens.append(tokens[left] + tokens[right])
    tokens[:256] = [bytes([byte]) for byte in range(256)]
    return BytePairTokenizer(
        ranks={token: rank for rank, token in enumerate(tokens)},
        pattern=pattern,
        special_tokens={special: len(tokens) + index for index, special in enumerate(special_tokens)},
    )


def learn_merges(counts: Mapping[str, int], n_merges: int, progress: Progress | None = None) -> list[Pair]:
    """The pairs of ids to merge, in order; the merge at index i makes id 256 + i. Fewer where the pairs run out."""
    return merges_of(Words(map(_as_symbols, counts), counts.values()), 256, n_merges, progress)


def merges_of(words: Words, n_symbols: int, n_merges: int, progress: Progress | None = None) -> list[Pair]:
    """The pairs of symbols to merge, in order; the merge at index i makes symbol `n_symbols` + i."""
    heap = [(-count, pair) for pair, count in words.counts.items()]
    heapq.heapify(heap)
    merges: list[Pair] = []
    while heap and len(merges) < n_merges:
        negative_count, pair = heapq.heappop(heap)
        count = words.counts[pair]
        if count != -negative_count:
            if count:
                heapq.heappush(heap, (-count, pair))
            continue
        new = chr(n_symbols + len(merges))
        merges.append((ord(pair[0]), ord(pair[1])))
        for changed in words.merge(pair, new):
            # In a run such as "aaaa" a pair with `new` can arise and go again within this merge.
            if new in changed and (count := words.counts[changed]):
                heapq.heappush(heap, (-count, changed))
        if progress:
            progress(len(merges), n_merges)
    return merges


def _as_symbols(word: str) -> str:
    """The bytes of a word, each as the character of its number."""
    return word.encode().decode("latin-1")
