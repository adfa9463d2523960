# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 9 · Tokenizers
#
# A model reads numbers, so text has to be cut into pieces that have a number. Which pieces? Three algorithms answer.
# After this lesson (about 60 minutes) you can
#
# - train byte-pair encoding by hand, and find the fault in a published walk-through,
# - give each segmentation of a word a probability, and find the best one without listing them all,
# - say why the longest match is not the best, and where BERT takes it all the same,
# - say what a vocabulary learnt from one language costs the speakers of another.

# %%
import math
import random
from collections import Counter
from itertools import pairwise

import matplotlib.pyplot as plt
from checks import predicted
from checks import tokenizers as check

from llm_jax.tokenizer import train_bpe
from llm_jax.tokenizer.unigram.lattice import Lattice
from llm_jax.tokenizer.unigram.train import train_unigram
from llm_jax.tokenizer.wordpiece.train import learn as learn_wordpiece

BLUE, RED = "#1d5fbf", "#c2410c"
WORDS = {"hug": 10, "pug": 5, "pun": 12, "bun": 4, "hugs": 5}  # the corpus of Hugging Face's course: word → count

# %% [markdown]
# ## Byte-pair encoding
#
# Begin with characters. Count every pair of neighbours in the corpus, join the commonest pair into a new symbol, and do
# that again, as often as you want new symbols (Sennrich et al. 2016). Words are counted once and carry their count; no
# pair reaches from one word into the next.
#
# ### Exercise 1
# `words` is a list of (symbols, count), such as `(["h", "u", "g"], 10)`. Return a dict: pair → how often it occurs.


# %%
def count_pairs(words):
    """{(left, right): count} of all neighbours in all words."""
    ...


# %%
check.count_pairs(count_pairs)

# %% [markdown]
# The commonest pair is joined from left to right. In `a a a b` the pair (a, a) stands at two places, but they overlap:
# only the left one becomes `aa`.
#
# ### Exercise 2


# %%
def join(symbols, pair):
    """The list with every occurrence of `pair` joined into one string, leftmost first."""
    ...


# %%
check.join(join)


# %% [markdown]
# With these two, training is a loop. Among pairs of equal count the smaller one wins here, so that everybody gets the
# same.


# %%
def joined(symbols, pair):
    out = []
    for symbol in symbols:
        if out and (out[-1], symbol) == pair:
            out[-1] += symbol
        else:
            out.append(symbol)
    return out


def learn_pairs(counts, n_merges):
    words = [(list(word), count) for word, count in counts.items()]
    merges = []
    for _ in range(n_merges):
        pairs = Counter()
        for symbols, count in words:
            for pair in pairwise(symbols):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append((*best, pairs[best]))
        words = [(joined(symbols, best), count) for symbols, count in words]
    return merges, words


# %% [markdown]
# Which pair of the corpus comes first, and how often does it occur? Look at `WORDS`, and write the number down.

# %%
prediction = None

# %%
merges, words = learn_pairs(WORDS, 4)
for left, right, count in merges:
    print(f"{left} + {right}: {count}")
print([symbols for symbols, _ in words])
predicted("occurrences of the first pair", prediction, merges[0][2])

# %% [markdown]
# ### A walk-through that goes wrong
#
# A published notebook for students trains on the text `aaabdaaabac`. After its first merge, of `aa`, it says the data
# are
#
# > `aa`, `ab`, `d`, `aa`, `ab`, `a`, `c`
#
# and after the second, of `ab`, they are the same. Then the pair `aaab` is said to come.
#
# ### Exercise 3
# Return what the data really are after the first merge and after the second, where the pair (a, b) is joined, as two
# lists.


# %%
def walk_through():
    """(data after joining a + a, data after joining a + b then)"""
    ...


# %%
check.walk_through(walk_through)

# %% [markdown]
# The notebook joined two pairs in one step, so its second step had nothing left to do. A hand-made example deserves a
# program beside it.
#
# ## A probability for each segmentation
#
# The unigram model (Kudo 2018) gives each piece a probability of its own, and a segmentation the product. The course
# takes all substrings of its corpus that occur at least twice, and counts them:

