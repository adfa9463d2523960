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
# # 1 · Automatic differentiation
#
# A neural network learns by being told, for every one of its parameters, which way to move it. That direction is a
# derivative, and a program finds it. After this lesson (about 30 minutes) you can
#
# - draw the graph of a computation and find every derivative in it with pencil and paper,
# - write the traversal that does this for any graph, and say why it must **add** where a value is used twice,
# - say which factor is transposed in each gradient of a matrix product,
# - train a small network with nothing but NumPy and the engine of this course, `llm_jax.autodiff`.
#
# You need Python, NumPy, and the chain rule from school. Run the cells from top to bottom (Shift + Enter). Where a cell
# asks for a prediction, write your number in place of `None` before you run the next one.

# %%
import inspect

import matplotlib.pyplot as plt
import numpy as np
from checks import autodiff as check
from checks import predicted

from llm_jax.autodiff import (
    Scalar,
    backward,
    draw,
    graph,
    hvp,
    jvp,
    numerical_grad,
    topological_order,
    value_and_grad,
)

# %% [markdown]
# ## A derivative can be measured
#
# The derivative of $f$ at $x$ says how much the output moves for a small move of the input. Take $f(x) = x^2 + 3x$ at
# $x = 2$. If $x$ grows by 0.001, by about how many times 0.001 does $f$ grow?

# %%
prediction = None


# %%
def f(x):
    return x**2 + 3 * x


predicted("growth of f, per growth of x", prediction, (f(2.001) - f(2.0)) / 0.001)

# %% [markdown]
# Calculus says $f'(x) = 2x + 3 = 7$. The measurement is a little off, because the curve bends within the step. A
# difference over the same distance to *both* sides cancels the error of the bend:
#
# $$f'(x) \approx \frac{f(x+h) - f(x-h)}{2h}$$
#
# ### Exercise 1
# Write it. (Replace `...` and run the cell, then the check.)


# %%
def slope(f, x, h=1e-5):
    """The derivative of f at x, measured from both sides."""
    ...


# %%
check.slope(slope)

# %% [markdown]
# Why not stop here? The measurement takes two evaluations of $f$ for *each* number that $f$ depends on. GPT-2 has
# 124 million of them. Reverse mode finds all 124 million derivatives at the cost of about three evaluations. It is the
# reason why neural networks can be trained at all. Measuring stays useful as a check: it uses no calculus, so it cannot
# make the same mistake as you.
#
# ## A computation is a graph
#
# A `Scalar` is a number that remembers how it was made. Here is one neuron: two inputs, two weights, a bias, tanh. (The
# odd bias is chosen so that the derivatives come out round.)

# %%
x1, x2 = Scalar(2.0), Scalar(0.0)
w1, w2 = Scalar(-3.0), Scalar(1.0)
b = Scalar(6.8813735870195432)
o = (x1 * w1 + x2 * w2 + b).tanh()
print("o =", o.value)

# %% [markdown]
# Draw its graph on paper: a card for each input and each computed number, and an edge from each card to the cards that
# it was computed from. On every edge write the **local** derivative, which says how much the result moves when that one
# number moves. For a product it is the *other* factor, for a sum it is 1, for tanh it is $1 - \tanh^2$, here 0.5.
#
# The chain rule: along a path, **multiply** the local derivatives. From `o` back to `w1` you pass the tanh, two sums
# and the product with `x1` = 2, so $\partial o / \partial w_1 = 0.5 \cdot 1 \cdot 1 \cdot 2 = 1$.
#
# `x2` is 0. Is the derivative with respect to `w2` therefore 0, too? And with respect to `x2` itself?

# %%
prediction = None  # ∂o/∂x2

# %%
derivatives = backward(o)
predicted("∂o/∂x2", prediction, derivatives[x2])
print("∂o/∂w2:", derivatives[w2])

draw(o, x1=x1, x2=x2, w1=w1, w2=w2, b=b, o=o)

# %% [markdown]
# Compare with your paper, from left to right. Each card shows what was computed, its value, and after ∂ the derivative
# of the output with respect to it; the small numbers on the edges are the local derivatives.
#
# The derivative with respect to a weight is proportional to its input. For an input of 0 it is 0. The input itself is
# multiplied by `w2` = 1, so its own derivative is that of the sum, 0.5. A weight does not learn from an input that is
# always 0: remember this for lesson 6.
#
# ### Exercise 2
# By hand: $L = (a \cdot b + c) \cdot f$. Give the four derivatives of $L$ as formulas.


# %%
def derivatives_of_L(a, b, c, f):
    """The derivatives of L = (a·b + c)·f, as {"a": …, "b": …, "c": …, "f": …}."""
    ...


