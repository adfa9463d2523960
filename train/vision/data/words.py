"""The vocabulary of a world, and every question with every answer as a row of tokens.

A row is `question` + line feed + `answer:` + ` answer` + the token that ends a text. What is seen stands before it: as
placeholders, as words or as codes. The loss is on the answer and the end alone. Every word that occurs is one token,
for the byte-pair vocabulary is learnt until no pairs are left.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from llm_jax.tokenizer import END_OF_TEXT, GPT2_PATTERN, BytePairTokenizer, train_bpe
from llm_jax.tokenizer.bpe.counting import count_pre_tokens
from llm_jax.tokenizer.bpe.train import learn_merges
from train.vision.data.world import World

IMAGE = "<image>"
ASKS = "\nanswer:"  # between a question and its answer


@dataclass(frozen=True)
class Words:
    """Token ids of a world's texts."""

    tokenizer: BytePairTokenizer
    rows_QAT: np.ndarray  # question, answer, end; then padding with the end
    weights_QAT: np.ndarray  # 1 on the answer and the end
    words_KW: np.ndarray  # for each place the token of each word; padded
    first_Q: np.ndarray  # where in its row the first token of the answer stands

    @property
    def vocab_size(self) -> int:
        return self.tokenizer.vocab_size

    @cached_property
    def image_token(self) -> int:
        return self.tokenizer.special_tokens[IMAGE]

    @cached_property
    def end(self) -> int:
        return self.tokenizer.special_tokens[END_OF_TEXT]

    @property
    def length(self) -> int:
        """Tokens of a row."""
        return self.rows_QAT.shape[2]


def words_of(world: World) -> Words:
    """Learns the vocabulary of a world and encodes all its rows."""
    said = sorted({f" {word}" for place in world.places for word in place} | {f" {answer}" for answer in world.answers})
    tokenizer = _learnt([*world.questions, ASKS, *said, " ?"])
    asked = [tokenizer.encode(question + ASKS) for question in world.questions]
    answered = [tokenizer.encode(f" {answer}") for answer in world.answers]
    end = tokenizer.special_tokens[END_OF_TEXT]
    length = max(map(len, asked)) + max(map(len, answered)) + 1
    rows = np.full((len(asked), len(answered), length), end, np.int32)
    weights = np.zeros(rows.shape, np.float32)
    for q, question in enumerate(asked):
        for a, answer in enumerate(answered):
            stop = len(question) + len(answer)
            rows[q, a, :stop] = [*question, *answer]
            weights[q, a, len(question) : stop + 1] = 1
    widest = max(map(len, world.places))
    words = np.zeros((len(world.places), widest), np.int32)
    for place, names in enumerate(world.places):
        words[place, : len(names)] = [_one_token(tokenizer, f" {name}") for name in names]
    return Words(tokenizer, rows, weights, words, np.array([len(question) for question in asked]))


def _learnt(texts: list[str]) -> BytePairTokenizer:
    special = (END_OF_TEXT, IMAGE)
    counts: Counter[str] = Counter(count_pre_tokens(texts, GPT2_PATTERN, special, 1))
    n_merges = len(learn_merges(counts, 1 << 20))
    return train_bpe(texts, 256 + n_merges + len(special), special_tokens=special)


def _one_token(tokenizer: BytePairTokenizer, word: str) -> int:
    (number,) = tokenizer.encode(word)
    return number
