# %% [markdown]
# # Solutions of lesson 14

# %%
import math
import re

import numpy as np

# %% [markdown]
# **1.** A nat is 1/ln 2 bits.


# %%
def bits_per_byte(log_probability, text):
    return -log_probability / math.log(2) / len(text.encode())


# %% [markdown]
# **2.** Only the length differs between the rules.


# %%
def accuracy(sums, answers, gold, rule):
    length = {"sum": lambda text: 1, "character": len, "byte": lambda text: len(text.encode())}[rule]
    chosen = [
        int(np.argmax([value / length(text) for value, text in zip(row, texts, strict=True)]))
        for row, texts in zip(sums, answers, strict=True)
    ]
    return float(np.mean(np.array(chosen) == np.array(gold)))


# %% [markdown]
# **3.** 0.2859 and 0.2892 differ by the activity, a capital letter, and WikiHow's brackets.


# %%
def prepared(row):
    text = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}"
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


# %% [markdown]
# **4.** A decimal point needs a digit behind it, so the full stop of a sentence is none.


# %%
def last_number(text):
    found = re.findall(r"-?\$?\d[\d,]*(?:\.\d+)?", text)
    return float(re.sub("[$,]", "", found[-1])) if found else None


# %% [markdown]
# **5.** The quotient of the binomials is a product of k factors below 1.


# %%
def pass_at_k(n, c, k):
    if n - c < k:
        return 1.0
    return float(1 - np.prod([(n - c - i) / (n - i) for i in range(k)]))


# %% [markdown]
# **6.** What the left one gains, the right one loses, so the sum of all ratings stays.


# %%
def elo(votes, k=4.0):
    ratings = {}
    for left, right, winner in votes:
        a, b = ratings.setdefault(left, 1000.0), ratings.setdefault(right, 1000.0)
        expected = 1 / (1 + 10 ** ((b - a) / 400))
        gain = k * ({"left": 1.0, "tie": 0.5, "right": 0.0}[winner] - expected)
        ratings[left], ratings[right] = a + gain, b - gain
    return ratings


# %% [markdown]
# **7.** The two orders must name different places to name one model.


# %%
def verdict(first, second):
    return {("first", "second"): "X", ("second", "first"): "Y"}.get((first, second), "tie")


# %% [markdown]
# **8.** The squares of the differences add up to the number of items on which the two differ.


# %%
def compared(only_first, only_second, n):
    difference = (only_first - only_second) / n
    variance = (only_first + only_second - n * difference**2) / (n - 1)
    return difference, math.sqrt(variance / n), (only_first - only_second) / math.sqrt(only_first + only_second)
