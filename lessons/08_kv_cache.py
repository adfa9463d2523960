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
# # 8 · The KV-cache
#
# A model writes one token at a time, and for each one it reads everything again. Almost all of that work was done
# before. After this lesson (about 45 minutes) you can
#
# - count the multiplications of generation, with a cache and without,
# - write a cached step, and test a cache so that its usual faults show,
# - say how many bytes a token of context costs, and what grouped heads save,
# - explain why reading a prompt is limited by arithmetic and writing an answer by memory, and what a batch changes.

# %%
import math
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from checks import kv_cache as check
from checks import predicted

from llm_jax.config import DecoderConfig, Execution, llama, model_preset
from llm_jax.hardware import catalogue
from llm_jax.layers import attention as library
from llm_jax.layers.linear import linear
from llm_jax.models import decoder

BLUE, RED, GREY = "#1d5fbf", "#c2410c", "#8a8f98"
PLAIN = decoder.make_plan(Execution(dtype="float32", kernels="plain"))  # every formula as layers/ writes it
FAST = decoder.make_plan(Execution(dtype="float32"))  # the kernels for this machine

# %% [markdown]
# ## What is computed again
#
# With a causal mask a token's hidden states depend on the tokens before it, never on those after it (lesson 7). So when
# a token is added at the end, nothing changes for the others. Three rows of 16 tokens, and the same rows with other
# tokens from the eleventh on: how far apart are the hidden states of the first ten?

# %%
prediction = None

# %%
nano = llama(vocab_size=300, context_length=64, d_model=64, n_heads=4, n_kv_heads=2, n_layers=2, mlp_width=128)
fresh = jax.jit(decoder.init, static_argnums=1)(jax.random.key(0, impl="rbg"), nano)  # rbg: compiles fast
params = jax.tree.map(lambda p: 5 * p if p.ndim > 1 else p, fresh)
rows, others = np.random.default_rng(5).integers(0, 300, (2, 3, 16))


@jax.jit
def hidden_states(params, tokens):
    """The last layer's hidden states (B, T, D), without a cache."""
    return decoder.forward(params, tokens, nano, PLAIN)[0]


changed = np.where(np.arange(16) < 10, rows, others)
everything = hidden_states(params, rows)
difference = (everything - hidden_states(params, changed))[:, :10]
predicted("largest difference", prediction, float(jnp.abs(difference).max()))

# %% [markdown]
# What does a new token need from the earlier ones? Their keys and values, in every layer, and nothing else: it reads
# them in attention, and every other part of the model works on each token by itself. So keys and values are kept: the
# **KV-cache**.
#
# ### Exercise 1
# A prompt of `prompt` tokens is given, and `new` tokens are to be generated. How many positions run through the model
# in all? Without a cache each new token needs a pass over all tokens so far. With one, the prompt runs once, and then
# each new token by itself. (The last token is only chosen: it need not run.)


# %%
def positions_computed(prompt, new):
    """(without a cache, with a cache): positions that run through the model."""
    ...


# %%
check.positions_computed(positions_computed)

# %% [markdown]
# A prompt of 100 tokens and an answer of 100: how many times more positions without a cache?

# %%
prediction = None

# %%
without, cached = sum(range(100, 200)), 199
print(f"{without:,} positions without, {cached} with")
predicted("times more", prediction, without / cached)

# %% [markdown]
# ## Multiplications
#
# A position multiplies with every weight of the blocks once. In attention each query meets each key and each value: in
# each layer $2 \cdot N \cdot H$ multiplications for a pair of tokens. The head, $V \cdot D$, is needed at the last
# position only. A pass over $T$ new tokens, where $S$ tokens can be read, costs
#
# $$T \cdot W_\text{blocks} + 2LNH \cdot T \cdot S + V D$$
#
# (A mask saves nothing here: masked scores are computed, too.) A formula wants to be checked. Our decoder takes the
# functions that compute it from a plan, so we give it functions that count. `jax.eval_shape` runs a program on shapes
# alone, without numbers, so GPT-2 124M costs us nothing.


