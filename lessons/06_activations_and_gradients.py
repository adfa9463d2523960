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
# # 6 · Activations and gradients
#
# A network that trains badly looks like one that trains well: the loss falls, only less. To see the difference one has
# to look inside. After this lesson (about 50 minutes) you can
#
# - tell from the first loss whether a network was initialised well,
# - read histograms of activations and gradients, find dead units, and cure both by the width of the first weights,
# - read the ratio of update to parameter, and judge a learning rate by it,
# - write batch norm, forwards and backwards, and say what it does to the gradient,
# - train a whole network with a backward pass that was worked out by hand.

# %%
import dataclasses
import inspect
import math

import jax
import matplotlib.pyplot as plt
import numpy as np
from checks import activations_and_gradients as check
from checks import predicted

from llm_jax.autodiff.by_hand import batch_norm_mlp
from llm_jax.models.makemore import mlp
from train.first_principles.makemore import by_hand, diagnostics, models, pictures, training
from train.first_principles.makemore.dataset import lines
from train.first_principles.makemore.dataset.examples import Examples
from train.first_principles.makemore.recipes import RECIPES

data = lines.read(None)


def network_of(**config):
    """The MLP of lesson 5 and its fresh parameters."""
    network = models.build(mlp.Config(data.vocab_size, **config), data.longest)
    return network, network.init(jax.random.key(42))


examples = network_of()[0].examples(data.splits["train"])
dev = network_of()[0].examples(data.splits["dev"])
batch = Examples(*(array[:512] for array in examples))

# %% [markdown]
# ## The first loss
#
# Before the first step a network knows nothing, and the honest thing to say is "all 27 characters are equally likely":
# a loss of ln 27 = 3.296. Now draw *all* weights from a normal distribution of width 1, as a beginner would. What will
# the first loss be?

# %%
prediction = None

# %%
careless, careless_params = network_of(initialisation="original")
before = diagnostics.look(careless, careless_params, batch)
predicted("first loss", prediction, before.loss)

# %% [markdown]
# The logits are sums of 200 random numbers, so they are large, and the softmax of large numbers is almost certain: of
# the wrong thing, mostly. The first thousand steps do nothing but take this back. The cure is simple: begin with a
# last layer of weights near zero.
#
# ## Saturated
#
# That is not all. Look at the hidden layer: the values of tanh, and the gradient that reaches them.

# %%
figure, axes = plt.subplots(1, 3, figsize=(13, 3.5), layout="constrained")
pictures.draw_histograms(axes[0], before.activations, "activation", is_log=False)
pictures.draw_histograms(axes[1], before.gradients, "∂loss/∂activation", is_log=True)
pictures.draw_saturated(axes[2], before.activations)

# %% [markdown]
# Most values are at −1 or 1. There, $\tanh' = 1 - \tanh^2$ is nearly 0, so hardly any gradient passes the unit on its
# way back, and what lies before it does not learn. A unit that is saturated for *every* example of the data (a white
# column in the picture on the right) gets no gradient from any of them. It is **dead**.
#
# ### Exercise 1


# %%
def count_dead(activations, limit=0.99):
    """Units (columns) whose |activation| is above `limit` for every example (row)."""
    ...


# %%
check.count_dead(count_dead)

# %% [markdown]
# ## How wide?
#
# The sum of $n$ products of independent numbers of width 1 has the width $\sqrt n$. For the sum to have width 1 again,
# the weights must have the width $1/\sqrt n$. A tanh squeezes what it gets, so it is given a little more: 5/3 (He et
# al. 2015, for other nonlinearities).
#
# ### Exercise 2


# %%
def first_width(weight_shape, gain=5 / 3):
    """The standard deviation for a matrix of shape (inputs, outputs) in front of a tanh."""
    ...


# %%
check.first_width(first_width)

