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
# # 7 · The Transformer
#
# The networks of lesson 5 read a window of fixed length or squeeze the past into one state. A Transformer keeps every
# token and lets each one choose which earlier tokens it reads. After this lesson (about 60 minutes) you can
#
# - compute attention by hand, and recognise weights that cannot be right,
# - mask the future, and prove with gradients that it is masked,
# - say what positions add to attention, and why a rotary score depends on the distance only,
# - write a whole Llama in NumPy: heads, shared heads of keys, RMS norm, SwiGLU, residual stream,
# - read attention maps, and say from a map what a head does.

# %%
import os
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from checks import predicted
from checks import transformer as check

from llm_jax import hf
from llm_jax.backend import cache_folder
from llm_jax.config import DecoderConfig, Execution, llama
from llm_jax.inspect import recorder
from llm_jax.layers import attention as library
from llm_jax.layers import norm, rotary
from llm_jax.models import decoder

BLUE, RED, GREY = "#1d5fbf", "#c2410c", "#8a8f98"
PLAIN = decoder.make_plan(Execution(dtype="float32", kernels="plain"))  # every formula as layers/ writes it

# %% [markdown]
# ## Attention by hand
#
# Each token asks a question (its **query**), offers a description of itself (its **key**) and holds something to pass
# on (its **value**). The product query · key is a **score**: how well does this token answer that question? A softmax
# turns the scores of one query into **weights**, and the output is the mean of the values with these weights.
#
# The smallest example: six words, each word a single number that is query, key and value at once. The query is "sat".
#
# | word | the | cat | sat | on | the | mat |
# |---|---|---|---|---|---|---|
# | key = value | 1 | 5 | 3 | 2 | 1 | 4 |
# | score, 3 · key | 3 | 15 | 9 | 6 | 3 | 12 |
#
# A well-known course notebook prints the weights 0.04, 0.24, 0.14, 0.10, 0.04, 0.19 for these scores, and an output of
# 1.87. What is wrong with them can be seen without computing a single exponential. What do they sum to?

# %%
prediction = None

# %%
words = ["the", "cat", "sat", "on", "the", "mat"]
values = np.array([1.0, 5, 3, 2, 1, 4])
scores = 3 * values
printed = np.array([0.04, 0.24, 0.14, 0.10, 0.04, 0.19])
predicted("sum of the printed weights", prediction, printed.sum())

# %% [markdown]
# Weights of a mean sum to 1. These do not, so the output is too small: all values lie between 1 and 5, and so must
# their mean, but 1.87 lies far below what the two large weights pull towards. Dividing the scores by their sum (which
# is what that notebook says it does) gives an output of 3.5. Attention does neither: it takes a softmax, and there a
# score that is larger by 3 gets $e^3 \approx 20$ times the weight. Where will the output lie now?

# %%
prediction = None

# %%
softmax = np.exp(scores) / np.exp(scores).sum()
for word, score, wrong, right in zip(words, scores, printed, softmax, strict=True):
    print(
        f"{word:4} score {score:4.0f}   printed {wrong:.2f}   divided {score / scores.sum():.4f}   softmax {right:.4f}"
    )
print(f"sums: printed {printed.sum():.2f}, divided {(scores / scores.sum()).sum():.2f}, softmax {softmax.sum():.2f}")
predicted("output", prediction, softmax @ values)

# %% [markdown]
# "sat" reads almost only "cat": a softmax of large scores is nearly a choice. Scores are sums of $H$ products, where
# $H$ is the width of query and key, so they grow like $\sqrt H$. They are divided by $\sqrt H$, so that a wide head
# does not begin with a hard choice, which passes hardly any gradient (Vaswani et al. 2017, eq. 1):
#
# $$o_t = \sum_s a_{ts}\, v_s \qquad a_{ts} = \frac{e^{q_t \cdot k_s/\sqrt H}}{\sum_r e^{q_t \cdot k_r/\sqrt H}}$$
#
# ### Exercise 1
# `q` has the shape (T, H), `k` (S, H), `v` (S, W); the output has the shape (T, W). No mask yet.


