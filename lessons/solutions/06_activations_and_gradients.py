# %% [markdown]
# # Solutions of lesson 6

# %%
import numpy as np

# %% [markdown]
# **1.** Dead means saturated for *all* examples, not for some.


# %%
def count_dead(activations, limit=0.99):
    return int((np.abs(activations) > limit).all(axis=0).sum())


# %% [markdown]
# **2.** The number of inputs counts: each output is a sum over them.


# %%
def first_width(weight_shape, gain=5 / 3):
    inputs, _ = weight_shape
    return gain / inputs**0.5


# %% [markdown]
# **3.** Axis 0 is the batch.


# %%
def batch_norm(x, epsilon=1e-5):
    return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + epsilon)


# %% [markdown]
# **4.** The three terms of the sum: $\delta_{ab}$ leaves $dn_a$, $1/B$ the mean, $n_a n_b / B$ the mean of
# $dn \cdot n$, times $n_a$.


# %%
def batch_norm_backward(dn, n, r):
    return r * (dn - dn.mean(axis=0) - n * (dn * n).mean(axis=0))


# %% [markdown]
# **5.** `np.add.at` adds every one. (The course multiplies by the one-hot matrix of the ids: the same sum.)


# %%
def embedding_backward(dy, ids, rows):
    dtable = np.zeros((rows, dy.shape[1]))
    np.add.at(dtable, ids, dy)
    return dtable
