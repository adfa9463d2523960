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
# # 19 · Pretraining on FineWeb
#
# From a row of a web crawl to a loss curve, small enough for this machine, and then what the real run of GPT-2 124M
# on ten billion tokens costs. After this lesson (about 60 minutes) you can
#
# - turn rows into shards, shards into batches, and say which tokens a step sees,
# - set batch, micro-batches and learning rate as GPT-2's published runs do,
# - read a loss curve beside a published one, and say by how many steps a run is behind,
# - fit a scaling law to small runs, predict a larger one, and check the prediction,
# - say what the real run needs, and submit it.

# %%
import math
import tempfile
from functools import partial
from pathlib import Path
from pydoc_data.topics import topics

import jax
import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from checks import predicted
from checks import pretraining_on_fineweb as check

from llm_jax.config import DecoderConfig, Execution
from llm_jax.models import decoder
from train.data.loader import TokenBatches
from train.data.shards import open_tokens
from train.gpu.choice import Choice, choose
from train.gpu.config import GpuConfig
from train.optim.config import OptimizerConfig, ScheduleConfig
from train.optim.optimizer import learning_rate, make_optimizer
from train.prepare.config import PrepareConfig
from train.prepare.preparation import prepare
from train.pretrain.presets import preset
from train.pretrain.step import init_state, make_eval_step, make_train_step

BLUE, RED, GREY = "#1d5fbf", "#c2410c", "#8a8f98"
scratch = tempfile.TemporaryDirectory()
FOLDER = Path(scratch.name)

# %% [markdown]
# ## Rows
#
# FineWeb (Penedo et al. 2024, arXiv 2406.17557) is 15 trillion tokens of Common Crawl, as parquet files with a row
# for each page. Here the rows have its columns, and for text the help pages that come with Python, which every
# machine has. Three rows are such as a crawl has too.

# %%
WORDS_OF_OTHERS = {
    "cookies": "We use cookies. Accept all. Reject all.",
    "german": "Der Leuchtturmwärter stieg jeden Abend die Treppe hinauf und zündete die Lampe an.",
    "list": "\n".join(["Home", "Products", "Contact"] * 8),
}


def row(name, text, language="en", score=0.96):
    return {
        "text": text,
        "id": f"<urn:uuid:{name}>",
        "dump": "CC-MAIN-2024-10",
        "url": f"https://example.org/{name}",
        "date": "2024-03-01T00:00:00Z",
        "file_path": "s3://commoncrawl/crawl-data/example.warc.gz",
        "language": language,
        "language_score": score,
        "token_count": len(text) // 4,
    }


rows = [row(name, text) for name, text in topics.items()]
rows += [row(name, text, "de" if name == "german" else "en", 0.6) for name, text in WORDS_OF_OTHERS.items()]
rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
kept = [one for one in rows if one["language"] == "en" and one["language_score"] >= 0.65]
pq.write_table(pa.Table.from_pylist(kept), FOLDER / "000_00000.parquet")
size = sum(len(one["text"].encode()) for one in kept)
print(f"{len(rows)} rows, {len(kept)} kept, {size / 1e3:.0f} kB")
print({key: str(value)[:60] for key, value in kept[0].items()})

# %% [markdown]
# The two columns of language stand for FineWeb's whole chain of filters and deduplication, which lesson 15 takes
# apart and `python -m train curate` runs.
#
# ## Tokens
#
# Documents become one long stream of ids. A border (GPT-2's `<|endoftext|>`, id 50256) *precedes* each document, so
# that a model sees at a document's first token that nothing before it belongs to it.
#
# ### Exercise 1
# `documents` are lists of ids.


# %%
def stream(documents, border):
    """One list of ids."""
    ...


# %%
check.stream(stream)

# %% [markdown]
# GPT-2's tokenizer makes about 4.4 bytes of English into a token. Ours learns 512 ids from this text only. How many
# tokens will the text have?

# %%
prediction = None

# %%
manifest = prepare(
    PrepareConfig(
        source=(str(FOLDER / "000_00000.parquet"),),
        out=FOLDER / "shards",
        tokenizer="train:512",
        shard_tokens=50_000,
        processes=1,
    )
)
predicted("tokens", prediction, sum(shard.tokens for shard in manifest.shards))
for shard in manifest.shards:
    print(f"{shard.name}  {shard.split:5}  {shard.tokens:,} tokens  sha256 {shard.sha256[:12]}…")

