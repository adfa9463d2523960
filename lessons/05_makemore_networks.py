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
# # 5 · makemore: networks
#
# A table of counts cannot look far back: each context is on its own, and there are too many. A network gives characters
# *positions in a space*, so that what it learns about one context holds for similar ones. After this lesson (about 45
# minutes) you can
#
# - turn words into windows and targets, and a batch of windows into the inputs of a layer,
# - write the loss of a classifier so that it survives large numbers,
# - train Bengio's network, look at what it has learned, and make words with it,
# - say how a window can be fused step by step, and how a state can take its place,
# - compare models fairly: one split, one number.

# %%
import dataclasses
import inspect

import jax
import matplotlib.pyplot as plt
import numpy as np
from checks import makemore_networks as check
from checks import predicted

from llm_jax.models.makemore import mlp, recurrent, wavenet
from train.first_principles.makemore import counting, models, sampling, training
from train.first_principles.makemore.dataset import lines
from train.first_principles.makemore.recipes import RECIPES

data = lines.read(None)
characters = data.alphabet.alphabet.replace("\n", "·")
train, dev = data.splits["train"], data.splits["dev"]

# %% [markdown]
# ## Windows
#
# Every character of every word is one example: predict it from the three before it. Before the beginning of a word
# there are line breaks, id 0.
#
# ### Exercise 1
# For the word `[5, 3]` and a context of 3: `[0, 0, 0] → 5`, `[0, 0, 5] → 3`, `[0, 5, 3] → 0`.


# %%
def windows_of(word, context):
    """The windows of a word (a list of ids without breaks) and what follows each: (list of lists, list)."""
    ...


# %%
check.windows_of(windows_of)

# %% [markdown]
# ## Embedding
#
# A network computes with numbers, and the id 5 is not "more" than the id 3. So every character gets a vector of its
# own, a row of a table, and the table is learned like everything else. The vectors of the three characters, side by
# side, are the input of the hidden layer.
#
# ### Exercise 2
# `ids` has the shape (B, T), the table (V, E). The input of the layer has the shape (B, T·E).


# %%
def embed(table, ids):
    """Each row: the vectors of its T characters, side by side, in their order."""
    ...


# %%
check.embed(embed)

# %% [markdown]
# The hidden layer has 200 units with tanh, and a linear layer makes 27 logits of them (Bengio et al. 2003):
#
# $$h = \tanh(xW + b) \qquad \text{logits} = hU + c$$
#
# With 10 numbers for a character and a window of three: how many parameters does it have in all?

# %%
prediction = None

# %%
network = models.build(mlp.Config(data.vocab_size), data.longest)
params = network.init(jax.random.key(42))
print(jax.tree.map(lambda leaf: leaf.shape, params))
predicted("parameters", prediction, sum(leaf.size for leaf in jax.tree.leaves(params)))
print(inspect.getsource(mlp.logits))

# %% [markdown]
# ## The loss
#
# Softmax turns logits into probabilities, and the loss is the mean of $-\log p_\text{target}$, as in lesson 4. Written
# like that, it breaks: $e^{1000}$ is infinite. Take the logarithm by hand, and subtract the largest logit first, which
# changes nothing:
#
# $$-\log \frac{e^{z_y}}{\sum_v e^{z_v}} = \log \sum_v e^{z_v} - z_y$$
#
# ### Exercise 3


# %%
def cross_entropy(logits, targets):
    """Mean of −log softmax(logits)[target] over the rows; logits (B, V), targets (B,). Finite for large logits."""
    ...


# %%
check.cross_entropy(cross_entropy)

# %% [markdown]
# ## Training
#
# 37,573 windows, 256 of them in a step. The trigram counts of lesson 4 reach a dev loss of 2.54 here, from two
# characters of context. Where will the network be, with three, after 1,500 steps?

# %%
prediction = None


