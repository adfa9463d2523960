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
# # 11 · Embeddings
#
# A token's number says nothing about it: 17 is not near 18. An embedding gives each word, or each sentence, a vector,
# so that what is used alike lies near. After this lesson (about 60 minutes) you can
#
# - say why a lookup in a table is a matrix product, and what its gradient is,
# - derive and compute the step of skip-gram with negative sampling, as word2vec.c makes it,
# - answer an analogy with vectors, and say what makes the published answers look better than they are,
# - get one vector for a sentence, and name the three mistakes that make a good encoder bad.

# %%
import math
import random

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from checks import embeddings as check
from checks import predicted

from llm_jax.models.embeddings import counting, training, vocabulary
from llm_jax.models.embeddings.config import SkipGramConfig
from llm_jax.models.embeddings.lookup import lookup, one_hot_product

BLUE, RED = "#1d5fbf", "#c2410c"

# %% [markdown]
# ## A row of a table
#
# `E[i]` copies row i. The product of a one-hot vector with E gives the same row, by multiplying all others with zero.
# So a lookup is linear in E, and its gradient is that of a product.

# %%
table = jnp.arange(12.0).reshape(4, 3)
ids = jnp.array([2, 0, 2])
print(jax.nn.one_hot(ids, 4))
print("equal:", bool((lookup(table, ids) == one_hot_product(table, ids)).all()))

# %% [markdown]
# A vocabulary of 50,000 words and vectors of 768 numbers: how many multiplications does the product need for ONE word,
# in millions?

# %%
prediction = None

# %%
predicted("million multiplications", prediction, 50_000 * 768 / 1e6)

# %% [markdown]
# The lookup needs none. The gradient of `(E[ids] * dy).sum()` with respect to E: which rows are zero, and what stands
# in the row that was looked up twice?

# %%
dy = jnp.ones((3, 3)) * jnp.array([[1.0], [10.0], [100.0]])
print(jax.grad(lambda table: (lookup(table, ids) * dy).sum())(table))

# %% [markdown]
# ## A text with a structure that we know
#
# Words are known by the company they keep. To see whether vectors find a structure, we need one that is there:
# sentences made by rules, about kings and queens, animals, and food.

# %%
PEOPLE = [("king", "queen"), ("man", "woman"), ("boy", "girl"), ("father", "mother"), ("uncle", "aunt")]
ROLES = [["rules", "reigns"], ["works", "walks"], ["plays", "learns"], ["cares", "cooks"], ["visits", "travels"]]
PLACES = [["palace", "throne"], ["street", "office"], ["school", "garden"], ["kitchen", "house"], ["ship", "train"]]
OF_HIM, OF_HER = ["he", "his", "himself", "beard"], ["she", "her", "herself", "dress"]
ANIMALS, NOISES = ["dog", "cat", "horse", "bird"], ["barks", "purrs", "runs", "sings"]
FOOD, TASTES = ["bread", "soup", "apple", "rice"], ["hot", "fresh", "sweet", "white"]


def sentence(draw):
    kind = draw.random()
    if kind < 0.6:
        which, is_woman = draw.randrange(len(PEOPLE)), draw.random() < 0.5
        person = f"the {PEOPLE[which][is_woman]} {draw.choice(ROLES[which])} in the {draw.choice(PLACES[which])}"
        says_more = draw.random() < 0.1
        return f"{person} and {draw.choice(OF_HER if is_woman else OF_HIM)} too" if says_more else person
    if kind < 0.8:
        which = draw.randrange(4)
        return f"the {ANIMALS[which]} {NOISES[which]} and {draw.choice(NOISES)} near the {draw.choice(ANIMALS)}"
    return f"the {draw.choice(FOOD)} and the {draw.choice(FOOD)} taste {draw.choice(TASTES)} and {draw.choice(TASTES)}"


draw = random.Random(0)
sentences = [sentence(draw).split() for _ in range(6000)]
words = vocabulary.count(sentences, 5)
text = vocabulary.encode(sentences, words)
print(len(words), "words;", *sentences[:3], sep="\n")

