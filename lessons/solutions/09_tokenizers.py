# %% [markdown]
# # Solutions of lesson 9

# %%
import math
from itertools import pairwise

# %% [markdown]
# **1.** Each occurrence of a word brings all its pairs.


# %%
def count_pairs(words):
    counts = {}
    for symbols, count in words:
        for pair in pairwise(symbols):
            counts[pair] = counts.get(pair, 0) + count
    return counts


# %% [markdown]
# **2.** A while loop, because a joined pair takes two steps at once.


# %%
def join(symbols, pair):
    out, place = [], 0
    while place < len(symbols):
        if tuple(symbols[place : place + 2]) == pair:
            out.append(symbols[place] + symbols[place + 1])
            place += 2
        else:
            out.append(symbols[place])
            place += 1
    return out


# %% [markdown]
# **3.** After the first merge `a` and `b` are still apart.


# %%
def walk_through():
    first = join(list("aaabdaaabac"), ("a", "a"))
    return first, join(first, ("a", "b"))


# %% [markdown]
# **4.** 17/210 · 36/210 · 20/210 = 0.001322. The course writes 5/210 for p, which is the count of *pug* alone.


# %%
def probability(pieces, counts):
    total = sum(counts.values())
    return math.prod(counts[piece] / total for piece in pieces)


# %% [markdown]
# **5.** One number and one place for each j.


# %%
def best_segmentation(text, scores):
    best, start = [0.0], [0]
    for j in range(1, len(text) + 1):
        options = [(best[i] + scores[text[i:j]], i) for i in range(j) if text[i:j] in scores]
        score, i = max(options, default=(-math.inf, j - 1))
        best.append(score)
        start.append(i)
    pieces, j = [], len(text)
    while j:
        pieces.append(text[start[j] : j])
        j = start[j]
    return pieces[::-1], best[-1]


# %% [markdown]
# **6.** `max` takes the first of equal ones.


# %%
def best_wordpiece_pair(pairs, singles):
    return max(pairs, key=lambda pair: pairs[pair] / (singles[pair[0]] * singles[pair[1]]))