# %%
check.derivatives_of_L(derivatives_of_L)

# %% [markdown]
# ## A value that is used twice
#
# Now the same value enters in two places: $y = a \cdot a + a$ at $a = 3$. There are three paths from $y$ back to $a$:
# two through the product, one straight. Which derivative do you expect at $a$?

# %%
prediction = None

# %%
a = Scalar(3.0)
y = a * a + a
predicted("∂y/∂a", prediction, backward(y)[a])

draw(y, a=a, y=y)

# %% [markdown]
# $\frac{d}{da}(a^2 + a) = 2a + 1 = 7$. Each path contributes, and the contributions **add**: $3 + 3 + 1$. Forgetting
# this is the most common mistake of everyone who writes such an engine, and it does not show as long as every value is
# used only once.
#
# So the whole rule is: *the derivative of the output with respect to a node is the sum, over all paths between them, of
# the product of the local derivatives along the path.* There can be astronomically many paths. The trick is to visit
# the nodes in the reverse of the order in which they were computed. Then all contributions to a node's derivative are
# already added when the node is visited. `topological_order` gives the order forward.

# %%
[node.operation or "input" for node in topological_order([y])]

# %% [markdown]
# ### Exercise 3
# Write reverse mode. Every node has `node.parents` (the nodes it was made from) and `node.jacobians` (one local
# derivative for each parent, in the same order). Begin with the derivative of the output with respect to itself.


# %%
def my_backward(output):
    """The derivative of `output` with respect to every node, as {node: derivative}."""
    derivatives = {node: 0.0 for node in topological_order([output])}
    # Your code: visit the nodes in the right order, and hand each one's derivative on to its parents;
    # at the end, return `derivatives`.
    ...


# %%
check.my_backward(my_backward)

# %% [markdown]
# Compare with the course's own. It is the same dozen lines, because there is nothing more to it. (Its `cotangent` is
# the derivative of the output with respect to itself: your 1.)

# %%
print(inspect.getsource(graph.pull_back))

# %% [markdown]
# Two things to notice in it. It returns the derivatives and stores nothing in the nodes, so running it twice gives the
# same answer twice (PyTorch keeps `.grad` in the tensors and adds to it, hence its `zero_grad`). And it needs no
# recursion, so a graph may be deep:

# %%
deep = start = Scalar(1.0)
for _ in range(10_000):
    deep = deep * 0.9999
print("∂/∂start through 10,000 products:", backward(deep)[start], "=", 0.9999**10_000)

# %% [markdown]
# ## From numbers to arrays
#
# A node for each number is easy to read, but slow. In the array engine a node is a whole array. The traversal does not
# change (it is the same function). The local derivative of an array operation is a linear map from a gradient of the
# output to a gradient of the input.
#
# You write plain NumPy. `value_and_grad(f)` is a function that returns $f$ and its gradient, for an argument of any
# structure (here a dict):

# %%
x = np.array([[1.0, 2.0, 3.0], [0.0, -1.0, 1.0]])  # 2 examples, 3 features
parameters = {"w": np.full((3, 2), 0.5), "b": np.zeros(2)}


def loss(parameters):
    return np.sum(np.tanh(x @ parameters["w"] + parameters["b"]) ** 2)


value, gradient = value_and_grad(loss)(parameters)
print("loss", value)
print("gradient", gradient)
print("measured", numerical_grad(loss, parameters))

# %% [markdown]
# `b` has the shape (2,), and broadcasting adds it to both examples: a value used twice! Its gradient is therefore the
# *sum* over the examples. The same goes for `w`.
#
# ### Exercise 4
# $y = x W$, and `dy` is the gradient of the loss with respect to $y$. Find the gradients of $x$ and $W$. In indices,
# $y_{bf} = \sum_d x_{bd} W_{df}$, so $dx_{bd} = \sum_f dy_{bf} W_{df}$ and $dW_{df} = \sum_b x_{bd} dy_{bf}$. Which
# matrix products are these? (You need not memorise it: a gradient has the shape of what it belongs to, and only one
# product has that shape.)


# %%
def matmul_gradients(dy, x, w):
    """dx and dW for y = x @ w."""
    ...


# %%
check.matmul_gradients(matmul_gradients)

# %% [markdown]
# ### Exercise 5
# The loss $L = \text{mean}\,(y - t)^2$ over all $n$ elements. Which `dy` does it send back?


# %%
def mean_squared_error_gradient(y, t):
    """∂L/∂y for L = mean((y − t)²)."""
    ...


# %%
check.mean_squared_error_gradient(mean_squared_error_gradient)