# %%
def attend(q, k, v):
    """softmax(q·kᵀ/√H)·v: for each query the mean of the values with its weights."""
    ...


# %%
check.attend(attend)

# %% [markdown]
# Four tokens, where query, key and value differ. The query of each token is the key of the token before it, so each one
# looks for its predecessor (the first one for the last: there is no mask yet).

# %%
angle = np.array([0.0, 1.0, 2.0, 3.0])
k = 3 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
q = np.roll(k, 1, axis=0)
v = np.eye(4)  # token s passes on "I was number s", so the output is the weights themselves
with np.printoptions(precision=3, suppress=True):
    print("scores / √2\n", q @ k.T / np.sqrt(2))
    exponentials = np.exp(q @ k.T / np.sqrt(2))
    print("weights: each row sums to 1\n", exponentials / exponentials.sum(axis=1, keepdims=True))
    one_head = (jnp.asarray(x)[None, :, None] for x in (q, k, v))  # a batch of one, one head
    from_library = library.attend(*one_head, np.ones((1, 4, 4), bool))[0, :, 0]
    print("the same from llm_jax.layers.attention\n", np.asarray(from_library))

# %% [markdown]
# ## The mask
#
# A model that predicts the next token must not read it. So position $t$ may read positions $s \le t$ only: itself and
# what came before. The scores of all others become $-\infty$ **before** the softmax; their weights are 0, and the rest
# still sums to 1.
#
# ### Exercise 2


# %%
def masked_weights(scores, may_read):
    """Weights (T, S) from scores (T, S); may_read (T, S) is True where a query may read a key."""
    ...


# %%
check.masked_weights(masked_weights)

# %% [markdown]
# How does one *prove* that a mask is right? Not by looking at it: True means "may read" in this code base, in JAX and
# in PyTorch's `scaled_dot_product_attention`, but "blocked" in PyTorch's `nn.MultiheadAttention`. By gradients. If
# position $t$ cannot read token $s$, then the derivative of its output with respect to that token is zero: not small,
# zero. A whole model is as easy to test as one layer. `watch` lets us add something to the embeddings (it sees every
# hidden layer), and the derivative with respect to what we add is what we are looking for.
#
# The course notebook inverts its mask by mistake: each token reads what comes *after* it. Two layers of our decoder,
# with the causal mask and with the inverted one. Of the 8 × 8 derivatives, how many are zero with the causal mask?

# %%
prediction = None

# %%
nano = llama(vocab_size=300, context_length=32, d_model=64, n_heads=4, n_kv_heads=2, n_layers=2, mlp_width=128)
# Weights five times as large as fresh ones: with those, all attention weights would be nearly equal.
fresh = jax.jit(decoder.init, static_argnums=1)(jax.random.key(0, impl="rbg"), nano)  # rbg: compiles fast
nano_params = jax.tree.map(lambda p: 5 * p if p.ndim > 1 else p, fresh)
eight = np.arange(8) * 5


def with_attention(function):
    """The plan that computes attention by this function of queries, keys and values."""
    return PLAIN._replace(kernels=PLAIN.kernels._replace(causal_attend=function))


@jax.jit
def influence(may_read):
    """(T, S): how much the output at position t changes with the embedding of token s, by the mask (T, S)."""
    plan = with_attention(lambda q, k, v: library.attend(q, k, v, may_read[None]))

    def outputs(nudge):
        def watch(name, x):
            return x + nudge if name == "embedding" else x

        return decoder.forward(nano_params, eight[None], nano, plan, watch=watch)[0][0].sum(axis=-1)

    jacobian = jax.jacrev(outputs)(jnp.zeros((1, 8, nano.d_model)))
    return jnp.linalg.norm(jacobian[:, 0], axis=-1)


