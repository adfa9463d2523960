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
# # 2 · Backpropagation by hand
#
# An engine finds every derivative, so why derive any by hand? Because a handful of them turn up in every network, and
# knowing what they look like tells you what a network can learn and where it gets stuck. After this lesson (about 45
# minutes) you can
#
# - carry one example through a network and back on paper,
# - derive the gradients of softmax with cross-entropy, tanh, batch norm and attention,
# - say of each what it does to a gradient that passes through.
#
# You need lesson 1: local derivatives multiply along a path, and paths add.

# %%
import inspect

import matplotlib.pyplot as plt
import numpy as np
from checks import backprop_by_hand as check
from checks import predicted

from llm_jax.autodiff import by_hand, numerical_grad
from train.first_principles.paper.two_layers import PARAMETERS, short, with_numbers, work_through

rng = np.random.default_rng(0)

# %% [markdown]
# ## One example on paper
#
# Two inputs, two hidden units with tanh, two classes. Take a sheet of paper: the inputs are 1 and 0.5, class 2 is the
# right one, and these are the parameters (`w12` leads from input 1 to hidden unit 2, `v12` from hidden unit 1 to
# class 2):

# %%
PARAMETERS

# %% [markdown]
# The network gives the classes the probabilities 0.7596 and 0.2404. What is the derivative of the loss with respect to
# the first logit, `o1`?

# %%
prediction = None

# %%
sheet = work_through(1.0, 0.5, 2, PARAMETERS)
values = PARAMETERS | {"x1": 1.0, "x2": 0.5, "t1": 0.0, "t2": 1.0} | {line.name: line.value for line in sheet}
predicted("∂L/∂o1", prediction, values["do1"])
for line in sheet:
    print(f"{line.name:<5}= {line.formula:<21}= {with_numbers(line.formula, values, 4):<31}= {short(line.value, 4)}")

# %% [markdown]
# (`python -m train by-hand` prints the same for numbers of your choice and checks it against four engines.) Go through
# the lower half with a pencil. Each line is a local derivative times what came back from above, and `dh1` *adds* two
# contributions, because `h1` is used twice.
#
# ## Softmax and cross-entropy
#
# The loss of every classifier and of every language model. With $p = \text{softmax}(z)$,
#
# $$L = -\frac1B\sum_b \log p_{b,y_b}, \qquad \log p_{by} = z_{by} - \log\sum_u e^{z_{bu}}.$$
#
# The logarithm turns the quotient into a difference. Differentiate the two terms with respect to $z_{bv}$: the first
# gives 1 where $v$ is the label, the second gives... (try before you read on) $p_{bv}$ itself.
#
# ### Exercise 1
# Write the gradient for a batch of logits of shape (B, V) and labels of shape (B,).


# %%
def softmax_cross_entropy_gradient(logits, labels):
    """∂L/∂logits, shape (B, V), for the mean loss over the batch."""
    ...


# %%
check.softmax_cross_entropy_gradient(softmax_cross_entropy_gradient)

# %% [markdown]
# What does each row of this gradient add up to?

# %%
prediction = None

# %%
logits, labels = rng.normal(size=(6, 10)), np.array([3, 1, 4, 1, 5, 9])
_, p = by_hand.softmax_cross_entropy(logits, labels)
gradient = by_hand.softmax_cross_entropy_backward(p, labels)
predicted("sum of a row", prediction, round(gradient[0].sum(), 12))

figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
most = np.abs(gradient).max()
image = axes.imshow(gradient, cmap="RdBu_r", vmin=-most, vmax=most)
axes.set(xlabel="class", ylabel="example", title="what the network said minus what was right, over B", xticks=range(10))
_ = figure.colorbar(image)

# %% [markdown]
# One blue square in each row pulls the right logit up; what it pulls is paid for by all the others, in proportion to
# their probability. A logit that is already sure and right gets almost nothing: the gradient is the surprise.
#
# ## tanh, and how a unit dies
#
# $y = \tanh x$ has $\partial y/\partial x = 1 - y^2$: the derivative needs the *output* only, which the forward pass
# has kept anyway.
#
# ### Exercise 2


# %%
def tanh_gradient(dy, y):
    """dx, from dy and the OUTPUT y = tanh(x)."""
    ...


# %%
check.tanh_gradient(tanh_gradient)

# %% [markdown]
# A gradient of 1 goes back through a unit with $x = 4$. How much is left?

# %%
prediction = None

# %%
predicted("left of a gradient of 1", prediction, float(by_hand.tanh_backward(1.0, np.tanh(4.0))))

x = np.linspace(-5, 5, 200)
figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.plot(x, np.tanh(x), label="tanh x", color="#3d7dd8")
axes.plot(x, by_hand.tanh_backward(1.0, np.tanh(x)), label="what is left of a gradient", color="#c2410c")
axes.grid(alpha=0.25)
_ = axes.legend(frameon=False)