# %% [markdown]
# A **shard** is llm.c's format: 256 numbers of four bytes (a magic number, a version, the count of tokens, zeros),
# then ids of two bytes. The real ones have 100 million tokens each. Bytes of a file of 50,000 tokens?

# %%
prediction = None

# %%
first = manifest.path(manifest.of_split("train")[0])
print("header:", np.fromfile(first, "<i4", count=4), "ids:", open_tokens(first)[:8])
predicted("bytes", prediction, first.stat().st_size)

# %% [markdown]
# ## Batches
#
# To predict T tokens one needs T + 1: inputs are all but the last, targets all but the first.
#
# ### Exercise 2
# Cut a stream into windows of T + 1 ids, so that every token but the first is a target exactly once. What does not fill
# a window at the end is left out.


# %%
def windows(tokens, context):
    """A list of lists of context + 1 ids."""
    ...


# %%
check.windows(windows)

# %%
CONTEXT, ROWS = 64, 32
batches = TokenBatches(manifest, "train", CONTEXT, ROWS, seed=1337)
print(f"{batches.windows:,} windows, {batches.batches_per_epoch} steps an epoch")
print("step 5 reads the windows", batches.windows_of(5)[:6], "…; asked again:", batches.windows_of(5)[:6], "…")

# %% [markdown]
# Which tokens a step sees is a function of the step's number and a seed: no state to save, nothing to lose when a run
# is killed, and the same for any number of machines. The order is a permutation that is computed and never stored.
#
# GPT-2 124M takes 524,288 tokens a step. Few devices hold so many at once, so a step is divided into
# **micro-batches**: their gradients are summed, and the optimizer acts once.
#
# ### Exercise 3
# How many micro-batches does a device compute for a step? `at_once` is the number of *sequences* it computes at once;
# all devices work in parallel.


# %%
def micro_batches(batch_tokens, context, devices, at_once):
    """A whole number; the sizes divide each other."""
    ...


# %%
check.micro_batches(micro_batches)

# %% [markdown]
# ## The schedule
#
# The learning rate rises over the first steps, when gradients say little, and then falls along half a cosine, so that
# the last steps settle.
#
# ### Exercise 4
# Steps count from 0. In the warm-up, step s has $(s+1)/(\text{warmup}+1)$ of the peak, so step `warmup` has the peak.
# Then the cosine falls, and reaches `final` · peak at the last step, `total` − 1.


# %%
def rate(step, peak, warmup, total, final=0.1):
    """The learning rate of this step."""
    ...


# %%
check.rate(rate)

# %%
STEPS = 160
SCHEDULE = ScheduleConfig(warmup_steps=10, final_fraction=0.1)
PEAK = 1e-2
_, axes = plt.subplots(figsize=(6, 2.4), layout="constrained")
axes.plot([learning_rate(SCHEDULE, PEAK, STEPS, s) for s in range(STEPS)], color=BLUE)
_ = axes.set(xlabel="step", ylabel="learning rate", ylim=0)

# %% [markdown]
# ## A run
#
# Before the first step a model knows nothing. Its loss is then about the logarithm of the vocabulary's size. For our
# 512 ids?

# %%
prediction = None

# %%
VOCABULARY = manifest.tokenizer.vocab_size
PLAN = decoder.make_plan(Execution(dtype="float32"))


