# %% [markdown]
# # Solutions of lesson 20

# %%
import math
from collections import Counter

import numpy as np

# %% [markdown]
# **1.** For every t: change everything from t on, and look at the outputs before t. The changes are large and random,
# so nothing cancels by chance.


# %%
def is_causal(model):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 8))
    before = model(x)
    for t in range(1, len(x)):
        changed = x.copy()
        changed[t:] = rng.normal(size=changed[t:].shape)
        if not np.allclose(model(changed)[:t], before[:t]):
            return False
    return True


# %% [markdown]
# **2.** Comparisons with nan are False, so both are written such that nan fails.


# %%
def are_weights(weights):
    weights = np.asarray(weights, float)
    return bool((weights >= 0).all() and (abs(weights.sum(axis=-1) - 1) < 1e-4).all())


# %% [markdown]
# **3.** The algorithm itself, with a question in place of its choice.


# %%
def are_merges(words, merges):
    split = {word: list(word) for word in words}
    for pair in merges:
        counts = Counter()
        for word, count in words.items():
            for neighbours in zip(split[word], split[word][1:], strict=False):
                counts[neighbours] += count
        if not counts or counts[tuple(pair)] < max(counts.values()):
            return False
        for word, parts in split.items():
            joined, i = [], 0
            while i < len(parts):
                is_pair = tuple(parts[i : i + 2]) == tuple(pair)
                joined.append("".join(parts[i : i + 2]) if is_pair else parts[i])
                i += 2 if is_pair else 1
            split[word] = joined
    return True


# %% [markdown]
# **4.** The norm forgets the scale of its input. So what a pre-norm block adds to a large x does not depend on how
# large it is; without a norm it grows, and a post-norm block forgets x's size altogether.


# %%
def is_pre_norm(block):
    x = np.random.default_rng(0).normal(size=(4, 8))
    added = [block(c * x) - c * x for c in (1e2, 1e4)]
    return bool(np.allclose(*added, rtol=1e-3, atol=1e-3))


# %% [markdown]
# **5.** From both sides.


# %%
def starts_right(loss, vocab_size):
    return abs(loss - math.log(vocab_size)) <= 0.1 * math.log(vocab_size)


# %% [markdown]
# **6.** A step reads rows · length inputs, and the target of the very last one is one token further.


# %%
def steps_of_run(text, encode, rows, length, epochs):
    return epochs * ((len(encode(text)) - 1) // (rows * length))
