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
# # 4 · makemore: counting
#
# A language model says what comes next, and how sure it is. The smallest ones count. They need no gradient, they train
# in a second, and every network has to beat them, or it has learned nothing. After this lesson (about 40 minutes) you
# can
#
# - turn counts of pairs of characters into a model, and make new words with it,
# - measure any language model by one number, in nats per character, and say what the number means,
# - explain what smoothing is for, and why longer contexts help and then hurt,
# - say in which sense a neural network with one layer *is* a table of counts.
#
# The words are those of the names of all Unicode characters, which come with Python. (With Karpathy's `names.txt`, use
# `lines.read(Path("names.txt"))`, and compare your losses with his.)

# %%
import inspect
import math

import matplotlib.pyplot as plt
import numpy as np
from checks import makemore_counts as check
from checks import predicted

from llm_jax.models import ngram
from train.first_principles.makemore import counting, sampling
from train.first_principles.makemore.dataset import lines

data = lines.read(None)
characters = data.alphabet.alphabet.replace("\n", "·")
train, dev = data.splits["train"], data.splits["dev"]
print(len(train), "words to learn from, for example", [data.alphabet.decode(word) for word in train[:8]])
print(data.vocab_size, "characters:", characters)

# %% [markdown]
# A word is an array of ids. The line break, shown as `·`, has the id 0 and stands at both ends of every word: what
# follows it is how words begin, and where it follows, words end.
#
# ## Pairs
#
# How often does character $b$ follow character $a$?
#
# ### Exercise 1
# Count the pairs of one word, both ends included, into a matrix: `counts[a, b]`.


# %%
def count_pairs(word, vocab_size):
    """How often b follows a in `word`, a list of ids without its breaks: an array [vocab_size, vocab_size]."""
    ...


# %%
check.count_pairs(count_pairs)

# %% [markdown]
# Over all words:

# %%
counts = np.zeros((data.vocab_size, data.vocab_size))
for word in train:
    text = np.concatenate([[0], word, [0]])
    np.add.at(counts, (text[:-1], text[1:]), 1)

figure, axes = plt.subplots(figsize=(7.5, 7), layout="constrained")
axes.imshow(np.sqrt(counts), cmap="Blues")
axes.set_xticks(range(data.vocab_size), characters)
axes.set_yticks(range(data.vocab_size), characters)
axes.xaxis.tick_top()
axes.xaxis.set_label_position("top")
_ = axes.set(xlabel="next character", ylabel="character")

# %% [markdown]
# Find the dark cells of the row of `n`. What do they say? And the column of `·`: on which characters do words like to
# end?
#
# ## Probabilities
#
# Divide each row by its sum, and row $a$ says how probable each next character is: $p(b \mid a)$.
#
# ### Exercise 2
# Mind the axis. NumPy lines shapes up from the right, so `counts / counts.sum(axis=1)` divides *columns*, without a
# word of warning.


# %%
def to_probabilities(counts):
    """Row a: the probabilities of what follows a."""
    ...


# %%
check.to_probabilities(to_probabilities)

# %% [markdown]
# Draw from row `·`, then from the row of what came out, until `·` comes out again:

# %%
bigram = counting.fit(data, 2, smoothing=0.1)
for made in sampling.sample(bigram.log_probabilities, [], 8, data.longest, 1.0, seed=1):
    print(data.alphabet.decode(made))

# %% [markdown]
# Bad, but better than monkeys: the pairs are plausible, the words are not. How much better?
#
# ## One number
#
# A good model finds the words of a text it has not seen probable. The probability of a word is the product of the
# probabilities of its characters, and of its end. Products of thousands of small numbers vanish, so one takes
# logarithms, which turn the product into a sum; so that less is better, the sign is changed; so that texts of any
# length can be compared, one takes the mean:
#
# $$L = -\frac{1}{n} \sum_i \log p(c_i \mid \text{what came before})$$
#
# A model that knows nothing gives each of the 27 characters the same probability. What is its loss, in nats (natural
# logarithm)?

# %%
prediction = None

# %%
predicted("loss of guessing", prediction, math.log(data.vocab_size))

# %% [markdown]
# ### Exercise 3
# `probabilities[a, b]` is $p(b \mid a)$. The loss of one word (its end counts, too):


# %%
def loss_of_word(probabilities, word):
    """Mean −log p, in nats, over the characters of `word` (ids without breaks) and the break after it."""
    ...


# %%
check.loss_of_word(loss_of_word)

# %% [markdown]
# Between guessing (3.30) and knowing everything (0): where will the pairs be, on words they have not seen?

# %%
prediction = None

# %%
predicted("dev loss of the bigram", prediction, bigram.losses["dev"])
for name, value in bigram.losses.items():
    print(f"{name:5} {value:.4f} nats per character: as unsure as between {math.exp(value):.1f} equal choices")

