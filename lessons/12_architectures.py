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
# # 12 · Architectures
#
# The same block (attention, MLP, norms) makes three models. An **encoder** lets every token see every other one, a
# **decoder** lets it see those before it, an **encoder–decoder** reads with the first and writes with the second. After
# this lesson (about 90 minutes) you can
#
# - mask a text as BERT does, and say what share of it teaches,
# - write attention to a source, and see what a trained model looks at,
# - compute positions from sines, smooth labels, and compare hypotheses of different length,
# - say why the models that we talk to are decoders, and where they are not the best.

# %%

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from checks import architectures as check
from checks import predicted

from llm_jax.config import DecoderConfig, Execution
from llm_jax.models import decoder
from llm_jax.models.encoder import forward as encoder
from llm_jax.models.encoder.config import EncoderConfig
from llm_jax.models.encoder.parameters import init as init_encoder

PLAN = decoder.make_plan(Execution(dtype="float32"))
BLUE, RED = "#1d5fbf", "#c2410c"

# %% [markdown]
# ## Who sees whom
#
# Two small models of random weights read seven tokens, then the same seven with another **last** token. How many of the
# first six states of the encoder change? And of the decoder?

# %%
prediction = None

# %%
sizes = {"vocab_size": 50, "context_length": 16, "d_model": 32, "n_heads": 2, "n_layers": 1}
tokens = jnp.array([[11, 12, 13, 14, 15, 16, 17]])
other = tokens.at[0, -1].set(40)

bert = EncoderConfig(**sizes, mlp_width=64)
bert_params = init_encoder(jax.random.key(0), bert)
read = jax.jit(lambda ids: encoder.forward(bert_params, ids, ids > 0, bert, PLAN))

gpt = DecoderConfig(**sizes)
gpt_params = decoder.init(jax.random.key(0), gpt)
write = jax.jit(lambda ids: decoder.forward(gpt_params, ids, gpt, PLAN)[0])


def states_changed(run):
    return int((np.abs(run(tokens) - run(other))[0, :-1].max(axis=-1) > 1e-6).sum())


predicted("states of the encoder that change", prediction, states_changed(read))
print("states of the decoder that change:", states_changed(write))

# %% [markdown]
# In the encoder all of them: each state knows the whole text. In the decoder none, so a token that was read once need
# never be read again. Both sentences decide something below.
#
# ## The masked model
#
# A decoder is taught to name the next token. An encoder sees it, so it needs another question: some tokens are hidden,
# and it has to name those. BERT (Devlin et al. 2019) chooses 15 % of the tokens. Of the chosen ones 80 % become
# `[MASK]`, 10 % become a random token, 10 % stay as they are; the loss is on **all** chosen ones.
#
# ### Exercise 1
# `chosen` and `kind` hold a uniform random number from 0 to 1 for each token, `drawn` a random token for each. A token
# is chosen where `chosen < 0.15`. `kind` says what becomes of it: below 0.8, below 0.9, or above. Return the inputs,
# and the weights of the loss (1 or 0). The arguments are arrays of one shape.


# %%
def masked(tokens, chosen, kind, drawn, mask_id):
    """(what the model sees, weights of the loss)"""
    ...


# %%
check.masked(masked)

# %% [markdown]
# A decoder of a text of 1,000 tokens has a loss at every one of them. At how many has BERT one, on average?

# %%
prediction = None

# %%
rng = np.random.default_rng(0)
predicted("positions of 1,000 with a loss", prediction, float((rng.random((200, 1000)) < 0.15).sum(axis=1).mean()))

# %% [markdown]
# So a masked model needs about seven times the text for as many losses. More masks do not help without end: what is
# hidden cannot be read.
#
# ## Attention to a source
#
# In an encoder–decoder the target attends twice: to itself, as in a decoder, and to the source. There the queries come
# from the target, keys and values from the source's states. No later token has to be hidden. The padding of the source
# has.
#
# ### Exercise 2
# One head, in NumPy: `q` has the shape (T, H), `k` and `v` (S, H), `is_source` (S,) is False at padding.


# %%
def cross_attention(q, k, v, is_source):
    """softmax(q·kᵀ/√H) over the source's tokens, times v: (T, H)"""
    ...


# %%
check.cross_attention(cross_attention)

# %% [markdown]
# ### Exercise 3
# Attention does not know the order of the keys. Vaswani et al. (2017, §3.5) add to every embedding
#
# $$PE(p, i) = \sin\left(p / 10000^{2i/D}\right), \qquad PE(p, D/2 + i) = \cos\left(p / 10000^{2i/D}\right), \qquad
# 0 \le i < D/2$$
#
# (here all sines first; the paper writes them in turns). One position, as an array of `width` numbers.