# %%
def counted(config, n_new, n_read, is_cached):
    """Multiplications of one pass over `n_new` tokens; with a cache, `n_read` slots are read."""
    count = 0

    def counting_linear(layer, x, n_inputs=1):
        nonlocal count
        count += x.size // math.prod(layer.weight.shape[:n_inputs]) * layer.weight.size
        return linear(layer, x, n_inputs)

    def counting_attend(q, k, v):
        nonlocal count
        count += 2 * q.size * k.shape[1]
        return library.causal_attend(q, k, v)

    def counting_cached(q, cache, mask):
        nonlocal count
        count += 2 * q.size * cache.k_RSH.shape[1]
        return library.cached_attend(q, cache, mask)

    kernels = PLAIN.kernels._replace(
        linear=counting_linear, causal_attend=counting_attend, cached_attend=counting_cached
    )

    def one_pass():
        params = decoder.init(jax.random.key(0), config)
        cache = decoder.empty_cache(config, 1, n_read, jnp.float32) if is_cached else None
        return decoder.forward(params, jnp.zeros((1, n_new), int), config, PLAIN._replace(kernels=kernels), cache)[0]

    jax.eval_shape(one_pass)
    return count + config.vocab_size * config.d_model


def derived(config, n_new, n_read):
    d, f = config.d_model, config.d_hidden
    queries, keys = config.n_heads * config.d_head, config.kv_heads * config.d_head
    weights = config.n_layers * (2 * d * queries + 2 * d * keys + (3 if config.gated_mlp else 2) * d * f)
    pairs = 2 * config.n_layers * config.n_heads * config.d_head * n_new * n_read
    return n_new * weights + pairs + config.vocab_size * d


gpt2 = model_preset("gpt2-124m")
print(f"200 tokens, no cache:     counted {counted(gpt2, 200, 200, False):,}, derived {derived(gpt2, 200, 200):,}")
print(f"1 token, 200 in a cache:  counted {counted(gpt2, 1, 200, True):,}, derived {derived(gpt2, 1, 200):,}")

# %% [markdown]
# ## One step, by hand
#
# A head has the keys and values of the tokens so far, and the query, key and value of the new one.
#
# ### Exercise 2
# The new key and value go to the end of the cache, then the query attends. No mask is needed (why?). Return the output
# and the new cache.


# %%
def cached_step(q, k, v, keys, values):
    """q, k, v (H,) of the new token; keys, values (S, H). Returns output (H,), keys and values (S + 1, H)."""
    ...


# %%
check.cached_step(cached_step)

# %% [markdown]
# The library does the same for all layers and heads. `decoder.forward` is given a cache and returns one. First the
# **prefill**: the prompt in one pass, which fills the cache. Then **decoding**: one token at a time. It has to agree
# with a pass over everything; by how much may it differ?

# %%
prediction = None


# %%
@jax.jit
def cached_pass(params, tokens, cache):
    """Hidden states of these tokens, which follow those in the cache, and the cache with them."""
    return decoder.forward(params, tokens, nano, PLAIN, cache)


cache = decoder.empty_cache(nano, batch=3, length=16, dtype=jnp.float32)
hidden, cache = cached_pass(params, rows[:, :10], cache)  # prefill
found = [hidden]
for t in range(10, 16):
    hidden, cache = cached_pass(params, rows[:, t : t + 1], cache)  # decoding
    found.append(hidden)
difference = jnp.concatenate(found, axis=1) - everything
predicted("largest difference", prediction, float(jnp.abs(difference).max()))

# %% [markdown]
# ## Timed
#
# Time for one more token after 64 to 512 tokens, for a model of two layers, on your machine. The pass without a cache
# grows with the length. How many times faster is the cached step at 512?

# %%
prediction = None

# %%
LENGTHS = (64, 128, 256, 512)
timed = DecoderConfig(vocab_size=512, context_length=512, d_model=384, n_heads=6, n_layers=2)
timed_params = jax.jit(decoder.init, static_argnums=1)(jax.random.key(0, impl="rbg"), timed)


def seconds(run, *arguments, repeats=7):
    """The shortest of several runs, after one to compile."""
    jax.block_until_ready(run(*arguments))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(run(*arguments))
        times.append(time.perf_counter() - start)
    return min(times)