# %% [markdown]
# ## Thinning out frequent words
#
# `the` stands beside everything and tells nothing. word2vec.c keeps an occurrence of a word with share f of the text
# with probability
#
# $$\left(\sqrt{f/t} + 1\right) \cdot \frac{t}{f}$$
#
# but at most 1. (The paper has another formula, leaving out with 1 − √(t/f); the program is what everybody used.)
#
# ### Exercise 1


# %%
def kept(share, t):
    """The probability that an occurrence is kept, as in word2vec.c."""
    ...


# %%
check.kept(kept)

# %% [markdown]
# With t = 0.001, which share of the occurrences of `the` stays? Its share of the text is printed; write your number
# down before you go on.

# %%
share = float(words.counts[0] / words.counts.sum())
print(words.words[0], f"{share:.3f}")
prediction = None

# %%
predicted("share that stays", prediction, float(words.kept(1e-3)[0]))

# %% [markdown]
# ## Negative sampling
#
# Of a pair of neighbours (x, y), the model shall say "yes", of x and a word drawn by chance "no". The words are drawn
# in proportion to count^0.75, between their frequency and all alike.
#
# ### Exercise 2


# %%
def drawn(counts):
    """The probability of each word, given an array of counts."""
    ...


# %%
check.drawn(drawn)

# %% [markdown]
# The loss of a pair, with $x$ the neighbour's vector, $y$ the middle word's, and $n_k$ those drawn:
#
# $$-\log \sigma(x \cdot y) - \sum_k \log \sigma(-x \cdot n_k)$$
#
# Before training all y are zero. What is the loss with K = 5 negatives, in nats?

# %%
prediction = None

# %%
predicted("loss before training", prediction, -6 * math.log(0.5))

# %% [markdown]
# ### Exercise 3
# The gradients of that loss. `x` and `y` are vectors, `negatives` has a vector in each row. The derivative of log σ(s)
# is 1 − σ(s). `sigmoid` is given.


# %%
def sigmoid(s):
    return 1 / (1 + np.exp(-s))


def pair_gradients(x, y, negatives):
    """(dx, dy, dnegatives)"""
    ...


# %%
check.pair_gradients(pair_gradients)

# %% [markdown]
# ## Training
#
# The library does the same for a block of text at once: all scores of a block are one matrix product, and both
# gradients are two more.

# %%
config = SkipGramConfig(width=24, window=4, epochs=20, subsample=1e-2, rate=0.05)
matrix = np.asarray(training.train(text, words, config).neighbour)
unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
number = {word: i for i, word in enumerate(words.words)}


def nearest_words(vector, k=5, without=()):
    order = [words.words[i] for i in np.argsort(-(unit @ vector))]
    return [word for word in order if word not in without][:k]


for word in ("king", "dog", "soup", "she"):
    print(f"{word:6}", *nearest_words(unit[number[word]], without={word}))

# %% [markdown]
# ## Analogies
#
# a is to b as c is to what? The nearest word to b − a + c, for unit vectors. The published programs leave a, b and c
# out of the answers.
#
# ### Exercise 4
# `vectors` maps words to unit vectors. Return the word with the largest dot product with b − a + c that is none of the
# three.


# %%
def analogy(vectors, a, b, c):
    """The answer: a word."""
    ...


# %%
check.analogy(analogy)

# %% [markdown]
# Twenty questions of the form "king is to queen as man is to …": all pairs of pairs of `PEOPLE`. How many of the 20 are
# right when the question's words are left out, and how many when they are not? Predict the second.

# %%
prediction = None


# %%
def answered(leave_out):
    right = 0
    for he, she in PEOPLE:
        for other, answer in PEOPLE:
            if other != he:
                wanted = unit[number[she]] - unit[number[he]] + unit[number[other]]
                right += nearest_words(wanted, 1, {he, she, other} if leave_out else ())[0] == answer
    return right


print("left out:", answered(True), "of 20")
predicted("right with them in", prediction, answered(False))