# %%
def sinusoid(position, width): ...


# %%
check.sinusoid(sinusoid)

# %% [markdown]
# ## What it looks at
#
# A small encoder–decoder learns to write digits backwards. Its first target token is the last of the source. When it
# writes target token 1 of the source `3 1 4 1 5 9 2 6`, which source position (counted from 1) should its attention to
# the source be on?

# %%
prediction = None

# %%
from train.architectures import pairs
from train.architectures.batches import encoded, padded
from train.architectures.recipes import Recipe
from train.architectures.training import train
from train.architectures.transduction import error_of, loss_of, writer_for, written

LENGTH, STEPS = 8, 500
digits = np.random.default_rng(0).integers(0, 10, (4000, LENGTH)).astype(str)
examples = [(tuple(row), tuple(row[::-1])) for row in digits]
vocabulary = pairs.Vocabulary.of(examples)
recipe = Recipe(d_model=32, n_layers=1, steps=STEPS, batch=64, warmup=100, dropout=0.0)
writer = writer_for(examples, vocabulary, recipe)


def batches():
    rng, rows = np.random.default_rng(1), encoded(examples[:-100], vocabulary)
    while True:
        yield padded([rows[i] for i in rng.integers(0, len(rows), recipe.batch)], LENGTH + 1)


# %%
from llm_jax.models.encoder_decoder import forward as reader
from llm_jax.models.encoder_decoder.parameters import dimension_letters, init

params = init(jax.random.key(0), writer.config)
letters, losses = dimension_letters(writer.config), []
course = train(
    loss_of(writer, recipe), params, letters, batches(), recipe.optimizer, recipe.schedule, STEPS, 100, seed=0
)
for params, measured in course:
    print(f"step {measured.step}: {measured.loss:.3f} nats a symbol")
print("held-out sequences written wrongly:", error_of(written(writer, params, examples[-100:]), examples[-100:]))

# %%
source = padded(encoded([(tuple("31415926"), tuple("62951413"))], vocabulary), LENGTH + 1)
seen = {}


@jax.jit
def look(params):
    """The weights of the first decoder block's attention to the source, mean over heads: (T, S)."""
    memory = reader.read(params, source.source_BS, jnp.asarray(source.is_source_BS), writer.config, PLAN)
    recorded = {}

    def watch(name, x):
        recorded[name] = x
        return x

    reader.decode(params, source.target_BT[:, :-1], memory, writer.config, PLAN, watch=watch)
    x_BTD = recorded["decoder block 1, after attention"]
    q_BTNH = PLAN.kernels.linear(params.decoder_blocks[0].cross_attention.qkv.q, x_BTD)
    scores = jnp.einsum("BTNH,BSNH->BNTS", q_BTNH, memory.keys_values[0][0]) * q_BTNH.shape[-1] ** -0.5
    scores = jnp.where(source.is_source_BS[:, None, None], scores, -jnp.inf)
    return jax.nn.softmax(scores)[0].mean(axis=0)


weights_TS = np.asarray(look(params))[:LENGTH, :LENGTH]
predicted("the source position with the largest weight", prediction, int(weights_TS[0].argmax()) + 1)

# %%
figure, axis = plt.subplots(figsize=(4.2, 4))
axis.imshow(weights_TS, cmap="Blues")
axis.set_xticks(range(LENGTH), list("31415926"))
axis.set_yticks(range(LENGTH), list("62951413"))
axis.set(xlabel="source", ylabel="what is written", title="attention to the source")
plt.show()

# %% [markdown]
# Nobody told the model where to look. (Take the sinusoids away, and it cannot learn this: the source would be a bag.)
#
# ## Smoothed labels
#
# The loss −log p[y] is smallest where p[y] = 1, which needs infinite logits. Label smoothing (Szegedy et al. 2016) asks
# for 1 − ε + ε/V at the right token and ε/V at every other one.
#
# ### Exercise 4
# The loss of one position, from the log-probabilities of all V tokens.


# %%
def smoothed_loss(log_p, target, epsilon):
    """−Σ q(v)·log p(v), q(v) = (1 − ε)·[v = target] + ε/V"""
    ...


# %%
check.smoothed_loss(smoothed_loss)

# %% [markdown]
# ## Greedy search, and beams
#
# Greedy search takes the likeliest token at every step. In this model the first token is A (0.6) or B (0.4); after A,
# ten tokens are equally likely; after B one follows with 0.9. Then the text ends. What is the probability of the most
# probable text?

# %%
prediction = None