# %% [markdown]
# ## What was never seen
#
# `qb` occurs in no training word. Its count is 0, so its probability is 0, so the loss of any text in which it occurs
# is infinite: the model called something impossible that has just happened. The cure is to pretend that every pair
# was seen α times more.
#
# ### Exercise 4
# The rows must still sum to 1.


# %%
def smoothed(counts, alpha):
    """Row a: the probabilities of what follows a, every pair counted `alpha` times more than it was seen."""
    ...


# %%
check.smoothed(smoothed)

# %% [markdown]
# ## Longer contexts
#
# Why only one character of context? Count triples, quadruples, … As long as they were seen often enough, the longer
# context knows more. Which order has the least *dev* loss, with α = 0.1? (2 is the bigram.)

# %%
prediction = None

# %%
orders = range(1, 8)
by_order = [counting.fit(data, order, 0.1).losses for order in orders]
best = min(orders, key=lambda order: by_order[order - 1]["dev"])
predicted("best order", prediction, best)

alphas = np.geomspace(1e-3, 10, 9)
trigrams = ngram.fit(counting.framed(train, 3), 3, data.vocab_size)
by_alpha = [counting.loss(trigrams, dev, alpha) for alpha in alphas]

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for name, color in (("train", "#9fb8d9"), ("dev", "#c2410c")):
    left.plot(orders, [losses[name] for losses in by_order], "o-", color=color, label=name)
left.axhline(math.log(data.vocab_size), color="#8a8f98", ls="--", label="guessing")
left.set(xlabel="order (characters counted together)", ylabel="nats per character", title="α = 0.1")
left.legend(frameon=False)
right.semilogx(alphas, by_alpha, "o-", color="#c2410c")
_ = right.set(xlabel="α", ylabel="dev loss of the trigram", title="smoothing")

# %% [markdown]
# The training loss falls (as far as smoothing lets it); the dev loss turns. At order 7 there are $27^6$ contexts, 390
# million, and the training words show at most 37,573 of them, mostly once. A context that was seen once predicts its
# one successor with great confidence, and is wrong. This is **overfitting**, and the reason why there is a dev split.
#
# Smoothing has a best amount, too: too little, and the unseen costs too much; too much, and the seen is forgotten.
#
# Look at the code. A context and its successor are one number in base 27, so counting is sorting, and memory grows
# with the text and not with $27^n$:

# %%
print(inspect.getsource(ngram.fit))

# %% [markdown]
# ## The same as a network
#
# Now without counting: a table $W$ of 27 × 27 numbers, all zero at first. Row $a$, through a softmax, is $p(b \mid a)$.
# Move the numbers against the gradient of the loss, a few hundred times. (Multiplying a one-hot vector by $W$ selects
# a row, so this is a linear layer.) How close to the counts' training loss will it come?

# %%
prediction = None

# %%
import dataclasses

import jax

from llm_jax.models.makemore import lookup
from train.first_principles.makemore import models, training
from train.first_principles.makemore.recipes import RECIPES

network = models.build(lookup.Config(data.vocab_size), data.longest)
examples = network.examples(train)
recipe = dataclasses.replace(RECIPES["neural-bigram"].recipe, steps=600)
*_, (_, params, _) = training.train(network, recipe, network.init(jax.random.key(0)), examples, 100)

least = counting.fit(data, 2, smoothing=0.0).losses["train"]
predicted("network's loss minus the counts'", prediction, training.evaluate(network, params, examples) - least)

# %%
figure, pictures = plt.subplots(1, 2, figsize=(10, 5), layout="constrained")
in_counts = np.exp(np.stack([bigram.log_probabilities(np.array([[0, a]]))[0] for a in range(data.vocab_size)]))
for axes, table, title in (
    (pictures[0], in_counts, "counted"),
    (pictures[1], np.asarray(jax.nn.softmax(params.table)), "learned"),
):
    axes.imshow(np.sqrt(table), cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(data.vocab_size), characters)
    axes.set_yticks(range(data.vocab_size), characters)
    axes.set_title(title)

# %% [markdown]
# The same table (look at the row of `q`).
#
# No table of this kind can have a lower loss than the frequencies, and gradient descent found them
# without being told how to count. So the network is no better, yet. But a table for seven characters of context is out
# of reach, while a network can be given more context and made to *share* what it learns between contexts. That is
# [lesson 5](05_makemore_networks.py).
#
# ## What you can now say
#
# - The loss of a language model is the mean surprise at the next character; $e^L$ is the number of equal choices.
# - Counts that are zero need smoothing; long contexts need more text than there is.
# - A softmax over a table of logits, trained to the end, is a table of frequencies.
#
# On the command line: `python -m train makemore --model ngram --order 4 --data names.txt`.