# %% [markdown]
# ## Training
#
# Two half moons, and a network 2 → 16 → 16 → 1 that has to tell them apart. It is the demonstration of
# [micrograd](https://github.com/karpathy/micrograd), Karpathy's engine of a hundred lines, with the same 337 initial
# weights. This is all that training is: compute the loss and its gradient, move every parameter a little against its
# derivative, repeat. How much of the 100 points will be on the right side after 100 steps, in percent?

# %%
prediction = None

# %%
from train.first_principles import moons

points, labels = moons.two_moons()
layers = moons.as_arrays(moons.initial_weights())
losses = []
for step in range(moons.STEPS):
    value, gradients = value_and_grad(moons.array_loss)(layers, points, labels)
    rate = moons.learning_rate(step)
    layers = [(w - rate * dw, b - rate * db) for (w, b), (dw, db) in zip(layers, gradients, strict=True)]
    losses.append(value)

right = np.sign(moons.array_scores(layers, points)) == labels
predicted("percent on the right side", prediction, 100 * right.mean())
print(f"loss {losses[0]:.4f} → {losses[-1]:.5f}  (micrograd's notebook: 0.8958 → 0.01098)")

# %%
figure, (left, map_) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.semilogy(losses, color="#3d7dd8")
left.set(title="loss", xlabel="step")
left.grid(alpha=0.25)
side = np.linspace(-1.8, 2.8, 120)
grid = np.stack(np.meshgrid(side, side - 0.3), axis=-1)
scores = moons.array_scores(layers, grid.reshape(-1, 2)).reshape(grid.shape[:2])
map_.contourf(grid[..., 0], grid[..., 1], np.tanh(scores), levels=20, cmap="RdBu_r", alpha=0.6)
map_.contour(grid[..., 0], grid[..., 1], scores, levels=[0.0], colors="black")
map_.scatter(*points.T, c=labels, cmap="RdBu_r", edgecolors="white", linewidths=0.8, s=32)
_ = map_.set(title="what the network says, and the border", ylim=(-1.5, 2.0))

# %% [markdown]
# The loss jumps about in the beginning: a learning rate of 1 is brave. Follow one step through the code. `array_loss`
# calls `np.mean`, `@` and `relu` on `Tensor`s, as if they were arrays. NumPy passes each call to
# [`llm_jax/autodiff/arrays/tensor.py`](../llm_jax/autodiff/arrays/tensor.py), which looks up the rule in
# [`elementwise.py`](../llm_jax/autodiff/rules/elementwise.py) or [`linear.py`](../llm_jax/autodiff/rules/linear.py),
# computes the value, and records a node. One rule, in full (`pull` takes a gradient of the output and returns that of
# the input, as in exercise 4; `push` comes below):

# %%
from llm_jax.autodiff import linear

print(inspect.getsource(linear.matmul))

# %% [markdown]
# ## The other direction, and both
#
# The same graph can be traversed forward: `jvp` takes *one direction of the input* and gives the derivative of *every
# output* along it. For one output and many inputs (a loss and its parameters), reverse mode is better; for one input
# and many outputs, forward mode. And since the gradient is computed by NumPy calls too, it can itself be
# differentiated: `hvp` gives the curvature along a direction.

# %%
value, derivative = jvp(lambda t: np.array([1.0, 2.0]) * t**2, (3.0,), (1.0,))
print("two outputs, one walk forward:", derivative)
print("curvature of x³ at 2, 6x =", hvp(lambda x: x**3, 2.0, 1.0))

# %% [markdown]
# ## The same in JAX
#
# The rest of the course uses JAX. You already know how: `jax.value_and_grad` has the signature you have just used, and
# `jax.numpy` the names of NumPy. What JAX adds is a compiler (`jit`), accelerators, and speed; the derivative is found
# as you have found it.

# %%
import jax
import jax.numpy as jnp


def loss_in_jax(parameters):
    return jnp.sum(jnp.tanh(x @ parameters["w"] + parameters["b"]) ** 2)


ours, theirs = value_and_grad(loss)(parameters)[1], jax.grad(loss_in_jax)(parameters)
for name in parameters:
    print(name, "differs by", f"{np.abs(ours[name] - theirs[name]).max():.0e}")

# %% [markdown]
# (JAX computes with 32 bits unless told otherwise, hence the difference in the seventh digit.)
#
# ## What you can now say
#
# - A derivative is the sum over paths of the product of local derivatives; reverse mode computes it for all inputs in
#   one traversal.
# - A value that is used several times gets the sum of its gradients: shared values, biases over a batch, a weight over
#   time.
# - A gradient has the shape of its variable.
#
# Next: [lesson 2](02_backprop_by_hand.py) does it without an engine, because some gradients are worth knowing by heart.