# %%
careful, careful_params = network_of(initialisation="kaiming")
after = diagnostics.look(careful, careful_params, batch)
figure, axes = plt.subplots(1, 3, figsize=(13, 3.5), layout="constrained")
pictures.draw_histograms(axes[0], after.activations, "activation", is_log=False)
pictures.draw_histograms(axes[1], after.gradients, "∂loss/∂activation", is_log=True)
pictures.draw_saturated(axes[2], after.activations)
print(f"first loss {after.loss:.3f} (was {before.loss:.3f})")

# %% [markdown]
# Both networks, 1,000 steps of the same training. How far apart will their dev losses be at the end?

# %%
prediction = None


# %%
def fit(network, params, steps=1000, gradients=None, **optimizer):
    """Trains; returns the parameters for predictions, the mean loss and mean update ratios of every chunk."""
    recipe = RECIPES["mlp-batchnorm"].recipe
    recipe = dataclasses.replace(recipe, steps=steps, optimizer=dataclasses.replace(recipe.optimizer, **optimizer))
    at, losses, ratios = [], [], []
    for step, newest, measured in training.train(network, recipe, params, examples, steps // 20, gradients):
        params = newest
        at.append(step)
        losses.append(measured.loss_S.mean())
        ratios.append({name: values.mean() for name, values in measured.update_ratios.items()})
    params = training.calibrated(network, params, examples)
    return params, np.array(at), np.array(losses), {name: np.array([r[name] for r in ratios]) for name in ratios[0]}


figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
reached = {}
for name, network, params, color in (
    ("all from N(0, 1)", careless, careless_params, "#c2410c"),
    ("Kaiming, quiet last layer", careful, careful_params, "#1d5fbf"),
):
    trained, at, losses, ratios = fit(network, params)
    reached[name] = training.evaluate(network, trained, dev)
    axes.plot(at, losses, color=color, label=f"{name}: dev {reached[name]:.3f}")
axes.axhline(math.log(27), color="#8a8f98", ls="--", label="guessing, ln 27")
axes.set(xlabel="step", ylabel="training loss", ylim=(2, 6))
axes.legend(frameon=False)
first, second = reached.values()
predicted("difference of the dev losses", prediction, first - second)

# %% [markdown]
# ## Is the learning rate right?
#
# A parameter should move by about a thousandth of its size in a step ($10^{-3}$, the dashed line). Much more, and
# training jumps about; much less, and it crawls. The rate falls along a cosine here, so the ratios fall with it.

# %%
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
pictures.draw_ratios(axes, ratios, at)

# %% [markdown]
# The last layer begins near zero, so its first updates are large *for it*: that is meant. Try `learning_rate=3e-5`
# or `3e-1` in `fit` above and look again. When the loss leaves all bounds, training stops and says at which step:

# %%
try:
    fit(careful, careful_params, learning_rate=100.0)
except training.Diverged as diverged:
    print(diverged)

# %% [markdown]
# ## Batch norm
#
# The right width of the first weights is easy to find for one layer and hard for fifty. So why not *make* the hidden
# values well distributed, in every batch? Subtract the mean of each feature over the batch, divide by its standard
# deviation, and let the network learn a gain and a bias for what it needs (Ioffe & Szegedy 2015).
#
# ### Exercise 3
# Without gain and bias. $\epsilon = 10^{-5}$ goes under the root; the variance is the biased one (divide by B).


# %%
def batch_norm(x, epsilon=1e-5):
    """(x − mean)/√(variance + ε), every feature (column) of x (B, D) over the batch."""
    ...


# %%
check.batch_norm(batch_norm)

# %% [markdown]
# Even the careless weights do no harm to the hidden layer now:

# %%
normalised, normalised_params = network_of(initialisation="original", batch_norm=True)
inside = diagnostics.look(normalised, normalised_params, batch)
for name, look in (("without", before), ("with", inside)):
    print(f"{name} batch norm: {diagnostics.saturation(look.activations['tanh 1']):.0%} saturated")

# %% [markdown]
# There is a price. An example's prediction now depends on its neighbours in the batch. For predictions the mean and
# variance of the training data are written down and used instead (`calibrate`):

# %%
print(inspect.getsource(mlp.calibrate))

# %% [markdown]
# ## Backwards, by hand
#
# This is the exercise that every learner of this lecture remembers. Each $x_a$ acts on the output in three ways:
# directly, through the mean, and through the variance. With $n$ the normalised values and $r = (v+\epsilon)^{-1/2}$,
#
# $$\frac{\partial n_b}{\partial x_a} = r\left(\delta_{ab} - \frac1B - \frac{n_a n_b}{B}\right)$$
#
# (the derivation, in six lines, is in `llm_jax/autodiff/by_hand/batch_norm.py`).
#
# ### Exercise 4
# `dn` is the gradient of the loss with respect to $n$. Sum $dn_b \cdot \partial n_b / \partial x_a$ over $b$.


# %%
def batch_norm_backward(dn, n, r):
    """dx for n = (x − mean)·r, all of shape (B, D), r of shape (D,)."""
    ...


# %%
check.batch_norm_backward(batch_norm_backward)

# %% [markdown]
# What does it do? It takes the mean out of the gradient, and its part along $n$. Batch norm does not notice when all
# of $x$ is shifted or stretched, so no gradient may point there.
#
# At the other end is the embedding. A row of the table that was looked up several times must get all of the gradients.
#
# ### Exercise 5
# Beware: `dtable[ids] += dy` keeps only the last one where an id occurs twice.


# %%
def embedding_backward(dy, ids, rows):
    """The gradient of the table (rows, E): dy (N, E) is that of table[ids], ids (N,)."""
    ...


# %%
check.embedding_backward(embedding_backward)

# %% [markdown]
# All together: every line of the forward pass has its line in the backward pass, from the bottom to the top.

# %%
print(inspect.getsource(batch_norm_mlp.loss_and_gradients))

# %% [markdown]
# How far are these gradients from those of JAX's autodiff, at most?

# %%
prediction = None

# %%
network, params = network_of(batch_norm=True)
by_jax = jax.grad(lambda p: training.batch_loss(network, p, batch))(params)
_, found = by_hand.gradients(params, batch)
differences = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), by_jax, found)
predicted("largest difference", prediction, max(jax.tree.leaves(differences)))