causal = np.asarray(influence(np.tril(np.ones((8, 8), bool))))
inverted = np.asarray(influence(np.triu(np.ones((8, 8), bool), k=1)))
predicted("derivatives that are exactly zero", prediction, (causal == 0).sum())

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for axis, found, name in ((axes[0], causal, "causal mask"), (axes[1], inverted, "inverted mask")):
    axis.imshow(np.where(found == 0, np.nan, np.log10(np.maximum(found, 1e-30))), cmap="Blues")
    for t, s in np.argwhere(found == 0):
        axis.text(s, t, "0", ha="center", va="center", color=GREY)
    axis.set(title=name, xlabel="token that is changed", ylabel="output that is looked at")

# %% [markdown]
# On the left, all 28 entries above the diagonal are zero: no output depends on a later token. On the right, each output
# depends on the tokens after it, so the "prediction" of the next token is read off. The loss of such a model falls
# to nearly nothing in training, and it can generate nothing, because then there is no next token to read. (The last
# token may read none, so its weights are 0/0. Our `attend` then reads all tokens alike; others return NaN.)
# **A loss that is too good to be true is a mask that is wrong.**
#
# ## Several heads
#
# One softmax makes one choice. A model wants several at once: the previous token, the subject, the opening bracket. So
# the width $D$ is split into $N$ **heads** of width $H = D/N$. Each has its own queries, keys and values, and its own
# weights; the outputs are put side by side and multiplied by one more matrix.
#
# Keys and values of all earlier tokens must be kept while a model generates (lesson 8), so later models have fewer
# heads of keys than of queries: **grouped heads** (Ainslie et al. 2023). With 8 heads of queries and 2 of keys,
# queries 0 to 3 share key head 0, queries 4 to 7 share key head 1.
#
# ### Exercise 3


# %%
def key_head(query_head, n_heads, n_kv_heads):
    """The number of the head of keys that a head of queries reads."""
    ...


# %%
check.key_head(key_head)

# %% [markdown]
# ## Positions
#
# Nothing so far knows about order. The output is a sum over tokens, and a sum does not care: exchange two earlier
# tokens, and the last token's output stays the same.

# %%
x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 5, 1, 8)), jnp.float32)
for order in ([0, 1, 2, 3, 4], [2, 0, 3, 1, 4]):
    print(order, library.causal_attend(*[x[:, np.array(order)]] * 3)[0, -1, 0, :4])

# %% [markdown]
# GPT-2 adds a **learned** vector to the embedding, one for each position: a table of 1,024 rows. Nothing tells the
# model that row 7 comes after row 6, and there is no row 1,025.
#
# **Rotary** positions (Su et al. 2021) add nothing. They turn queries and keys. Take two dimensions of a head as a
# point in the plane, and turn it by an angle that is proportional to the position $m$:
#
# $$x' = x \cos m\omega - y \sin m\omega \qquad y' = x \sin m\omega + y \cos m\omega$$
#
# The product of two turned points depends on the difference of the angles only, and so on the *distance* of the tokens.
# A head has $H/2$ such pairs. Pair $i$ is the dimensions $i$ and $i + H/2$ and turns with its own frequency
# $\omega_i = \theta^{-2i/H}$: the first pairs turn fast and see near distances, the last ones slowly.
#
# ### Exercise 4


# %%
def rotate(x, position, theta=10000.0):
    """x (H,), a query or a key at this position, turned: pair i is x[i] and x[i + H/2]."""
    ...


# %%
check.rotate(rotate)

# %% [markdown]
# The same query and the same key, at all positions. With learned positions the score depends on both positions, with
# rotary ones on their distance. How far apart will the scores of the pairs (3, 1), (13, 11) and (113, 111) be at most?

# %%
prediction = None

# %%
width = 32
pair = llama(d_model=width, n_heads=1, context_length=128)
one_query, one_key, *_ = np.random.default_rng(3).normal(size=(2, width)).astype(np.float32)
everywhere = rotary.rotation(pair, jnp.arange(128))
queries, keys = (
    np.asarray(rotary.rotate(jnp.tile(each, (1, 128, 1, 1)), everywhere))[0, :, 0] for each in (one_query, one_key)
)
by_rotation = queries @ keys.T / np.sqrt(width)
table = np.random.default_rng(4).normal(size=(128, width)) * 0.5
by_table = (one_query + table) @ (one_key + table).T / np.sqrt(width)
same_distance = by_rotation[[3, 13, 113], [1, 11, 111]]
print("scores at distance 2:", same_distance)
predicted("largest difference", prediction, same_distance.max() - same_distance.min())