# %% [markdown]
# The nearest word to b − a + c is mostly c itself: the difference b − a is short beside c. Leaving the question's words
# out is a large part of the famous result (Linzen 2016; Rogers et al. 2017).
#
# ## Counting instead
#
# Skip-gram with negative sampling factors a matrix of counts (Levy & Goldberg 2014): the pointwise mutual information
# log(n(x, y)·N / (n(x)·n(y))). What is below 0 or never seen becomes 0.
#
# ### Exercise 5
# `counts` is a symmetric matrix: how often x and y stand together. Return the positive PMI, with natural logarithms;
# where the count is 0, the result is 0.


# %%
def ppmi(counts):
    """max(0, log(n(x, y)·N / (n(x)·n(y)))), N the sum of all counts."""
    ...


# %%
check.ppmi(ppmi)

# %%
by_counts = counting.vectors(text, words, 2, 4)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6))
centred = unit - unit.mean(axis=0)
by_skip_gram = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
groups = {BLUE: [w for pair in PEOPLE for w in pair], RED: ANIMALS + NOISES, "#15803d": FOOD + TASTES}
for axis, xy, title in zip(axes, (by_skip_gram, by_counts), ("skip-gram, two components", "PPMI and SVD"), strict=True):
    for colour, group in groups.items():
        rows = [number[word] for word in group]
        axis.scatter(xy[rows, 0], xy[rows, 1], color=colour, s=12)
        for word, row in zip(group, rows, strict=True):
            axis.annotate(word, xy[row], fontsize=7)
    axis.set_title(title)
figure.tight_layout()

# %% [markdown]
# ## One vector for a sentence
#
# An encoder gives a hidden state for each token, and a sentence needs one vector. Sentences of a batch are padded to
# the longest. The usual vector is the mean of the states of the sentence's own tokens.
#
# ### Exercise 6
# `hidden` has shape (sentences, tokens, width), `is_token` (sentences, tokens) is True where a token stands.


# %%
def sentence_vectors(hidden, is_token):
    """(sentences, width): the mean over each sentence's own tokens."""
    ...


# %%
check.sentence_vectors(sentence_vectors)

# %% [markdown]
# And the similarity of two sentences is the cosine: the dot product of the vectors divided by their lengths.
#
# ### Exercise 7


# %%
def similarities(a, b):
    """The cosine of each row of a with the same row of b."""
    ...


# %%
check.similarities(similarities)

# %% [markdown]
# all-MiniLM-L6-v2, a published encoder, reaches a rank correlation of 82.03 with people's judgements on the test set of
# the STS benchmark, with the masked mean and the cosine. The same states, read wrongly, raise no error. What is left if
# the padding is averaged in (batches of 64), if the first token's state is taken, and if the dot product is not
# normalised? Order the three, and predict the worst.

# %%
prediction = None

# %%
MEASURED = {"masked mean, cosine": 82.03, "padding averaged in": 79.07, "first token": 73.50, "dot product": 53.77}
MEASURED |= {"mean of the token embeddings, no encoder": 50.89, "GloVe, mean (sbert.net)": 58.02}
for way, figure_of_it in sorted(MEASURED.items(), key=lambda pair: -pair[1]):
    print(f"{way:42} {figure_of_it:.2f}")
predicted("the worst of the three", prediction, MEASURED["dot product"])

# %% [markdown]
# These figures are tests of this project (`tests/real/test_minilm.py`). The padding's share depends on the batch: the
# same sentence gets another vector beside other sentences, which no index of vectors survives.
#
# ## What to remember
#
# - A lookup is a product with a one-hot vector; its gradient adds up in the rows that were looked up.
# - Skip-gram asks of pairs whether they are neighbours; counting them and taking logarithms leads to the same place.
# - Before you believe an analogy, ask what was left out of the answers.
# - Mean over tokens, not over padding; cosine, not the dot product; and the pooling that the model was trained with.
#
# The programs: `llm_jax/models/embeddings`, `llm_jax/models/encoder`; `python -m train embeddings` for your text, and
# `python -m serve search` to search a folder by meaning.
