# %% [markdown]
# # Solutions of lesson 4

# %%
import itertools

import numpy as np

# %% [markdown]
# **1.** The word with its breaks, against itself shifted by one. (`counts[a, b] += 1` for whole index arrays would
# count a pair that occurs twice only once; `np.add.at` adds each.)


# %%
def count_pairs(word, vocab_size):
    text = [0, *word, 0]
    counts = np.zeros((vocab_size, vocab_size))
    for a, b in itertools.pairwise(text):
        counts[a, b] += 1
    return counts


# %% [markdown]
# **2.** `keepdims` leaves the sums a column, which broadcasting then stretches over each row.


# %%
def to_probabilities(counts):
    return counts / counts.sum(axis=1, keepdims=True)


# %% [markdown]
# **3.** One more prediction than there are characters: the end.


# %%
def loss_of_word(probabilities, word):
    text = np.array([0, *word, 0])
    return -np.log(probabilities[text[:-1], text[1:]]).mean()


# %% [markdown]
# **4.** Add first, then divide: the sum of a row grows by α for *every* character of the alphabet.


# %%
def smoothed(counts, alpha):
    counts = counts + alpha
    return counts / counts.sum(axis=1, keepdims=True)