# %%
figure, axes = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
for axis, each, name in ((axes[0], by_table, "learned: a table"), (axes[1], by_rotation, "rotary")):
    axis.imshow(each[:40, :40], cmap="RdBu_r", vmin=-2, vmax=2)
    axis.set(title=f"score, {name}", xlabel="position of the key", ylabel="position of the query")
for at, color in ((40, BLUE), (80, RED), (127, GREY)):
    dashes = "--" if at == 80 else ":" if at == 127 else "-"
    axes[2].plot(np.arange(41), by_rotation[at, at - np.arange(41)], dashes, color=color, label=f"query at {at}")
axes[2].set(title="rotary: three queries, one curve", xlabel="distance", ylabel="score")
_ = axes[2].legend(frameon=False)

# %% [markdown]
# In the middle every diagonal has one colour: a rotary score knows the distance and nothing else. Keep it in mind; it
# will matter below.
#
# ## The block and the residual stream
#
# The rest is small. A **block** adds twice to a stream that runs through the whole model:
#
# $$x \leftarrow x + \mathrm{attention}(\mathrm{norm}(x)) \qquad x \leftarrow x + \mathrm{mlp}(\mathrm{norm}(x))$$
#
# Attention moves information between positions; the MLP works at each position by itself. The gradient runs through
# the sums unchanged to the first layer (lesson 1: a sum hands it on), which is why a hundred layers can be trained. The
# norm stands *before* each part, outside the stream (pre-norm, as in GPT-2). In the Transformer of 2017 it stood on the
# stream itself (post-norm), and deep models were harder to train. The course notebook explains the first and builds
# the second.
#
# **RMS norm** (Zhang & Sennrich 2019) is layer norm without the mean: divide by the root of the mean square, multiply
# by a learned gain.
#
# ### Exercise 5


# %%
def rms_norm(x, gain, epsilon=1e-5):
    """x / √(mean(x²) + ε) · gain over the last axis."""
    ...


# %%
check.rms_norm(rms_norm)

# %% [markdown]
# **SwiGLU** (Shazeer 2020) is an MLP with a gate: one matrix makes a gate, a second makes values, and the product of
# both goes through a third. With $\mathrm{silu}(x) = x/(1+e^{-x})$:
#
# $$\mathrm{mlp}(x) = \big(\mathrm{silu}(xW_\text{gate}) \odot xW_\text{up}\big)\,W_\text{down}$$
#
# ## A whole Llama
#
# Now everything together, in NumPy, with grouped heads and rotary positions. It is short because there is no more to
# it. (It has the answers to what you were asked above: look at it after you have tried.)


# %%
def numpy_llama(params, tokens, config):
    """Logits (T, V) of one row of tokens."""
    n_shared, half = config.n_heads // config.kv_heads, config.d_head // 2
    position = np.arange(len(tokens))
    angles = position[:, None, None] * config.rotary_theta ** (-np.arange(half) / half)
    blocked = position[:, None] < position

    def normal(x, gain):
        return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + config.norm_epsilon) * gain

    def turned(x):
        a, b = np.split(x, 2, axis=-1)
        return np.concatenate([a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles)], -1)

    x = params.token_embedding[tokens]
    for block in params.blocks:
        normed, qkv = normal(x, block.norm_1.gain), block.attention.qkv
        q, k, v = (np.einsum("td,dnh->tnh", normed, each.weight) for each in (qkv.q, qkv.k, qkv.v))
        q, k, v = turned(q), np.repeat(turned(k), n_shared, axis=1), np.repeat(v, n_shared, axis=1)
        scores = np.einsum("tnh,snh->nts", q, k) / np.sqrt(config.d_head)
        weights = np.exp(np.where(blocked, -np.inf, scores))
        weights /= weights.sum(axis=-1, keepdims=True)
        x = x + np.einsum("nts,snh,nhd->td", weights, v, block.attention.out.weight)
        normed, mlp = normal(x, block.norm_2.gain), block.mlp
        gate = normed @ mlp.gate.weight
        x = x + (gate / (1 + np.exp(-gate)) * (normed @ mlp.up.weight)) @ mlp.down.weight
    return normal(x, params.norm.gain) @ params.token_embedding[: config.vocab_size].T