# %% [markdown]
# (In 32 bits. In 64 bits it is below $10^{-12}$; `tests/makemore/test_training.py` checks that.) And it trains:

# %%
trained, at, losses, _ = fit(network, params, steps=200)
trained_by_hand, _, losses_by_hand, _ = fit(network, params, steps=200, gradients=by_hand.gradients)
for name, each in (("JAX's gradients", trained), ("ours, by hand", trained_by_hand)):
    print(f"{name}: dev {training.evaluate(network, each, dev):.4f}")

figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
axes.plot(at, losses, color="#9fb8d9", lw=5, label="JAX's gradients")
axes.plot(at, losses_by_hand, color="#c2410c", lw=1.2, label="ours, by hand")
axes.set(xlabel="step", ylabel="training loss")
_ = axes.legend(frameon=False)

# %% [markdown]
# ## What you can now say
#
# - The first loss should be ln V. If it is more, the last layer is too loud.
# - Saturated units pass no gradient; weights of width $\frac{5}{3}/\sqrt{\text{inputs}}$ keep a tanh alive.
# - Update over parameter, about $10^{-3}$: the learning rate's pulse.
# - Batch norm fixes the widths in every batch and takes two directions out of the gradient.
#
# `python -m train makemore --model mlp-batchnorm --gradients by-hand --data names.txt` trains the whole network with
# your chain rule; every run's `diagnostics.png` has the pictures of this lesson.
#
# Next: the network that all of today's language models are: [lesson 7](07_transformer.py).
