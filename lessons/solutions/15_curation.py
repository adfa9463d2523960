# %% [markdown]
# # Solutions of lesson 15

# %%
import numpy as np

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}

# %% [markdown]
# **1.** The intersection of two sets counts different words, and words as they are written.


# %%
def keeps(text):
    return len(STOP_WORDS & set(text.split())) >= 2


# %% [markdown]
# **2.** For k = 0 the interval is [0, z²/(n + z²)]: 16 % of 20 documents. The usual one would say [0, 0].


# %%
def wilson(k, n, z=1.96):
    p = k / n
    middle = p + z * z / (2 * n)
    reach = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - reach) / (1 + z * z / n), (middle + reach) / (1 + z * z / n)


# %% [markdown]
# **3.** A document has fired a rule before the present one if the running sum has left 0.


# %%
def removals(fires):
    fires = fires.astype(int)
    before = fires.cumsum(axis=1) - fires
    alone = fires.sum(axis=0)
    in_order = (fires * (before == 0)).sum(axis=0)
    left_out = fires[fires.sum(axis=1) == 1].sum(axis=0)
    return alone, in_order, left_out


# %% [markdown]
# **4.** One bucket agrees with $s^r$, none with $(1 - s^r)^b$.


# %%
def found(s, buckets, hashes):
    return 1 - (1 - s**hashes) ** buckets


# %% [markdown]
# **5.** $\mathrm{Var}(\bar a) = \sum_i \mathrm{Var}(a_i) / m^2$.


# %%
def standard_error(accuracies, items):
    a = np.asarray(accuracies)
    return float(np.sqrt((a * (1 - a) / items).sum()) / len(a))
