# %% [markdown]
# # Solutions of lesson 11

# %%
import math

import numpy as np

# %% [markdown]
# **1.** Rare words would get more than 1.


# %%
def kept(share, t):
    return min(1.0, (math.sqrt(share / t) + 1) * t / share)


# %% [markdown]
# **2.** First the power, then the sum.


# %%
def drawn(counts):
    power = counts**0.75
    return power / power.sum()


# %% [markdown]
# **3.** The label is 1 for y and 0 for the others: each score's derivative is σ − label.


# %%
def pair_gradients(x, y, negatives):
    def sigmoid(s):
        return 1 / (1 + np.exp(-s))

    of_y = sigmoid(x @ y) - 1
    of_negatives = sigmoid(negatives @ x)
    return of_y * y + of_negatives @ negatives, of_y * x, of_negatives[:, None] * x


# %% [markdown]
# **4.** With the three left in, the answer would mostly be c.


# %%
def analogy(vectors, a, b, c):
    wanted = vectors[b] - vectors[a] + vectors[c]
    return max((word for word in vectors if word not in (a, b, c)), key=lambda word: vectors[word] @ wanted)


# %% [markdown]
# **5.** The sums of rows and columns are the words' own counts.


# %%
def ppmi(counts):
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0, keepdims=True) / counts.sum()
    out = np.zeros(counts.shape)
    seen = counts > 0
    out[seen] = np.log(counts[seen] / expected[seen])
    return np.maximum(out, 0)


# %% [markdown]
# **6.** Padding counts neither above nor below the line.


# %%
def sentence_vectors(hidden, is_token):
    return (hidden * is_token[:, :, None]).sum(axis=1) / is_token.sum(axis=1)[:, None]


# %% [markdown]
# **7.** Row by row.


# %%
def similarities(a, b):
    return (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