# %%
texts = {**{f"A{i}": 0.6 / 10 for i in range(10)}, "B0": 0.4 * 0.9, "B1": 0.4 * 0.1}
best = max(texts, key=texts.get)
predicted(f"the most probable text is {best}, with probability", prediction, texts[best])
print("greedy search finds one of probability", round(texts["A0"], 3))

# %% [markdown]
# A beam keeps several beginnings. Its hypotheses differ in length, and every token makes log P smaller, so a sum alone
# prefers short texts. Wu et al. (2016, eq. 14) divide log P by $lp(n) = ((5 + n)/6)^\alpha$, n the number of tokens.
#
# ### Exercise 5
# The index of the best hypothesis. `log_p` and `lengths` are lists.


# %%
def best_hypothesis(log_p, lengths, alpha): ...


# %%
check.best_hypothesis(best_hypothesis)

# %% [markdown]
# ## A conversation
#
# In every turn a user writes 50 tokens and the model answers with 200. A decoder's earlier states never change, so with
# a cache it computes every token once. An encoder–decoder reads the whole conversation anew at every turn, because each
# of its encoder's states depends on all tokens (the first cell of this lesson), and writes the answer.
#
# ### Exercise 6
# How many tokens go through the model in all turns together? Turn i (from 1) reads i questions and i − 1 answers.


# %%
def tokens_computed(turns, question, answer, is_decoder): ...


# %%
check.tokens_computed(tokens_computed)

# %% [markdown]
# How many times as many tokens does the encoder–decoder compute in ten turns?

# %%
prediction = None

# %%
from train.architectures.comparison import arithmetic

talk = arithmetic.conversation(10, 50, 200)
predicted("times as many", prediction, talk.encoder_decoder / talk.decoder)
turns = np.arange(1, 31)
figure, axis = plt.subplots(figsize=(6, 3.4))
for name, color in (("encoder_decoder", RED), ("decoder", BLUE)):
    computed = [getattr(arithmetic.conversation(int(n), 50, 200), name) / 1000 for n in turns]
    axis.plot(turns, computed, color=color, lw=2, label=name.replace("_", "–"))
axis.set(xlabel="turns", ylabel="thousand tokens computed")
axis.legend(frameon=False)
axis.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# ## So which is best?
#
# `python -m train architectures compare` trains all three with equal parameters and equal FLOPs on three tasks: to
# continue a text (bits per byte), to fill holes in one (accuracy), and to turn words into phonemes (word error). Which
# of them is best at filling holes: 1 the encoder, 2 the encoder–decoder, 3 the decoder?

# %%
prediction = None

# %%
RECORDED = {  # task → mean and half of the 95 % interval over three seeds; two cores, 5·10¹² operations a training
    "continuation, bits per byte": {
        "encoder": (4.015, 0.236), "encoder–decoder": (2.525, 0.038), "decoder": (2.445, 0.076),
    },
    "cloze, holes right": {
        "encoder": (0.387, 0.078), "encoder–decoder": (0.146, 0.002), "decoder": (0.161, 0.008),
    },
    "transduction, word error": {
        "encoder": (0.119, 0.003), "encoder–decoder": (0.030, 0.005), "decoder": (0.041, 0.016),
    },
}  # fmt: skip
figure, axes = plt.subplots(1, 3, figsize=(9, 2.8), layout="constrained")
for axis, (task, found) in zip(axes, RECORDED.items(), strict=True):
    for place, (name, (mean, half)) in enumerate(found.items()):
        axis.barh(place, mean, xerr=half, color=(BLUE, "#15803d", RED)[place])
        print(f"{task:28} {name:15} {mean:.3f} ± {half:.3f}")
    axis.set(title=task, yticks=range(3), yticklabels=found if axis is axes[0] else [])
    axis.spines[["top", "right"]].set_visible(False)
plt.show()
holes = RECORDED["cloze, holes right"]
predicted("the best at filling holes", prediction, 1 + list(holes).index(max(holes, key=lambda name: holes[name][0])))

# %% [markdown]
# Each of the three is best at what it was made for. Yet the decoder that was trained to *continue* texts, given only
# the bytes **before** a hole, fills 49.6 % of them: more than the encoder, which sees both sides. Why? Count the losses
# of a window: 64 for the decoder, about 7 for the encoder. (Of its windows only 48 bytes are left on average, and 15 %
# of these are chosen: they are cut so that it can be asked for a continuation, too, and a quarter of its operations
# goes to padding.) At this compute the number of losses decides, and not how much each of them sees. Run the command
# with `--minutes` of your own: from where on does the encoder catch up?
