# %% [markdown]
# # Solutions of lesson 10

# %%
import unicodedata

# %% [markdown]
# **1.** One ratio of two totals. A mean of the ratios of sentences would count a short sentence as much as a long one.


# %%
def premium(tokens, reference_tokens):
    return sum(tokens) / sum(reference_tokens)


# %% [markdown]
# **2.** All three grow with the number of tokens.


# %%
def cost(english_tokens, premium, dollars_per_million, tokens_per_second, context):
    tokens = english_tokens * premium
    return tokens * dollars_per_million / 1e6, tokens / tokens_per_second, tokens / context


# %% [markdown]
# **3.** `split()` knows white space alone, so U+200B becomes a space first. Without an argument it leaves out what is
# empty.


# %%
def count_words(line):
    return len(line.replace("\u200b", " ").split())


# %% [markdown]
# **4.** Words are counted as often as they occur, types once.


# %%
def split_and_whole(pieces):
    split = sum(n > 1 for _, n in pieces) / len(pieces)
    types = {word for word, _ in pieces}
    broken = {word for word, n in pieces if n > 1}
    return split, 1 - len(broken) / len(types)


# %% [markdown]
# **5.** The texts are compared, not their lengths.


# %%
def lines_changed(lines, form):
    return sum(unicodedata.normalize(form, line) != line for line in lines)