# %% [markdown]
# The library computes in 32 bits, this in 64. How far apart will the logits be?

# %%
prediction = None

# %%
text = np.random.default_rng(0).integers(0, 300, 24)
ours = numpy_llama(jax.tree.map(lambda p: np.asarray(p, float), nano_params), text, nano)


@jax.jit
def library_logits(params, row):
    hidden, _ = decoder.forward(params, row[None], nano, PLAIN)
    return decoder.logits(params, hidden, nano)[0]


theirs = library_logits(nano_params, text)
print(f"logits between {ours.min():.2f} and {ours.max():.2f}")
predicted("largest difference of the logits", prediction, np.abs(ours - theirs).max())

# %% [markdown]
# GPT-2 is the same decoder with other choices: layer norm, a table of positions, GELU without a gate, biases
# (`llm_jax/config/`). Its first loss is ln V = 10.82 if the embedding is small enough; with an embedding of width 1,
# as in the course notebook, it is about 104.
#
# ## What does a head look at?
#
# Two tasks for a model of one layer and two heads. It reads eight random letters and a mark, and must write the letters
# again: forwards (**copy**) or backwards (**reverse**).
#
#     copy      q w e r t y u i | q w e r t y u i
#     reverse   q w e r t y u i | i u y t r e w q
#
# Both tasks, with learned and with rotary positions: four small trainings. A random guess costs ln 26 = 3.26. In three
# of the four the loss falls to nearly 0. Which is the fourth, and what will its loss be?

# %%
prediction = None

# %%
LETTERS, STEPS, ROWS = 8, 250, 32
MARK = 26
sizes = {"vocab_size": 27, "context_length": 2 * LETTERS, "d_model": 64, "n_heads": 2, "n_layers": 1, "mlp_width": 128}
MODELS = {"learned": DecoderConfig(**sizes), "rotary": llama(**sizes)}


def examples(task, *shape, seed=0):
    """Rows of letters, mark, letters again."""
    letters = np.random.default_rng(seed).integers(0, MARK, (*shape, LETTERS))
    again = letters if task == "copy" else letters[..., ::-1]
    return np.concatenate([letters, np.full((*shape, 1), MARK), again], axis=-1)


def trainer(config):
    """A function that trains on steps of batches (steps, rows, tokens): all steps in one call of the device."""
    optimizer = optax.adam(4e-3)
    counts = jnp.tile(jnp.arange(2 * LETTERS) >= LETTERS, (ROWS, 1)).astype(jnp.float32)  # from the mark on

    def loss(params, rows):
        total, weight = decoder.loss(params, rows[:, :-1], rows[:, 1:], config, PLAIN, counts)
        return total / weight

    def step(state, rows):
        params, moments = state
        value, gradient = jax.value_and_grad(loss)(params, rows)
        updates, moments = optimizer.update(gradient, moments)
        return (optax.apply_updates(params, updates), moments), value

    def train(batches):
        params = decoder.init(jax.random.key(0, impl="rbg"), config)
        (params, _), losses = jax.lax.scan(step, (params, optimizer.init(params)), batches)
        return params, losses

    return jax.jit(train)


trained, curves = {}, {}
for name, config in MODELS.items():
    train = trainer(config)
    for task in ("copy", "reverse"):
        trained[name, task], curves[name, task] = train(examples(task, STEPS, ROWS))
predicted("loss where it fails", prediction, max(float(each[-20:].mean()) for each in curves.values()))

# %%
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
for (name, task), losses in curves.items():
    style = {"color": BLUE if name == "learned" else RED, "ls": "-" if task == "copy" else "--"}
    axes.plot(losses, label=f"{name}, {task}: {losses[-20:].mean():.3f}", **style)