@jax.jit
def full_pass(params, tokens):
    return decoder.forward(params, tokens, timed, FAST)[0][:, -1]


@jax.jit
def one_step(params, cache):
    return decoder.forward(params, jnp.ones((1, 1), int), timed, FAST, cache)[0]


times = {"without": [], "with": []}
for length in LENGTHS:
    row = jnp.ones((1, length), int)
    filled = decoder.empty_cache(timed, 1, length, jnp.float32)
    times["without"].append(seconds(full_pass, timed_params, row))
    times["with"].append(seconds(one_step, timed_params, filled))
predicted("times faster at 512 tokens", prediction, times["without"][-1] / times["with"][-1])

figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
lengths = np.arange(1, 1025)
axes[0].plot(lengths, [derived(gpt2, n, n) / 1e9 for n in lengths], color=RED, label="without a cache")
axes[0].plot(lengths, [derived(gpt2, 1, n) / 1e9 for n in lengths], color=BLUE, label="with a cache")
axes[0].set(title="GPT-2 124M: multiplications", ylabel="billions for one more token")
for (name, measured), color in zip(times.items(), (RED, BLUE), strict=True):
    axes[1].plot(LENGTHS, np.array(measured) * 1000, "o-", color=color, label=f"{name} a cache")
axes[1].set(title="two layers of width 384: time here", ylabel="milliseconds for one more token")
for axis in axes:
    axis.set(xlabel="tokens so far", yscale="log")
    axis.legend(frameon=False)
    axis.grid(alpha=0.25)

# %% [markdown]
# At 1,024 tokens GPT-2 multiplies 750 times less with a cache. In time a cache saves less, and you will see why below:
# a step with a cache is not limited by multiplications.
#
# ## Bytes
#
# The price is memory. For each token, each layer keeps a key and a value for each head *of keys*.
#
# ### Exercise 3


# %%
def cache_bytes(n_layers, n_kv_heads, head_width, n_tokens, bytes_per_number=2):
    """Bytes of the cache of one row of `n_tokens` tokens; bfloat16 has 2 bytes."""
    ...


# %%
check.cache_bytes(cache_bytes)

# %% [markdown]
# Llama-2-13B has 40 layers and 40 heads of width 128; its weights have 26 GB in bfloat16. How many GB (of $10^9$ bytes)
# does the cache of one conversation of 8,192 tokens have?

# %%
prediction = None

# %%
llama_13b = llama(
    vocab_size=32000, d_model=5120, n_heads=40, n_layers=40, mlp_width=13824, context_length=8192, tied_head=False
)


def bytes_of_cache(config, n_tokens):
    """What the library would allocate."""
    cache = jax.eval_shape(lambda: decoder.empty_cache(config, 1, n_tokens, jnp.bfloat16))
    return sum(array.size * array.dtype.itemsize for array in jax.tree.leaves(cache.layers))


predicted("GB", prediction, bytes_of_cache(llama_13b, 8192) / 1e9)
print(f"GPT-2 124M: {bytes_of_cache(gpt2, 1):,} bytes a token")

# %% [markdown]
# Four such conversations need more memory than the model. That is why later models group their heads: eight heads of
# keys in place of 40 would need a fifth.

# %%
names = {
    "GPT-2 124M": gpt2,
    "SmolLM2 135M": model_preset("smollm2-135m"),
    "Qwen3 0.6B": model_preset("qwen3-0.6b"),
    "Llama 3.2 1B": model_preset("llama-1b"),
    "Llama 2 13B": llama_13b,
}
each = [bytes_of_cache(config, 1) / 1000 for config in names.values()]
ungrouped = [kb * config.n_heads / config.kv_heads for kb, config in zip(each, names.values(), strict=True)]
figure, axis = plt.subplots(figsize=(8, 3.6), layout="constrained")
axis.barh(list(names), ungrouped, color="#d6dde8", label="if each head of queries had its own keys")
axis.barh(list(names), each, color=BLUE, label="as it is")
for y, (kb, config) in enumerate(zip(each, names.values(), strict=True)):
    heads = f"{config.n_heads} heads, {config.kv_heads} of keys"
    axis.text(max(ungrouped[y], kb) * 1.05, y, f"{kb:.0f} kB, {heads}", va="center", fontsize=9)
