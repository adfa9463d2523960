# %% [markdown]
# # Solutions of lesson 7

# %%
import numpy as np

# %% [markdown]
# **1.** The largest score of each row is taken off first, which changes nothing and keeps `exp` from overflowing.


# %%
def attend(q, k, v):
    scores = q @ k.T / np.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True) @ v


# %% [markdown]
# **2.** Before the softmax, so that the weights that are left sum to 1.


# %%
def masked_weights(scores, may_read):
    scores = np.where(may_read, scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


# %% [markdown]
# **3.** N/K consecutive heads of queries share one. `np.repeat(k, N // K)` lays keys out like this; `np.tile` would
# give n mod K.


# %%
def key_head(query_head, n_heads, n_kv_heads):
    return query_head // (n_heads // n_kv_heads)


# %% [markdown]
# **4.** Both halves at once, from the old pair.


# %%
def rotate(x, position, theta=10000.0):
    half = len(x) // 2
    angles = position * theta ** (-np.arange(half) / half)
    a, b = x[:half], x[half:]
    return np.concatenate([a * np.cos(angles) - b * np.sin(angles), a * np.sin(angles) + b * np.cos(angles)])


# %% [markdown]
# **5.** The scale of the input is lost, its direction stays.


# %%
def rms_norm(x, gain, epsilon=1e-5):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + epsilon) * gain
