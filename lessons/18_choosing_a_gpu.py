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
# # 18 · Choosing a GPU
#
# Which card does a model need, how many of them, and what will a million tokens cost? Two formulas answer most of it,
# one of memory and one of speed. After this lesson (about 40 minutes) you can
#
# - say how many tokens a server's KV-cache holds, as vLLM counts them,
# - say how fast an answer is written, and where more users cost nothing and where they do,
# - turn a speed into money, and a data sheet's peak into a utilisation that means something,
# - let `serve gpu` and `train gpu` do this for every card, and say where their model is wrong.

# %%
import matplotlib.pyplot as plt
import numpy as np
from checks import choosing_a_gpu as check
from checks import predicted

from llm_jax.config import model_preset
from llm_jax.hardware import catalogue
from llm_jax.hardware.prices import prices
from llm_jax.hardware.queueing import Load, Server, simulate
from llm_jax.hardware.serving_memory import serving_memory
from llm_jax.hardware.speed import Device, decode_seconds, prefill_seconds, training_seconds

BLUE, RED, GREY = "#1d5fbf", "#c2410c", "#8a8f98"
GIB = 2**30
model = model_preset("llama-1b")
print(
    f"{model.n_parameters:,} parameters, {model.n_layers} layers, {model.kv_heads} of {model.n_heads} heads have keys"
)

# %% [markdown]
# ## Memory
#
# A server holds the weights, a workspace for the largest step, and the KV-cache. vLLM takes a share of the card
# (`gpu_memory_utilization`, 0.9 by default) and gives the cache what the others leave:
#
# $$\text{cache} = u \cdot M - \text{weights} - \text{workspace} - \text{outside PyTorch}$$
#
# $u$ is a share of the whole card, not of what is left. The cache is cut into blocks of 16 tokens.
#
# ### Exercise 1
# How many tokens does the cache hold? All sizes are in bytes; only whole blocks count; where nothing is left the answer
# is 0. (The check asks for Llama-3.1-8B on an RTX 3090: 31,312 tokens. vLLM's own log says 31,232.)


# %%
def tokens_in_the_cache(memory, utilisation, weights, workspace, outside, bytes_per_token):
    """Tokens, a multiple of 16."""
    ...


# %%
check.tokens_in_the_cache(tokens_in_the_cache)

# %% [markdown]
# The 1-billion-parameter Llama in bfloat16 on a card of 24 GB: weights take 2.5 GB, and a token of the cache 32 KiB.
# How many users with 8,192 tokens each fit beside the weights?

# %%
prediction = None