axis.set(xlabel="kB for each token of context, in bfloat16", xscale="log", xlim=(10, 9000))
axis.invert_yaxis()
_ = axis.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)

# %% [markdown]
# ## Why prefill and decoding differ
#
# A matrix of weights has to come from memory before it can be multiplied with anything. In a prefill of 1,000 tokens a
# weight that was read is used 1,000 times. In a decoding step it is used once. The **arithmetic intensity** is the
# number of operations for each byte that is read. With $n$ positions in a pass and weights of 2 bytes:
#
# $$\frac{2 \cdot n \cdot W \text{ operations}}{2 \cdot W \text{ bytes}} = n \text{ operations per byte}$$
#
# A machine has a ratio of its own: what it can compute in the time in which it reads a byte. Below it memory is the
# limit, above it arithmetic.

# %%
for device in catalogue.accelerators():
    if device.name in ("T4", "A100 SXM 80GB", "H100 SXM", "H200"):
        ratio = device.training_peak.value * 1e12 / (device.bandwidth.value * 1e9)
        print(f"{device.name}: {ratio:.0f} operations for each byte")

# %% [markdown]
# An H100 that decodes one row computes 1 operation for each byte and could compute hundreds: it waits for memory nearly
# all of the time. Your processor is no different. A matrix of 64 MB is multiplied with one vector, with two, … How
# many times longer do 8 vectors take than one?

# %%
prediction = None

# %%
matrix = jnp.asarray(np.random.default_rng(0).normal(size=(4096, 4096)), jnp.float32)
product = jax.jit(jnp.matmul)
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# Vectors are columns here, because for few of them XLA's product of this form is the fastest on a CPU.
took = np.array([seconds(product, matrix, jnp.ones((4096, n))) for n in COUNTS])
predicted("times longer", prediction, took[3] / took[0])

figure, axes = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
axes[0].plot(COUNTS, took * 1000, "o-", color=BLUE)
axes[0].axhline(took[0] * 1000, color=GREY, ls=":", label="one vector: reading the matrix")
axes[0].set(title="time of the product", ylabel="milliseconds")
axes[1].plot(COUNTS, np.array(COUNTS) / took, "o-", color=RED)
axes[1].set(title="vectors in a second", ylabel="vectors/s")
for axis in axes:
    axis.set(xlabel="vectors (positions in the pass)", xscale="log", yscale="log")
    axis.set_xticks(COUNTS, COUNTS)
    axis.minorticks_off()
    axis.grid(alpha=0.25)
_ = axes[0].legend(frameon=False)

# %% [markdown]
# Few vectors cost about as much as one; many cost as much as their arithmetic. So a **batch** makes decoding cheap:
# the weights are read once for all rows. Only the cache is not shared: each row has its own, and it is read in each
# step, too.
#
# ### Exercise 4
# The most tokens in a second that memory allows: a step gives one token to each row; it has to read the weights once,
# and the cache of every row.


# %%
def tokens_per_second(weight_bytes, cache_bytes_per_row, rows, bandwidth):
    """An upper bound for decoding, all rows together; bandwidth in bytes/s."""
    ...


# %%
check.tokens_per_second(tokens_per_second)

# %% [markdown]
# GPT-2 124M on an H200: 247 MB of weights in bfloat16 (of the positions one row is read) at 4.3 TB/s, nine tenths of
# what the data sheet says. How many microseconds does one token take at least, for one row?

# %%
prediction = None

# %%
weights = 2 * (gpt2.n_parameters - gpt2.n_positions * gpt2.d_model)
predicted("microseconds", prediction, weights / 4.3e12 * 1e6)

figure, axis = plt.subplots(figsize=(7.5, 4), layout="constrained")
batch, weights = np.arange(1, 257), 2 * llama_13b.n_parameters
for length, color in ((0, GREY), (1024, BLUE), (8192, RED)):
    cache = length * bytes_of_cache(llama_13b, 1)
    fits = batch * cache + weights < 141e9
    speed = batch / ((weights + batch * cache) / 4.3e12)
    label = f"{length:,} tokens of context" if length else "if no cache had to be read"
    axis.plot(batch[fits], speed[fits], color=color, label=label)
    axis.plot(batch[~fits], speed[~fits], color=color, ls=":", alpha=0.6)