# %%
def fit(network, recipe, name, **changes):
    """Trains, evaluates the dev loss along the way; returns parameters for predictions, and the curve."""
    recipe = dataclasses.replace(RECIPES[recipe].recipe, **changes)
    examples = {split: network.examples(data.splits[split]) for split in ("train", "dev")}
    curve = []
    start = network.init(jax.random.key(42))
    for step, params, measured in training.train(network, recipe, start, examples["train"], recipe.steps // 10):
        params = training.calibrated(network, params, examples["train"])
        curve.append((step, measured.loss_S.mean(), training.evaluate(network, params, examples["dev"])))
    size = sum(leaf.size for leaf in jax.tree.leaves(start))
    print(f"{name}: {size:,} parameters, train {curve[-1][1]:.4f}, dev {curve[-1][2]:.4f}")
    return params, np.array(curve).T


params, curve = fit(network, "mlp", "MLP", steps=1500)
predicted("dev loss of the MLP", prediction, curve[2][-1])
trigram = counting.fit(data, 3, 0.1).losses["dev"]

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.plot(curve[0], curve[1], "o-", color="#9fb8d9", label="train")
axes.plot(curve[0], curve[2], "o-", color="#c2410c", label="dev")
axes.axhline(trigram, color="#8a8f98", ls="--", label=f"trigram counts: {trigram:.3f}")
axes.set(xlabel="step", ylabel="nats per character")
_ = axes.legend(frameon=False)

# %%
predict = sampling.neural(network, params)
for made in sampling.sample(predict, [], 10, data.longest, 1.0, seed=3):
    print(data.alphabet.decode(made))

# %% [markdown]
# How can this program take thousands of steps in seconds? Each is tiny, and calling the device costs more than the
# step. `lax.scan` runs hundreds of them in one call:

# %%
print(inspect.getsource(training._on_device))

# %% [markdown]
# ## What it has learned
#
# The same network with *two* numbers for a character, so that they can be drawn. Which characters will lie together?

# %%
flat = models.build(mlp.Config(data.vocab_size, embedding=2, width=100), data.longest)
flat_params, _ = fit(flat, "mlp", "two numbers for a character", steps=1500)
figure, axes = plt.subplots(figsize=(6, 6), layout="constrained")
for character, (x, y) in zip(characters, np.asarray(flat_params.embedding), strict=True):
    color = "#c2410c" if character in "aeiou" else "#1f2933"
    axes.text(x, y, character, ha="center", va="center", fontsize=14, color=color)
axes.set(title="vowels in red")
axes.scatter(*np.asarray(flat_params.embedding).T, alpha=0)
axes.grid(alpha=0.25)

# %% [markdown]
# Nobody told it what a vowel is. Characters that are followed by similar things end up side by side, because then what
# is learned for one serves the other.
#
# ## A longer window, fused two by two
#
# Eight characters at once are much for one layer. WaveNet's idea: join neighbours only, and join the joined again. The
# array of vectors has the shape (B, T, E); pairs of neighbours, side by side, have the shape (B, T/2, 2E).
#
# ### Exercise 4


# %%
def fuse_pairs(x):
    """(B, T, E) → (B, T/2, 2E): positions 2t and 2t + 1 side by side."""
    ...


# %%
check.fuse_pairs(fuse_pairs)

# %%
print(inspect.getsource(wavenet.logits))

# %% [markdown]
# And a third way: no window at all, but a *state* that every character changes, so that nothing need be forgotten
# (Elman 1990; with gates that decide what to keep, Cho et al. 2014).

# %%
print(inspect.getsource(recurrent.next_state))

# %% [markdown]
# The fused window has 76,579 parameters, the gated state 66,299; the MLP has 11,897, and there are 37,573 characters
# to learn from. Who wins on dev? Write down your order first.

# %%
prediction = None  # the lowest dev loss

# %%
curves = {"MLP, window of 3": curve}
hierarchical = models.build(wavenet.Config(data.vocab_size), data.longest)
_, curves["fused, window of 8"] = fit(hierarchical, "wavenet", "fused", steps=400)
gated = models.build(recurrent.Config(data.vocab_size, gated=True), data.longest)
_, curves["gated state"] = fit(gated, "gru", "gated", steps=300)
predicted("lowest dev loss", prediction, min(each[2].min() for each in curves.values()))

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
for (name, each), color in zip(curves.items(), ("#c2410c", "#1d5fbf", "#15803d"), strict=True):
    axes.plot(each[0] / each[0][-1], each[2], "o-", color=color, label=f"{name}: {each[2][-1]:.3f}")
axes.axhline(trigram, color="#8a8f98", ls="--", label=f"trigram counts: {trigram:.3f}")
axes.set(xlabel="part of its training", ylabel="dev loss (nats per character)", ylim=(None, 3.0))
_ = axes.legend(frameon=False)

# %% [markdown]
# Here the small network holds its own: the larger ones had a few hundred steps only, and with many more they begin to
# learn this little text by heart (try `steps=4000`, and compare train and dev). On the 32,000 names of the original,
# trained to the end, the order is clear (`docs/benchmarks.md`): trigram 2.22, MLP 2.09, gated 2.00, fused 1.97. More
# data is what makes a larger network worth having. That is the story of this field in one line.
#
# ## What you can now say
#
# - An embedding is a table of learned positions; similar use makes neighbours.
# - The loss is computed from logits, with the largest taken out, never from probabilities.
# - A window can be looked at all at once, or fused step by step; a state reads without a window.
# - Models are compared on the same split, by the same number.
#
# Next: what happens *inside* while it trains, and how it goes wrong: [lesson 6](06_activations_and_gradients.py).
# On the command line: `python -m train makemore --model wavenet --data names.txt`.