# %%
card = next(entry for entry in catalogue.accelerators() if entry.name == "RTX 3090")
memory = serving_memory(model, card.reported_memory.value * 2**20, batched_tokens=2048)
print(f"weights {memory.weights / GIB:.2f} GiB, cache {memory.cache / GIB:.1f} GiB, {memory.tokens:,} tokens")
predicted("users of 8,192 tokens", prediction, memory.tokens // 8192)

# %% [markdown]
# ## Speed
#
# To write one token, every weight is read once and every user's cache once. The weights are read for all users
# together, the caches for each. Arithmetic hides behind the reading until there are very many users:
#
# $$t = \max\Big(\frac{P\,b}{\beta},\ \frac{2\,P\,B}{\pi}\Big) + \frac{B \cdot S \cdot c}{\beta}$$
#
# $P$ parameters of $b$ bytes, $B$ users with $S$ tokens of $c$ bytes in their caches, bandwidth $\beta$, peak $\pi$.
#
# ### Exercise 2
# The seconds of a step by this formula. (Both rates are what can be reached; the tool takes 0.76 of the data sheet's.)


# %%
def step_seconds(parameters, bytes_each, users, context, bytes_per_token, bandwidth, peak):
    """Seconds to give each user one token."""
    ...


# %%
check.step_seconds(step_seconds)

# %% [markdown]
# An H100 reads 3.35 TB/s and computes 989 TFLOP/s in bfloat16. Up to how many users is a step bound by reading the
# weights, if their caches are empty?

# %%
prediction = None

# %%
h100 = next(entry for entry in catalogue.accelerators() if entry.name == "H100 SXM")
device = Device.of(h100, "bfloat16")
users = np.unique(np.geomspace(1, 2000, 60).astype(int))
times = np.array([decode_seconds(model, device, int(n), context=0) for n in users])
predicted("users", prediction, device.peak / device.bandwidth)  # 2·P·B/π = 2·P/β

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for context, colour in ((0, BLUE), (1024, RED), (8192, GREY)):
    times = np.array([decode_seconds(model, device, int(n), context) for n in users])
    left.loglog(users, 1e3 * times, color=colour, label=f"{context:,} tokens each")
    right.loglog(users, users / times, color=colour)
left.set(xlabel="users", ylabel="milliseconds a token", title="one user waits")
right.set(xlabel="users", ylabel="tokens a second, all together", title="the card earns")
left.legend(fontsize=8)
plt.show()

# %% [markdown]
# Left of the knee a batch is nearly free: ten users wait as long as one. With long contexts there is no knee: every
# user's cache is read, and soon the caches are most of what is read.
#
# ## Money
#
# ### Exercise 3
# Dollars for a million new tokens, from the price of an hour and the time of a step with `users` users.


# %%
def dollars_per_million(dollars_per_hour, users, seconds_per_step):
    """Of new tokens, when the card is always busy with this many users."""
    ...


# %%
check.dollars_per_million(dollars_per_million)

# %% [markdown]
# An H100 at 2 dollars an hour, our model, 1,024 tokens of context. How many times cheaper is a token with 64 users than
# with one?

# %%
prediction = None

# %%
cost = {n: 2.0 / 3600 / (n / decode_seconds(model, device, n, 1024)) * 1e6 for n in (1, 64)}
print(", ".join(f"{n} users: ${dollars:.3f} a million" for n, dollars in cost.items()))
predicted("times cheaper", prediction, cost[1] / cost[64])

# %% [markdown]
# ## How long users wait
#
# Requests come when they like. While a prompt is read, others wait a little; when they come faster than they are
# answered, the queue grows without end. `simulate` plays a server with continuous batching, step by step: prompts of
# 1,000 tokens and answers of 200, on average, on an L4.

# %%
l4 = next(entry for entry in catalogue.accelerators() if entry.name == "L4")
slow = Device.of(l4, "bfloat16")


def seconds_of_step(rows, context, prompt_tokens):
    decoding = decode_seconds(model, slow, rows, context) if rows else 0.0
    return decoding + (prefill_seconds(model, slow, 1, prompt_tokens) if prompt_tokens else 0.0)


held = serving_memory(model, l4.reported_memory.value * 2**20, 2048).tokens
rates = (1, 2, 4, 8, 12, 16, 20, 24)
waits = [simulate(Server(seconds_of_step, held, most_tokens=2048), Load(rate, 1000, 200, 200)) for rate in rates]
figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
for place, name, colour in ((0, "half of the users", BLUE), (2, "one in a hundred", RED)):
    axes.semilogy(rates, [w.first_token[place] for w in waits], "o-", color=colour, label=f"{name} waits longer")
axes.set(xlabel="requests a second", ylabel="seconds to the first token")
axes.legend(fontsize=8)
plt.show()
for rate, wait in zip(rates, waits, strict=True):
    print(f"{rate:4} a second: {wait.rows:6.1f} users at once, {1e3 * wait.per_token[0]:5.0f} ms a token")

# %% [markdown]
# ## Training
#
# Each token costs 6 FLOPs a parameter, forward and backward. The share of a card's peak that a run reaches is its
# utilisation (MFU). It is only worth something if the peak is the right one.
#
# ### Exercise 4
# A data sheet prints 1,979 TFLOP/s "with sparsity" for the H100's bfloat16. That is twice the dense rate, and training
# can use the dense rate only. Compute the utilisation from tokens a second; `is_sparse` says which peak is given.


# %%
def utilisation(tokens_per_second, parameters, peak, is_sparse):
    """MFU, between 0 and 1, of the dense peak. FLOPs of attention are left out."""
    ...


# %%
check.utilisation(utilisation)

# %% [markdown]
# ### Exercise 5
# Days to train: a model of so many parameters on so many tokens, on `devices` cards of `peak` FLOP/s (dense) at a
# utilisation.


# %%
def training_days(parameters, tokens, devices, peak, mfu): ...


# %%
check.training_days(training_days)

# %% [markdown]
# GPT-2 124M on ten billion tokens, eight H100: minutes? (llm.c needed 45.)

# %%
prediction = None

# %%
gpt2 = model_preset("gpt2-124m")
predicted("minutes", prediction, training_seconds(gpt2, device, 10e9) / 8 / 60)

# %% [markdown]
# ## The tool, and where it is wrong
#
# In a terminal, for every card of the catalogue at once:
#
#     python -m serve gpu llama-1b --context 4096 --users 32 --tokens-per-second 20
#     python -m train gpu gpt2-124m --tokens 10e9 --days 2
#
# What follows is its core: fast enough, then cheapest.

# %%
known, rows = prices(), []
for entry in catalogue.accelerators():
    if entry.bf16 is None or entry.name not in known:
        continue
    each = Device.of(entry, "bfloat16")
    seconds = decode_seconds(model, each, 32, 4096)
    room = serving_memory(model, entry.reported_memory.value * 2**20, 2048).tokens
    if room >= 32 * 4096 and 1 / seconds >= 20:
        price = known[entry.name].low
        rows.append((price / 3600 / (32 / seconds) * 1e6, entry.name, 1 / seconds, price))
for dollars, name, rate, price in sorted(rows):
    print(f"{name:14} {rate:5.0f} tokens/s a user, ${price:.2f} an hour, ${dollars:.3f} a million")

# %% [markdown]
# A model is to be checked with what others have measured. Four published speeds of Llama-7B (TensorRT-LLM, tokens a
# second, prompts and answers of 128 or 2,048 tokens) beside the formulas. Which of the four will they miss most?

# %%
prediction = None  # the number of a row, 1 to 4

# %%
llama_7b = model.__class__(
    vocab_size=32_000, context_length=4096, d_model=4096, n_heads=32, n_layers=32, mlp_width=11_008, norm="rms",
    positions="rotary", gated_mlp=True, activation="silu", attention_bias="none", mlp_bias=False, tied_head=False,
)  # fmt: skip
published = [  # card, format, users, prompt, answer, measured
    ("A100 SXM 80GB", "float16", 60, 128, 2048, 1928),
    ("H100 SXM", "fp8", 768, 128, 128, 19694),
    ("H100 SXM", "fp8", 80, 2048, 128, 2244),
    ("L40S", "fp8", 16, 2048, 2048, 531),
]
by_name = {entry.name: entry for entry in catalogue.accelerators()}
ratios = []
for name, dtype, n, prompt, answer, measured in published:
    each, cache = Device.of(by_name[name], dtype), "fp8" if dtype == "fp8" else None
    steps = answer * decode_seconds(llama_7b, each, n, prompt + answer / 2, dtype=dtype, cache_dtype=cache)
    found = n * answer / (prefill_seconds(llama_7b, each, n, prompt, dtype=dtype) + steps)
    ratios.append(found / measured)
    print(f"{name}, {dtype}, {n} users, {prompt} + {answer}: {found:,.0f} computed, {measured:,} measured")
predicted("the row that is missed most", prediction, 1 + int(np.argmax(np.abs(np.log(ratios)))))

# %% [markdown]
# With 768 users a step takes 20 milliseconds, and what the formulas leave out begins to count: the scheduler, the
# choice of 768 tokens, kernels that are too small. docs/hardware.md has the errors on all rows that the fit has not
# seen: 12 % in the median, 34 % at worst. Enough to choose a card; not enough to promise a customer a latency.