axes.axhline(np.log(MARK), color=GREY, ls=":", label="guessing, ln 26")
axes.set(xlabel="step", ylabel="loss (nats per letter)")
_ = axes.legend(frameon=False)

# %% [markdown]
# For copying, the letter to be written stands 8 tokens before the query, always: a fixed distance, which rotary
# positions can express. For reversing it stands 1 token before the mark, then 3 before the next query, then 5. To know
# which, a query would have to know where *it* stands, and a rotary score knows distances only. The model finds the
# first letter (the mark is a token of its own, and from there the distance is 1) and knows of the others little more
# than which ones are left. A second layer cures it (with `n_layers=2`, 4 heads and 600 steps the loss is 0.01): the
# first one can find out how far away the mark is.
#
# To see what the heads read, we need the attention weights. The decoder takes the function that computes attention from
# its plan, so we give it one that keeps a record:


# %%
@partial(jax.jit, static_argnums=2)
def attention_maps(params, row, config):
    """The attention weights (L, N, T, T) for one row of tokens."""
    maps = []

    def attend_and_keep(q, k, v):
        may_read = jnp.tril(jnp.ones((q.shape[1], q.shape[1]), bool))
        # Values that say "I am number s" in place of the model's: then the output is the weights.
        numbers = jnp.broadcast_to(jnp.eye(q.shape[1])[None, :, None], (*k.shape[:3], q.shape[1]))
        maps.append(library.attend(q, k, numbers, may_read[None])[0].swapaxes(0, 1))
        return library.causal_attend(q, k, v)

    decoder.forward(params, row[None], config, with_attention(attend_and_keep))
    return jnp.stack(maps)


def draw_map(axis, weights, labels, title):
    axis.imshow(weights, cmap="Blues", vmin=0, vmax=1)
    axis.set_title(title, fontsize=10)
    size = 9 if len(labels) <= 20 else 8
    axis.set_xticks(range(len(labels)), labels, fontsize=size, rotation=0 if len(labels) <= 20 else 90)
    axis.set_yticks(range(len(labels)), labels, fontsize=size)


# %%
figure, axes = plt.subplots(2, 2, figsize=(9, 9.4), layout="constrained")
for axis, (name, task) in zip(axes.flat, trained, strict=True):
    row = examples(task, seed=1)[:-1]
    weights = np.asarray(attention_maps(trained[name, task], row, MODELS[name]))[0]
    assert np.allclose(weights.sum(axis=-1), 1, atol=1e-5)
    # Of the two heads the one that decides more clearly after the mark.
    clearest = weights[:, LETTERS:].max(axis=-1).mean(axis=-1).argmax()
    labels = ["|" if each == MARK else chr(97 + each) for each in row]
    draw_map(axis, weights[clearest], labels, f"{name}, {task}: head {clearest}")
figure.supxlabel("key: the token that is read")
figure.supylabel("query: the token that reads")
plt.show()

# %% [markdown]
# Rows are queries, columns keys, and every row sums to 1. Look at the lower half, below the mark. "copy" is a line
# parallel to the diagonal: a fixed distance. "reverse" with learned positions is a line across it. Rotary "reverse"
# reads the right letter at the mark, and has no line after it.
#
# The **residual stream** of the model that reverses: read the prediction off after each half block, as if the model
# ended there. Which part has solved the task?

# %%
config = MODELS["learned"]


@jax.jit
def read_off(params, rows):
    """Place in the model → loss of the prediction that is read off there, and the mean length of the stream."""
    seen, watch = recorder()
    decoder.forward(params, rows[:, :-1], config, PLAIN, watch=watch)
    found = {}
    for place, stream in seen.items():
        hidden = norm.layer_norm(params.norm, stream, config.norm_epsilon)
        log_p = jax.nn.log_softmax(decoder.logits(params, hidden, config))
        losses = -jnp.take_along_axis(log_p, rows[:, 1:, None], axis=-1)[:, LETTERS:]
        found[place] = losses.mean(), jnp.linalg.norm(stream, axis=-1).mean()
    return found


