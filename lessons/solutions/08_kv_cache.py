# %% [markdown]
# # Solutions of lesson 8

# %%
import numpy as np

# %% [markdown]
# **1.** Passes over prompt, prompt + 1, …, prompt + new − 1 tokens; with a cache each of these tokens once.


# %%
def positions_computed(prompt, new):
    return sum(range(prompt, prompt + new)), prompt + new - 1


# %% [markdown]
# **2.** All keys in the cache belong to tokens that the new one may read, so there is nothing to mask.


# %%
def cached_step(q, k, v, keys, values):
    keys, values = np.vstack([keys, k]), np.vstack([values, v])
    scores = keys @ q / np.sqrt(len(q))
    weights = np.exp(scores - scores.max())
    return weights / weights.sum() @ values, keys, values


# %% [markdown]
# **3.** The 2 is for keys and values.


# %%
def cache_bytes(n_layers, n_kv_heads, head_width, n_tokens, bytes_per_number=2):
    return 2 * n_layers * n_kv_heads * head_width * n_tokens * bytes_per_number


# %% [markdown]
# **4.** With few rows the weights dominate, and twice the rows give nearly twice the tokens. With many, the caches
# dominate, and the speed approaches bandwidth/cache.


# %%
def tokens_per_second(weight_bytes, cache_bytes_per_row, rows, bandwidth):
    return rows * bandwidth / (weight_bytes + rows * cache_bytes_per_row)


# %% [markdown]
# **5.** A spoils the rows with padding. D spoils the row whose last token lies in slot 9; the other rows have only
# padding there. B and E spoil all rows, except that E spares the row whose prompt has position 0 only: there a rotation
# turns by the angle 0, so a key is the same with it and without.


# %%
def diagnosis():
    return {
        "A": "padding is not forgotten",
        "B": "positions are one too far",
        "C": "correct",
        "D": "the prompt's last slot is overwritten",
        "E": "keys are stored unrotated",
    }
