# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 20 · Mending a notebook
#
# The notebook `learning-buildgpt2` (aisingapore) teaches how a GPT-2 is built. It runs, it trains, and it is wrong in
# six places. None of them raises an error: that is what mistakes in machine learning are like. After this lesson (about
# 50 minutes) you can write, for each of them, the test that finds it, and you know how such a test is itself tested: it
# has to pass the right program and to fail the wrong one.
#
# Every exercise asks for a **test**: a function that gets something to examine and returns True if it is right. The
# check tries your test on right and on wrong things.

# %%
import matplotlib.pyplot as plt
import numpy as np
from checks import mending as check
from checks import predicted

BLUE, RED, GREY = "#1d5fbf", "#c2410c", "#8a8f98"
rng = np.random.default_rng(0)


def softmax(x):
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


# %% [markdown]
# ## 1 The mask that lets the future through
#
# The notebook makes `triu(ones, diagonal=1)`, applies `logical_not` and hands the result to `nn.MultiheadAttention`.
# There True means *blocked*; so every token is kept from the past and from itself, and sees the future. The last token
# has nothing to see. The loss falls beautifully: the answer is in the input.

# %%
T = 5
may_see = np.tril(np.ones((T, T), bool))
given = ~np.triu(np.ones((T, T), bool), 1)  # as the notebook has it, read by PyTorch as "blocked"
figure, axes = plt.subplots(1, 2, figsize=(6, 2.8), layout="constrained")
for panel, seen, title in zip(axes, (may_see, ~given), ("what a token may see", "what it sees there"), strict=True):
    panel.imshow(seen, cmap="Blues", vmin=0, vmax=1.5)
    panel.set(title=title, xlabel="key", ylabel="query", xticks=range(T), yticks=range(T))
plt.show()

# %% [markdown]
# ### Exercise 1
# `model` maps embeddings (T, D) to outputs (T, D). Is it causal: does no output depend on a later input? Looking at the
# code is not allowed. Change inputs and watch.


# %%
def is_causal(model):
    """True if output t depends on the inputs 0 to t only."""
    ...


# %%
check.is_causal(is_causal)

# %% [markdown]
# ## 2 Weights that are no weights
#
# The notebook's example of attention prints weights that sum to 0.75, and an output of 1.87, where its own numbers give
# 3.5 and a softmax 4.95. A weighted mean can be tested without knowing the scores.
#
# ### Exercise 2
# `weights` is a matrix (T, S), one row for each query. Could it be the result of a softmax over the keys?


# %%
def are_weights(weights): ...


# %%
check.are_weights(are_weights)

# %% [markdown]
# ## 3 Merges that were not the most frequent
#
# Byte-pair encoding merges, again and again, the pair of neighbours that occurs most often. The notebook's walk-through
# merges another one. (Lesson 9 builds the algorithm.)
#
# ### Exercise 3
# `words` maps a word (a string, at first split into characters) to how often it occurs. Was each pair of `merges`, in
# its turn, one of the most frequent? In a tie each of the best is right. A merge joins from left to right: "aaa"
# becomes "aa", "a".


# %%
def are_merges(words, merges):
    """merges: list of pairs of strings, in the order in which they were learnt."""
    ...


# %%
check.are_merges(are_merges)

# %% [markdown]
# ## 4 The wrong side of the norm
#
# The text explains GPT-2: the norm stands **before** attention and MLP, and the residual stream passes by, $x +
# f(\mathrm{norm}(x))$. The code is the Transformer of 2017: $\mathrm{norm}(x + f(x))$, with sinusoids for positions.
# From outside the two can be told apart by what happens to a large input.

# %% [markdown]
# ### Exercise 4
# `block` maps (T, D) to (T, D). Is it pre-norm? Its norm may be of either kind, its $f$ may be anything.


# %%
def is_pre_norm(block):
    """True for x + f(norm(x)), False for norm(x + f(x)) and for a block without a norm."""
    ...


# %%
check.is_pre_norm(is_pre_norm)

# %% [markdown]
# ## 5 A loss that starts above 100
#
# Before training a model knows nothing: every token is equally likely, and the loss is the logarithm of the
# vocabulary's size. For 50,257 tokens?

# %%
prediction = None

# %%
predicted("nats", prediction, np.log(50_257))

# %% [markdown]
# The notebook leaves the embedding at PyTorch's default, numbers from N(0, 1), and uses it as the head as well. The
# last norm makes hidden states of length $\sqrt{768}$, so logits have a standard deviation of $\sqrt{768} \approx 28$.
# The loss at the start?

# %%
prediction = None

# %%
logits = np.sqrt(768) * rng.normal(size=(64, 50_257)).astype(np.float32)
top = logits.max(axis=1)
losses = top + np.log(np.exp(logits - top[:, None]).sum(axis=1)) - logits[:, 0]
predicted("nats", prediction, float(losses.mean()))

# %% [markdown]
# (The notebook's own first loss is about 104: its hidden states are not quite as random as ours.) The first hundreds of
# steps only unlearn that. With N(0, 0.02²), as GPT-2 has it, the loss starts at 10.8.
#
# ### Exercise 5
# Does a run start right? Too low is wrong, too: then the answer leaks into the input.


# %%
def starts_right(loss, vocab_size):
    """True if the loss (nats) of a fresh model is within 10 per cent of what it must be."""
    ...


# %%
check.starts_right(starts_right)

# %% [markdown]
# ## 6 A schedule for four runs
#
# A learning rate is to fall to nearly zero by the end of the run. The notebook computes the number of steps from the
# number of *characters*, but the run is over when the *tokens* are used up: about four characters each.

# %%
steps = 250
counted = 4 * steps
rate = 0.5 * (1 + np.cos(np.pi * np.arange(counted) / counted))
plt.figure(figsize=(6, 2.8), layout="constrained")
plt.plot(rate, color=GREY, label="the schedule")
plt.plot(rate[:steps], color=RED, linewidth=3, label="what the run sees of it")
plt.plot(0.5 * (1 + np.cos(np.pi * np.arange(steps) / steps)), color=BLUE, label="what was meant")
plt.xlabel("step")
plt.ylabel("learning rate")
plt.legend()
plt.show()

# %% [markdown]
# At the end of the run, the learning rate in per cent of its highest?

# %%
prediction = None

# %%
predicted("per cent", prediction, float(100 * rate[steps - 1]))

# %% [markdown]
# ### Exercise 6
# How many optimizer steps does a run have? `encode` turns the text into ids. Each step takes `rows` windows of `length`
# tokens, and each window needs one token more, its last target. The last, incomplete step is left out.


# %%
def steps_of_run(text, encode, rows, length, epochs): ...


# %%
check.steps_of_run(steps_of_run)

# %% [markdown]
# ## What remains
#
# Each of these tests takes a second and would have found its mistake on the first day. They are all in this project's
# tests, too: `test_future_tokens_get_zero_gradient`, attention against its formula, the merges of the tokenizer against
# Hugging Face's, every activation against PyTorch's, the loss of a uniform guess, the schedule's last step.