def trained(width):
    """A model of one layer: its parameters in the block, its training losses, and its validation loss."""
    config = DecoderConfig(VOCABULARY, context_length=CONTEXT, d_model=width, n_heads=width // 8, n_layers=1)
    optimizer = make_optimizer(OptimizerConfig("muon", learning_rate=PEAK), decoder.dimension_letters(config))
    state = jax.jit(partial(init_state, config=config, optimizer=optimizer))(jax.random.key(0, impl="rbg"))
    step = jax.jit(make_train_step(config, PLAN, optimizer, micro_batches=1), donate_argnums=0)
    losses = []
    for number in range(STEPS):
        state, measured = step(state, batches.batch(number), learning_rate(SCHEDULE, PEAK, STEPS, number))
        losses.append(measured.loss)
    validation = TokenBatches(manifest, "val", CONTEXT, 1, seed=None)
    held_out = np.concatenate([validation.batch(i) for i in range(validation.windows)])
    total, weight = jax.jit(make_eval_step(config, PLAN))(state.params, held_out, np.ones(len(held_out), np.float32))
    in_block = config.n_parameters - (VOCABULARY + CONTEXT) * width
    return in_block, np.array(losses, float), float(total / weight)


WIDTHS = (8, 16, 24, 40, 64)
runs = {width: trained(width) for width in WIDTHS}
predicted("loss before the first step", prediction, runs[64][1][0])
for width, (in_block, losses, validation) in runs.items():
    print(f"width {width:3}: {in_block:7,} parameters in the block, validation {validation:.3f}")

# %% [markdown]
# ## Reading a curve
#
# llm.c's GPT-2 124M on ten billion tokens of FineWeb (Karpathy 2024; 524,288 tokens a step, warm-up of 700 steps,
# cosine to zero; validation losses from the record of 2024-10-13 in KellerJordan/modded-nanogpt, MIT):

# %%
REFERENCE_STEPS = [0, 250, 500, 1000, 1500, 2000, 3000, 4000, 6000, 8000, 10000, 12000, 14000, 16000, 18000, 19560]
REFERENCE = [
    11.0092, 6.1710, 5.3743, 4.3170, 4.0060, 3.8585, 3.6973, 3.6176,
    3.5069, 3.4431, 3.3924, 3.3509, 3.3149, 3.2882, 3.2746, 3.2722,
]  # fmt: skip

# %% [markdown]
# From 11.01 to 3.27: what share of the way, in per cent, is done after 1,000 of the 19,560 steps?

# %%
prediction = None

# %%
predicted("per cent", prediction, 100 * (REFERENCE[0] - REFERENCE[3]) / (REFERENCE[0] - REFERENCE[-1]))
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
left.plot(REFERENCE_STEPS, REFERENCE, "o-", color=GREY, markersize=3)
left.set(xlabel="step", ylabel="nats a token", title="GPT-2 124M on FineWeb, llm.c", ylim=(3, 7))
for width in (8, 64):
    right.plot(runs[width][1], label=f"width {width}", color=BLUE if width == 64 else RED)
right.axhline(math.log(VOCABULARY), color=GREY, linewidth=1, linestyle=":")
right.set(xlabel="step", title="ours, training losses")
right.legend(frameon=False)
plt.show()

# %% [markdown]
# The shapes are the same: a fall to what single tokens and pairs tell, then a long slope. The heights cannot be
# compared: ours has 512 ids of about two bytes each, llm.c's 50,257 of more than four. A run with the same data,
# tokenizer and batch *can* be compared, step by step; and a few hundredths are a lot. On the slope, "0.05 too high"
# says little; "800 steps behind" says more.
#
# ### Exercise 5
# A run has `loss` at `step`. By how many steps is it behind the reference, whose losses fall strictly? Between two
# points of the reference interpolate linearly; negative means ahead.


# %%
def steps_behind(steps, losses, step, loss):
    """`steps` and `losses` are the reference's."""
    ...


# %%
check.steps_behind(steps_behind)

# %% [markdown]
# A run of yours has 3.67 at step 4,000, where the reference has 3.62. How many steps behind?

# %%
prediction = None

# %%
reached = np.interp(-3.67, -np.array(REFERENCE), REFERENCE_STEPS)
predicted("steps behind", prediction, 4000 - reached)

# %% [markdown]
# (`python -m train pretrain … --reference curve.csv` draws a published curve behind yours, and `python -m train
# compare` puts two runs side by side.) What it may be, in the order in which to look: another validation set, a
# tokenizer or border that differs, a batch of another size, a learning rate that was not scaled, and only then the
# model.
#
# ## A scaling law
#
# With data and steps fixed, the loss falls with the model's size N like $L(N) = E + A / N^\alpha$ (Kaplan et al.
# 2020; Hoffmann et al. 2022, arXiv 2203.15556, add a term for the data). For a given $\alpha$ the two others are
# found by linear least squares: losses on a one and on $N^{-\alpha}$.
#
# ### Exercise 6


# %%
def fit_at(sizes, losses, alpha):
    """(E, A) with the least sum of squared errors."""
    ...


# %%
check.fit_at(fit_at)

# %%
sizes = np.array([runs[width][0] for width in WIDTHS], float)
found = np.array([runs[width][2] for width in WIDTHS])


def law(sizes, losses):
    """(E, A, α): the best of many α."""
    fits = []
    for alpha in np.linspace(0.05, 1.2, 116):
        columns = np.stack([np.ones_like(sizes), sizes**-alpha], axis=1)
        (e, a), *_ = np.linalg.lstsq(columns, losses, rcond=None)
        fits.append((((columns @ [e, a] - losses) ** 2).sum(), e, a, alpha))
    return min(fits)[1:]


e, a, alpha = law(sizes, found)
print(f"L(N) = {e:.2f} + {a:.2f} / N^{alpha:.2f}")
print("errors of the fit:", np.round(e + a * sizes**-alpha - found, 3))

# %% [markdown]
# The sixth model has width 96 and 2.2 times as many parameters as the largest of the five. What will its validation
# loss be? (The law's answer is printed beside yours.)

# %%
prediction = None

# %%
sixth, _, loss = trained(96)
by_law = e + a * sixth**-alpha
predicted("validation loss", prediction, loss)
print(
    f"the law said {by_law:.3f}: {by_law - loss:+.3f}; no change since width 64 would have been {found[-1] - loss:+.3f}"
)
_, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
many = np.geomspace(sizes[0], 3 * sixth, 100)
axes.semilogx(many, e + a * many**-alpha, color=GREY, label="fitted to five")
axes.plot(sizes, found, "o", color=BLUE, label="the five")
axes.plot([sixth], [loss], "s", color=RED, label="the sixth")
axes.set(xlabel="parameters in the block", ylabel="validation loss")
_ = axes.legend(frameon=False)

# %% [markdown]
# How far can one trust it? The five without one of them give another law; here is what each says of the sixth, and of
# a model a hundred times as large. Do they differ by more than the law has missed the sixth by?

# %%
for left_out in range(5):
    some = np.arange(5) != left_out
    e_, a_, alpha_ = law(sizes[some], found[some])
    far = e_ + a_ * (100 * sixth) ** -alpha_
    near = e_ + a_ * sixth**-alpha_
    print(f"without width {WIDTHS[left_out]:2}: E {e_:5.2f}, α {alpha_:.2f}, sixth {near:.3f}, ×100 {far:.2f}")

# %% [markdown]
# Most of the laws agree to a hundredth. The one without the largest model differs most, and for a model a hundred
# times as large they are a tenth of a nat apart: what is far away hangs on the last points. All of them are too low
# for the sixth, and by more than most fits miss their own points: what was held fixed, data and steps, begins to
# limit the larger model, and the law does not know. So the scatter of a fit says how well it describes, not how well
# it predicts. (E is likewise where *this* series ends, not where language does.) A law is a ruler for the next factor
# of a few. And each run has to be trained well: with a learning rate that fits only one width the points are not of
# one law.
#
# ## The real run
#
# GPT-2 124M, ten billion tokens: 19,073 steps of 524,288. By Hoffmann et al. a model of N parameters is best served
# by some 20 N tokens. How many billions would that be?

# %%
prediction = None

# %%
real = preset("gpt2-124m")
predicted("billion tokens", prediction, 20 * real.model.n_parameters / 1e9)

# %% [markdown]
# It is trained for longer than that, because a small model that was trained longer is cheaper to use. Eight H100s:
# how many minutes? (llm.c published 45.)

# %%
prediction = None

# %%
choices = [c for c in choose(real, GpuConfig("gpt2-124m", tokens=10e9, devices=(1, 8))) if isinstance(c, Choice)]
(h100,) = [one for one in choices if one.accelerator == "H100 SXM" and one.devices == 8]
predicted("minutes", prediction, 24 * 60 * h100.days)
print(f"{'':16}  ×  tokens/s   hours   dollars")
for one in choices[:10]:
    dollars = f"{one.price.low:.0f} to {one.price.high:.0f}" if one.price else "not known"
    print(f"{one.accelerator:16} {one.devices:2} {one.tokens_per_second:9,.0f} {24 * one.days:7.1f}   {dollars}")

# %% [markdown]
# These are computed from one efficiency fitted to published runs (docs/hardware.md has its errors); `python -m train
# gpu gpt2-124m --tokens 10e9` prints them all, and why other cards cannot do it. Then, on a cluster's login node:
#
#     python -m train submit prepare --array 0-31 -- --source 'fineweb/sample/10BT/*.parquet' --out data/fineweb
#     python -m train submit pretrain gpt2-124m --gpus-per-node 8 --time 2:00:00 --dry-run -- --data data/fineweb
#
# The first is 32 tasks that tokenize, and one that writes shards and manifest when all have ended. `--dry-run` prints
# the script instead of submitting it. At its time limit a run saves, goes back into the queue, and continues at the
# next step (docs/cluster.md). Read the first hundred steps before you go home: the loss begins near ln 50,257 =
# 10.82, is below 7 after 250 steps, and the gradient's norm falls below 1.

# %%
scratch.cleanup()
