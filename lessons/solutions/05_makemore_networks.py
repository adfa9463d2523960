# %% [markdown]
# # Solutions of lesson 5

# %%
import numpy as np

# %% [markdown]
# **1.** The window slides: the oldest character leaves, the newest enters.


# %%
def windows_of(word, context):
    inputs, targets, window = [], [], [0] * context
    for character in [*word, 0]:
        inputs.append(window)
        targets.append(character)
        window = [*window[1:], character]
    return inputs, targets


# %% [markdown]
# **2.** Indexing with (B, T) gives (B, T, E); the last two axes, read in order, are the vectors side by side.


# %%
def embed(table, ids):
    return table[ids].reshape(len(ids), -1)


# %% [markdown]
# **3.** The largest logit of each row is taken out, so the largest exponential is 1.


# %%
def cross_entropy(logits, targets):
    logits = logits - logits.max(axis=1, keepdims=True)
    return (np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(targets)), targets]).mean()


# %% [markdown]
# **4.** In memory, the vectors of neighbours already lie side by side.


# %%
def fuse_pairs(x):
    batch, length, width = x.shape
    return x.reshape(batch, length // 2, 2 * width)