axis.set(title="Llama 2 13B on an H200: the most that memory allows", xlabel="rows in the batch")
axis.set(ylabel="tokens/s, all rows", xscale="log", yscale="log")
axis.grid(alpha=0.25)
_ = axis.legend(frameon=False)

# %% [markdown]
# Dotted: weights and caches do not fit into the 141 GB any more. The caches, not the weights, decide how many people a
# machine can serve. Servers therefore cut the cache into pages and give them out as needed (Kwon et al. 2023, vLLM).
#
# ## Which cache is faulty?
#
# A cache that is slightly wrong still writes fluent text. Only numbers show it. Five caches, A to E: one is correct,
# and each of the others has one of these faults:

# %%
print("\n".join(check.KINDS))

# %% [markdown]
# The test: three prompts of 10, 6 and 1 tokens in one batch, padded on the right to 10. Prefill, then six tokens of
# each row are decoded, and the hidden states are compared with those of a pass over everything. A row is right if its
# error is about $10^{-6}$. How large will the error of a faulty one be, at most? (The numbers in a hidden state are of
# the size 1.)

# %%
prediction = None

# %%
PROMPTS, STEPS = np.array([10, 6, 1]), 6
prompts = np.where(np.arange(10) < PROMPTS[:, None], rows[:, :10], 0)
_, prefilled = cached_pass(params, prompts, decoder.empty_cache(nano, 3, 16, jnp.float32))


def errors(letter):
    """(rows, steps): the largest error of each row's hidden state at each decoded token."""
    cache, found = check.after_prefill(letter, prefilled, PROMPTS, nano), []
    for step in range(STEPS):
        at = PROMPTS + step
        hidden, cache = cached_pass(params, rows[np.arange(3), at][:, None], cache)
        found.append(jnp.abs(hidden[:, 0] - everything[np.arange(3), at]).max(axis=-1))
    return np.stack(found, axis=1)


worst = 0.0
figure, axes = plt.subplots(1, 5, figsize=(14, 3.3), layout="constrained", sharey=True)
for axis, letter in zip(axes, "ABCDE", strict=True):
    measured = errors(letter)
    worst = max(worst, measured.max())
    for error, length, color, marker in zip(measured, PROMPTS, (BLUE, RED, "#15803d"), "os^", strict=True):
        axis.plot(
            np.arange(1, STEPS + 1), np.maximum(error, 1e-8), marker + "-", color=color, label=f"prompt of {length}"
        )
    axis.set(title=letter, yscale="log", ylim=(1e-8, 30), xlabel="decoded token")
axes[0].set(ylabel="largest error")
axes[0].legend(frameon=False)
predicted("largest error", prediction, worst)

# %% [markdown]
# ### Exercise 5
# Put a kind to each letter. Hints: what is special about position 0? Which slot is the last one of the long prompt, and
# what lies there in the other rows?


# %%
def diagnosis():
    """{"A": one of the kinds above, "B": …, "C": …, "D": …, "E": …}"""
    ...


# %%
check.diagnosis(diagnosis)

# %% [markdown]
# This is how caches are tested here, too: rows of different lengths, a prompt of one token, and a comparison with the
# full pass (`tests/layers`, `tests/decode`).
#
# ## What you can now say
#
# - A cache turns the work for $n$ tokens from $n^2$ positions into $n$.
# - It costs 2 · layers · heads of keys · width · bytes for each token; grouped heads shrink it.
# - Prefill uses each weight many times and is limited by arithmetic; decoding uses it once for each row and is limited
#   by memory.
# - A batch shares the weights, not the caches.
# - A cache is tested with padded rows and short prompts against the pass over everything.
#
# On the command line: `python -m serve generate RUN` decodes with this cache, and `python -m serve bench` measures a
# server. The code is short: `llm_jax/layers/cache.py` and `llm_jax/decode/loop.py`.