found = read_off(trained["learned", "reverse"], examples("reverse", 64, seed=2))
for place in ("embedding", "block 1, after attention", "block 1, after MLP"):
    print("{:26} loss {:.3f}, length of the stream {:.1f}".format(place, *found[place]))

# %% [markdown]
# ## A real model
#
# The same function for SmolLM2-135M: 30 layers of 9 heads. It reads a sentence twice, so that heads of a famous kind
# have something to find: **induction heads** (Olsson et al. 2022) look for what came after the same token before. From
# the 270 heads we show the one that looks most at the previous token, at the first token, and at the token after the
# previous occurrence.

# %%
SENTENCE = "The quick fox saw a green bird near the lake."


def real_model():
    """SmolLM2-135M-Instruct, if its Hugging Face files are on this machine."""
    found = os.environ.get("LLM_JAX_SMOLLM2")
    folder = Path(found) if found else cache_folder() / "models" / "smollm2-135m-instruct"
    if (folder / "config.json").is_file():
        return hf.load(folder)
    print("SmolLM2-135M-Instruct is not here. `python tests/smollm2.py` makes it; or put config.json,")
    print(f"model.safetensors and tokenizer.json of HuggingFaceTB/SmolLM2-135M-Instruct into {folder},")
    print("or set LLM_JAX_SMOLLM2 to their folder.")
    return None


def draw_heads(maps, kinds, labels):
    """For each kind of head (name → where it looks, (T, T)) the head that does it most."""
    _, axes = plt.subplots(1, len(kinds), figsize=(5 * len(kinds), 5.3), layout="constrained", squeeze=False)
    for axis, (kind, looks_at) in zip(axes.flat, kinds.items(), strict=True):
        share = (maps * looks_at).sum(axis=(2, 3)) / looks_at.any(axis=1).sum()
        layer, head = np.unravel_index(share.argmax(), share.shape)
        draw_map(axis, maps[layer, head], labels, f"{kind}:\nlayer {layer + 1}, head {head}, {share.max():.0%}")
    plt.show()


real = real_model()
if real is not None:
    half = real.tokenizer.encode(" " + SENTENCE)
    ids, n = [*half, *half], 2 * len(half)
    maps = np.asarray(attention_maps(real.params, np.array(ids), real.config))
    kinds = {
        "the previous token": np.eye(n, k=-1),
        "the first token": np.eye(1, n) * (np.arange(n) > 0)[:, None],
        "the token after the same one": np.eye(n, k=-(len(half) - 1)),
    }
    draw_heads(maps, kinds, [real.tokenizer.decode([each]).strip() for each in ids])
else:
    # The same function finds the head of our small model that copies.
    ids = examples("copy", seed=3)[:-1]
    n, maps = len(ids), np.asarray(attention_maps(trained["rotary", "copy"], ids, MODELS["rotary"]))
    draw_heads(
        maps,
        {"the token at distance 8": np.eye(n, k=-LETTERS)},
        ["|" if each == MARK else chr(97 + each) for each in ids],
    )

# %% [markdown]
# This is what SmolLM2 shows (`docs/images/attention-smollm2.png`):
#
# ![three heads of SmolLM2](../docs/images/attention-smollm2.png)
#
# In the picture on the right, the second "quick" reads the "fox" after the first one: this head knows what came next
# last time. In the first sentence nothing has come before, and it looks at the first token. So do many: more than half
# of the 270 heads put most of their weight there. Weights must sum to 1, so a head that finds nothing to read has to
# put them somewhere (Xiao et al. 2023, "attention sinks"). With the model at hand, change `SENTENCE` and look at other
# heads.
#
# ## What you can now say
#
# - Weights of attention are a softmax: each row sums to 1. What does not is wrong.
# - A mask is proved by gradients: the derivative with respect to a later token is exactly zero.
# - Attention without positions reads a set. A table knows places, a rotation knows distances.
# - A block adds to the stream: attention moves information between tokens, the MLP works on each.
# - GPT-2 and Llama are one decoder with a few different choices.
#
# Next: how such a model generates without computing everything again for every token: [lesson 8](08_kv_cache.py).