# %% [markdown]
# Through three such layers two billionths are left. A unit that is saturated for every example does not learn any more;
# lesson 6 looks for such units in a real network.
#
# ## Batch norm: three paths
#
# $n_b = (x_b - m)\,r$ with the mean $m$ and $r = (v + \varepsilon)^{-1/2}$ over the batch. One $x_a$ acts on every
# $n_b$: directly, through the mean, and through the variance. The three paths add up to
#
# $$dx = r\,\bigl(dn - \text{mean}(dn) - n\,\text{mean}(dn \cdot n)\bigr),$$
#
# with the means over the batch. Read the derivation in the docstring, with a pencil:

# %%
print(inspect.getsource(by_hand.batch_norm_backward))
from llm_jax.autodiff.by_hand import batch_norm as file

print(file.__doc__)

# %% [markdown]
# ### Exercise 3
# Write it for $n$ without gain and bias.


# %%
def normalise_gradient(dn, n, r):
    """dx for n = (x − mean)·r over the batch, the first axis; dn and n have shape (B, D), r has (D,)."""
    ...


# %%
check.normalise_gradient(normalise_gradient)

# %% [markdown]
# Add 5 to every $x$ of a feature. The output of batch norm does not notice. What follows for the mean of `dx` over the
# batch, whatever `dn` is?

# %%
prediction = None

# %%
x, dn = rng.normal(size=(8, 3)), rng.normal(size=(8, 3))
_, n, r = by_hand.batch_norm(x, np.ones(3), np.zeros(3))
dx, _, _ = by_hand.batch_norm_backward(dn, n, r, np.ones(3))
predicted("mean of dx over the batch", prediction, round(float(dx.mean(axis=0)[0]), 12))
measured = numerical_grad(lambda x: np.sum(by_hand.batch_norm(x, np.ones(3), np.zeros(3))[0] * dn), x)
print(f"by hand and measured differ by {np.abs(dx - measured).max():.0e}")

# %% [markdown]
# This is also why a bias in front of a batch norm is useless: its gradient is that sum over the batch, and it is 0.
#
# ## Attention
#
# Every query $i$ looks at all keys, gives them weights that add up to 1, and takes the weighted mean of the values:
#
# $$s_{ij} = q_i \cdot k_j/\sqrt H, \quad a_{ij} = \text{softmax}_j(s_{ij}), \quad o_i = \sum_j a_{ij} v_j.$$
#
# All of it is sums and products except the softmax. Its Jacobian is
# $\partial a_l/\partial s_j = a_l(\delta_{lj} - a_j)$, so going back *every* weight of a row matters for every score of
# that row.
#
# ### Exercise 4
# From `da` (the gradient of the weights) to `ds` (the gradient of the scores), for rows of any shape (..., S).


# %%
def softmax_gradient(da, a):
    """ds for a = softmax(s) over the last axis."""
    ...


# %%
check.softmax_gradient(softmax_gradient)

# %% [markdown]
# Six tokens, a causal mask: token $i$ may look at itself and at what came before. We ask for the gradient of the output
# of token 3 only (counting from 0). For how many of the 36 scores is it different from 0?

# %%
prediction = None

# %%
q, k, v = rng.normal(size=(3, 1, 6, 1, 4))  # one sequence, six tokens, one head of width 4
mask = np.tril(np.ones((1, 6, 6), bool))
_, a = by_hand.attention(q, k, v, mask)
do = np.zeros_like(v)
do[0, 3] = 1.0
da = np.einsum("BTNH,BSNH->BNTS", do, v)
ds = a * (da - (a * da).sum(axis=-1, keepdims=True))
predicted("scores with a gradient", prediction, int((np.abs(ds) > 1e-12).sum()))
dq, dk, dv = by_hand.attention_backward(do, q, k, v, a)

figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
most = np.abs(ds).max()
axes[0].imshow(a[0, 0], cmap="Blues", vmin=0, vmax=1)
axes[0].set(title="weights a", xlabel="key", ylabel="query")
axes[1].imshow(ds[0, 0], cmap="RdBu_r", vmin=-most, vmax=most)
axes[1].set(title="gradient of the scores", xlabel="key")
axes[2].bar(range(6), np.linalg.norm(dv[0, :, 0], axis=-1), color="#3d7dd8")
_ = axes[2].set(title="length of the gradient of each value", xlabel="token")

# %% [markdown]
# Nothing flows to tokens 4 and 5: the future has no influence, so it gets no gradient. The mask needed no line of its
# own; where it forbids, $a = 0$, and so $ds = 0$. The project tests its GPT for exactly this property.
#
# Now read the whole file, derivation and code, and find your line in it:

# %%
print(inspect.getsource(by_hand.attention_backward))

# %% [markdown]
# ## What you can now say
#
# - Softmax with cross-entropy sends back $(p - \text{one-hot})/B$; every row sums to 0.
# - tanh multiplies by $1 - y^2$ and lets nothing through where it is saturated.
# - Normalisation takes the mean and the component along its output off the gradient.
# - Attention moves gradients to where it looked, and never through its mask.
#
# Next: [lesson 3](03_digits.py) puts these lines together, and they learn to read.
