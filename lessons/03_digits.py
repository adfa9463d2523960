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
# # 3 · A network that reads digits
#
# All the pieces are there; now they learn something. After this lesson (about 45 minutes) you can
#
# - write the training of a two-layer network in NumPy, every gradient included,
# - tell from the first loss and from the loss curve whether it works,
# - say what autodiff, JAX and PyTorch do for you, because you have seen the same numbers come out of all of them,
# - look at what a network has learned and at where it fails.
#
# You need lessons 1 and 2.

# %%
import math
from itertools import islice

import matplotlib.pyplot as plt
import numpy as np
from checks import digits as check
from checks import predicted

from train.first_principles.digits import data as digits_data
from train.first_principles.digits import network as digits_network
from train.first_principles.digits.config import DigitsConfig
from train.first_principles.digits.engines import ENGINES
from train.first_principles.digits.plots import confusion

digits = digits_data.load("embedded")
print(
    f"{len(digits.train_BD):,} pictures to train on, {len(digits.validation_BD)} to choose settings by, "
    f"{len(digits.test_BD)} to test on"
)

figure, axes = plt.subplots(2, 10, figsize=(10, 2.4), layout="constrained")
for axis, picture, label in zip(axes.flat, digits.pictures(digits.train_BD), digits.train_labels_B, strict=False):
    axis.imshow(picture, cmap="gray_r")
    axis.set_title(label, fontsize=9)
    axis.set_axis_off()

# %% [markdown]
# Each picture has 8 × 8 pixels, a row of 64 numbers. The network:
#
# $$h = \tanh(x W_1 + b_1), \qquad z = h W_2 + b_2, \qquad L = \text{softmax-cross-entropy}(z, \text{label})$$
#
# ## Before the first step
#
# The weights are small random numbers, so the network knows nothing. About which loss (in nats) should it have? Ten
# classes, each as good as the other...

# %%
prediction = None

# %%
config = DigitsConfig(hidden=64, epochs=15)
start = digits_network.initial_parameters(config, pixels=64)
loss, p = digits_network.measure(start, digits.test_BD, digits.test_labels_B)
predicted("loss before training", prediction, loss)
print(f"-log(1/10) = {math.log(10):.4f}; right by luck: {np.mean(p.argmax(axis=1) == digits.test_labels_B):.0%}")

# %% [markdown]
# Always look at this number. Far above $\ln 10$, the network is sure of wrong answers before it has seen anything, and
# spends its first steps unlearning that. (Lesson 6 comes back to it.)
#
# ## The gradients, all of them
#
# ### Exercise 1
# Put lesson 2 together. For a batch `x` of shape (B, 64) and `labels` of shape (B,), return the gradients of the four
# parameters under their names. `dz` is given; from there on it is four lines and a dict.


# %%
def gradients(parameters, x, labels):
    """{"w1_DF": …, "b1_F": …, "w2_FV": …, "b2_V": …}, the gradients of the mean loss."""
    w1, b1, w2, b2 = parameters.values()
    h = np.tanh(x @ w1 + b1)
    z = h @ w2 + b2
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    dz = (p - np.eye(10)[labels]) / len(x)
    # Your code: dz → dw2, db2, dh → da (before the tanh) → dw1, db1
    ...


# %%
check.gradients(gradients)

# %% [markdown]
# ### Exercise 2
# One step of gradient descent. Return *new* parameters: whoever still holds the old ones (to compare, to go back) must
# not find them changed. That is also how JAX wants it.


# %%
def descend(parameters, gradients, rate):
    """The parameters after one step, as a new dict of new arrays."""
    ...


# %%
check.descend(descend)

# %% [markdown]
# ## Training
#
# The course's own version of your two functions is `by_hand` in `train/first_principles/digits/engines.py`. Fifteen
# times through 1,294 pictures takes a second or so. (Each time a picture is shown, it is moved by up to half a pixel at
# random: a digit stays what it is, and the network cannot learn pixels by heart.) How much of the test pictures, in
# percent, will it read?

# %%
prediction = None

# %%
steps = config.epochs * config.steps_per_epoch(len(digits.train_BD))
rate = digits_network.falling_rate(config, steps)
losses = []
for loss, parameters in ENGINES["numpy"](start, digits_network.batches(config, digits), rate, config.weight_decay):
    losses.append(loss)
loss, p = digits_network.measure(parameters, digits.test_BD, digits.test_labels_B)
answers = p.argmax(axis=1)
predicted("percent of the test pictures", prediction, 100 * np.mean(answers == digits.test_labels_B))

figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
axes.plot(losses, lw=0.7, color="#3d7dd8", label="each batch of 32")
axes.axhline(loss, color="#c2410c", label=f"test pictures at the end: {loss:.3f}")
axes.axhline(math.log(10), color="#8a8f98", ls=":", label="guessing")
axes.set(xlabel="step", ylabel="loss")
_ = axes.legend(frameon=False)

# %% [markdown]
# ## Four engines, one way
#
# Same initial weights, same batches. After 200 steps, by how much will the losses of NumPy, our autodiff and JAX
# differ? (They compute with 32 bits: about seven digits.)

# %%
prediction = None

# %%
batches = list(islice(digits_network.batches(config, digits), 200))
curves = {
    name: np.array([loss for loss, _ in ENGINES[name](start, batches, rate, config.weight_decay)])
    for name in ("numpy", "autodiff", "jax")
}
apart = max(np.abs(curve - curves["numpy"]).max() for curve in curves.values())
predicted("largest difference", prediction, apart)

# %% [markdown]
# Read [`engines.py`](../train/first_principles/digits/engines.py) now: four times the same dozen lines. By
# hand, every derivative has a line of its own. With autodiff these lines are gone. JAX compiles the step and leaves
# the update to optax. PyTorch keeps gradients in the tensors, hence `zero_grad`. (`python -m train digits --engine all`
# trains with all four and compares every step.)
#
# ## What it learned, and where it fails
#
# ### Exercise 3
# A confusion matrix: `counts[right, answer]` is the number of pictures of the digit `right` that were read as `answer`.


# %%
def count_confusions(labels, answers):
    """An array of shape (10, 10) of whole numbers."""
    ...


# %%
check.count_confusions(count_confusions)

# %%
counts = confusion(digits.test_labels_B, p)
wrong = np.flatnonzero(answers != digits.test_labels_B)
worst = wrong[np.argsort(p[wrong, digits.test_labels_B[wrong]])][:6]
figure = plt.figure(figsize=(10, 4), layout="constrained")
left, right = figure.subfigures(1, 2)
axis = left.subplots()
axis.imshow(counts * (1 - np.eye(10)), cmap="Oranges")
axis.set(xlabel="answer", ylabel="digit", xticks=range(10), yticks=range(10), title="mistakes")
for axis, i in zip(right.subplots(2, 3).flat, worst, strict=False):
    axis.imshow(digits.pictures(digits.test_BD)[i], cmap="gray_r")
    axis.set_title(f"{digits.test_labels_B[i]} read as {answers[i]}, {p[i].max():.0%} sure", fontsize=8)
for axis in right.axes:
    axis.set_axis_off()

# %% [markdown]
# Could you have read them? And this is what the hidden units look for (red: ink, blue: paper):

# %%
figure, axes = plt.subplots(3, 10, figsize=(10, 3.2), layout="constrained")
order = np.argsort(-np.linalg.norm(parameters["w1_DF"], axis=0))
for axis, unit in zip(axes.flat, order, strict=False):
    weights = parameters["w1_DF"][:, unit].reshape(8, 8)
    axis.imshow(weights, cmap="RdBu_r", vmin=-np.abs(weights).max(), vmax=np.abs(weights).max())
    axis.set_axis_off()

# %% [markdown]
# ## The learning rate
#
# One epoch with each of five rates from 0.003 to 30. Which will have the lowest loss at the end?

# %%
prediction = None

# %%
rates = [0.003, 0.03, 0.3, 3.0, 30.0]
batches = list(islice(digits_network.batches(config, digits), config.steps_per_epoch(len(digits.train_BD))))
figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
final = []
for constant in rates:
    curve = [loss for loss, _ in ENGINES["numpy"](start, batches, lambda step, r=constant: r, 0.0)]
    final.append(np.mean(curve[-10:]))
    axes.semilogy(curve, label=f"{constant:g}: {final[-1]:.3g}")
axes.set(xlabel="step", ylabel="loss")
axes.legend(frameon=False, title="rate: loss at the end", loc="upper left", bbox_to_anchor=(1.01, 1))
predicted("best rate", prediction, rates[int(np.argmin(final))])

# %% [markdown]
# Too small, and nothing happens; too large, and the loss jumps above guessing and stays there. In between lies a factor
# of about ten that works. Finding it is the first thing to do with a new network.
#
# ## What you can now say
#
# - A network is trained by four lines: forward, loss, backward, step. Engines differ in who writes the third.
# - The first loss should be $\ln(\text{classes})$; if it is not, look at the initialisation before anything else.
# - Engines may be trusted because they can be checked: against each other, and against a measurement.
#
# Next: [lesson 4](04_makemore_counts.py), the same on text. A language model is a classifier whose classes are the next
# characters.
