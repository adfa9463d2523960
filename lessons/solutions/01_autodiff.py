# %% [markdown]
# # Solutions of lesson 1

# %%
from llm_jax.autodiff import topological_order

# %% [markdown]
# **1.** The points lie 2h apart.


# %%
def slope(f, x, h=1e-5):
    return (f(x + h) - f(x - h)) / (2 * h)


# %% [markdown]
# **2.** With $e = ab$, $d = e + c$, $L = df$: $\partial L/\partial d = f$ and $\partial L/\partial f = d$. The sum
# hands $f$ on to $c$ and $e$ unchanged; the product multiplies it by the other factor.


# %%
def derivatives_of_L(a, b, c, f):
    return {"a": b * f, "b": a * f, "c": f, "f": a * b + c}


# %% [markdown]
# **3.** In the reversed order, a node comes after everything it flows into, so its derivative is complete.


# %%
def my_backward(output):
    derivatives = {node: 0.0 for node in topological_order([output])}
    derivatives[output] = 1.0
    for node in reversed(list(derivatives)):
        for parent, jacobian in zip(node.parents, node.jacobians, strict=True):
            derivatives[parent] += derivatives[node] * jacobian
    return derivatives


# %% [markdown]
# **4.** (B, F) times (F, D) is (B, D); (D, B) times (B, F) is (D, F). The product sums over the examples by itself.


# %%
def matmul_gradients(dy, x, w):
    return dy @ w.T, x.T @ dy


# %% [markdown]
# **5.** Without the mean, the step would grow with the size of the batch.


# %%
def mean_squared_error_gradient(y, t):
    return 2 * (y - t) / y.size