# %%
COUNTS = {"h": 15, "u": 36, "g": 20, "hu": 15, "ug": 20, "p": 17, "pu": 17, "n": 16, "un": 16, "b": 4, "bu": 4}
COUNTS |= {"s": 5, "hug": 15, "gs": 5, "ugs": 5}
TOTAL = sum(COUNTS.values())
print("all together", TOTAL)

# %% [markdown]
# ### Exercise 4
# The probability of one segmentation, such as `["p", "u", "g"]`: the product of count/total over its pieces. The
# course's own text says 0.000389 for that one. What do you find?


# %%
def probability(pieces, counts):
    """Π count / Σ of all counts."""
    ...


# %%
check.probability(probability)

# %% [markdown]
# *pug* can also be `p` + `ug` or `pu` + `g`. How many times more probable is the better of the two than `p`, `u`, `g`?

# %%
prediction = None

# %%
alternatives = [["p", "u", "g"], ["p", "ug"], ["pu", "g"]]
chances = [math.prod(COUNTS[piece] / TOTAL for piece in pieces) for pieces in alternatives]
for pieces, chance in zip(alternatives, chances, strict=True):
    print(f"{' '.join(pieces):8} {chance:.6f}")
predicted("times more probable", prediction, max(chances[1:]) / chances[0])

# %% [markdown]
# Each piece costs a factor below 1, so fewer pieces are usually better, and that is why this model makes long pieces.
#
# ## Viterbi: the best of exponentially many
#
# A word of n letters has 2^(n−1) segmentations. But the best one of the whole word begins with the best one of some
# beginning of it, so one number for each place is enough:
#
# $$\text{best}(j) = \max_{i<j} \; \text{best}(i) + \log p(\text{text}[i:j]), \qquad \text{best}(0) = 0$$
#
# ### Exercise 5
# `scores` maps a piece to its log probability. Return the pieces of the best segmentation and its score.


# %%
def best_segmentation(text, scores):
    """(pieces, score)"""
    ...


# %%
check.best_segmentation(best_segmentation)

# %% [markdown]
# Is this more than taking the longest piece that fits, again and again? A vocabulary in which `undo` is looked up:

# %%
UNDO = {"un": -2.0, "und": -3.0, "do": -2.5, "u": -6.0, "n": -6.0, "d": -6.0, "o": -6.0}


def longest_match(text, pieces):
    found, start = [], 0
    while start < len(text):
        stop = next(stop for stop in range(len(text), start, -1) if text[start:stop] in pieces)
        found.append(text[start:stop])
        start = stop
    return found


# %% [markdown]
# The longest match takes `und`. What is the score of its segmentation, and how far is it below the best?

# %%
prediction = None

# %%
greedy = longest_match("undo", UNDO)
lattice = Lattice("undo", UNDO)
for path, score in lattice.n_best(4):
    print(f"{' '.join('undo'[edge.start : edge.stop] for edge in path):10} {score:.1f}")
greedy_score = sum(UNDO[piece] for piece in greedy)
print("longest match:", greedy)
predicted("below the best by", prediction, lattice.n_best(1)[0][1] - greedy_score)

# %% [markdown]
# ## Which piece can go?
#
# Training begins with too many pieces and removes those that cost least. The cost is the loss of the corpus, Σ count ·
# −log p(best segmentation), without the piece, less the loss with it. `hug` stands in 15 of 36 words; `pu` in 17. Which
# of the two can go more cheaply? Predict what removing `hug` costs.

# %%
prediction = None


# %%
def corpus_loss(counts, total=TOTAL):
    scores = {piece: math.log(count / total) for piece, count in counts.items()}
    return -sum(n * Lattice(word, scores).n_best(1)[0][1] for word, n in WORDS.items())


whole = corpus_loss(COUNTS)
costs = {}
for piece in ("hug", "pu", "un", "ugs"):
    costs[piece] = corpus_loss({other: count for other, count in COUNTS.items() if other != piece}) - whole
    print(f"without {piece:4} {costs[piece]:+.2f}")
print(f"with all {whole:.2f}")
predicted("hug costs", prediction, costs["hug"])

