# %% [markdown]
# # Solutions of lesson 2

# %%
import numpy as np

# %% [markdown]
# **1.** Taking the largest logit off changes nothing (each row of the gradient sums to 0) and keeps `exp` from
# overflowing.


# %%
def softmax_cross_entropy_gradient(logits, labels):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = powers / powers.sum(axis=1, keepdims=True)
    p[np.arange(len(labels)), labels] -= 1.0
    return p / len(labels)


# %% [markdown]
# **2.** From the output, without a second tanh.


# %%
def tanh_gradient(dy, y):
    return dy * (1 - y * y)


# %% [markdown]
# **3.** Directly, through the mean, through the variance.


# %%
def normalise_gradient(dn, n, r):
    return r * (dn - dn.mean(axis=0) - n * (dn * n).mean(axis=0))


# %% [markdown]
# **4.** The sum over the row says how good the row is on the whole; a score rises if its weight is better than that.


# %%
def softmax_gradient(da, a):
    return a * (da - (a * da).sum(axis=-1, keepdims=True))