# %% [markdown]
# `pu` costs nothing: wherever it stands, something else is as good.
#
# ## WordPiece
#
# BERT's vocabulary comes from merges, too, but with another score, count(pair) / (count(left) · count(right)). And it
# encodes by longest match.
#
# ### Exercise 6
# `pairs` and `singles` are counts. Return the pair with the best score (the first among equals).


# %%
def best_wordpiece_pair(pairs, singles):
    """The pair with the largest count / (count of left · count of right)."""
    ...


# %%
check.best_wordpiece_pair(best_wordpiece_pair)

# %%
pieces = learn_wordpiece(WORDS, 5 + 7 + 4).pieces
print("letters", pieces[5:12], "merges", pieces[12:])

# %% [markdown]
# Byte-pair encoding began with `u + g`, this with `##g + ##s`: an `s` never comes without its `g`, while `u` has many
# neighbours. The course says `hug` comes before `hugs`; count once more: after `##gs` has gone, `##g` is left 15 times,
# so `hu ##g` has 10/(15 · 15) = 0.044 and `hu ##gs` 5/(15 · 5) = 0.067.
#
# ## The price of a vocabulary
#
# The same two sentences in four languages. A byte-level vocabulary is learnt from the English ones alone, and can
# write everything, since every byte is a token. How many times more tokens does Thai need than English?

# %%
SENTENCES = {
    "English": "All human beings are born free and equal in dignity and rights. They are endowed with reason and "
    "conscience and should act towards one another in a spirit of brotherhood.",
    "Indonesian": "Semua orang dilahirkan merdeka dan mempunyai martabat dan hak-hak yang sama. Mereka dikaruniai akal "
    "dan hati nurani dan hendaknya bergaul satu sama lain dalam semangat persaudaraan.",
    "Chinese": "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。",
    "Thai": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม และควรปฏิบัติต่อกันด้วยเจตนารมณ์แห่งภราดรภาพ",
}
prediction = None

# %%
english = train_bpe([SENTENCES["English"] * 3], 350)
balanced = train_bpe(list(SENTENCES.values()), 500)
counts = {name: [len(t.encode(text)) for t in (english, balanced)] for name, text in SENTENCES.items()}
for name, (alone, together) in counts.items():
    print(f"{name:11} {alone:4} tokens, learnt from all four {together:4}")
predicted("times more tokens", prediction, counts["Thai"][0] / counts["English"][0])

figure, axes = plt.subplots(figsize=(6, 2.6))
places = range(len(counts))
axes.barh([place + 0.2 for place in places], [pair[0] for pair in counts.values()], 0.4, color=BLUE, label="English")
axes.barh([place - 0.2 for place in places], [pair[1] for pair in counts.values()], 0.4, color=RED, label="all four")
axes.set_yticks(list(places), list(counts))
axes.set_xlabel("tokens of the same text")
axes.legend(title="vocabulary learnt from", frameon=False)
figure.tight_layout()

# %% [markdown]
# Time, memory and money are paid per token, and a context holds so many tokens: whose language was not in the text that
# the tokenizer was learnt from pays several times over.
#
# ## Several ways to say the same
#
# A unigram vocabulary can draw a segmentation by chance, in proportion to its probability. A model that sees a word cut
# in several ways learns what its pieces mean (subword regularisation).

# %%
vocabulary = train_unigram([SENTENCES["English"] + "\n" + SENTENCES["Indonesian"] + "\n"] * 4, 320)
tokenizer, generator = vocabulary.tokenizer(), random.Random(0)
for _ in range(4):
    ids = vocabulary.sample("born free and equal", generator, sharpness=0.3)
    print(*map(tokenizer.id_to_token, ids))
print("the best:", *map(tokenizer.id_to_token, vocabulary.encode("born free and equal")))

# %% [markdown]
# ## What to remember
#
# - Byte-pair encoding joins the commonest pair; WordPiece the pair that is commoner than its halves let expect; unigram
#   begins with all and takes away.
# - Viterbi finds the best segmentation in one pass; the longest match is a guess at it.
# - A tokenizer is learnt from text, and treats best what it was learnt from.
#
# The programs are `llm_jax/tokenizer/bpe`, `unigram` and `wordpiece`; `python -m train tokenizer` trains one from your
# text.
