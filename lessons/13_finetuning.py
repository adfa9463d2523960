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
# # 13 · Fine-tuning
#
# A pretrained model continues text; a fine-tuned one answers. The step is the one you know; what changes is which
# tokens count, which numbers are trained, and what the loss asks for. After this lesson (about an hour) you can
#
# - build the mask of a chat, so that the answer and its end are trained and nothing else,
# - find the averaging fault that went unnoticed in most libraries until 2024,
# - derive LoRA's gradient, count its parameters, and say why merging it changes nothing,
# - compute DPO by hand, and say what it must be at step 0.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from checks import finetuning as check
from checks import predicted

from llm_jax import adapters
from llm_jax.adapters import LoraConfig
from llm_jax.config import Execution, llama, model_preset
from llm_jax.models import decoder

BLUE, RED, GREY = "#1d5fbf", "#c2410c", "#8a8f98"
PLAN = decoder.make_plan(Execution(dtype="float32"))

# %% [markdown]
# ## Which tokens count
#
# A chat is rendered by a template. ChatML writes each message as
#
#     <|im_start|>role⏎ … words … <|im_end|>⏎
#
# The model writes the assistant's words, and it has to write the `<|im_end|>` behind them: a model that was never
# trained to end goes on for ever. It never writes the header, nor what the user says.
#
# Never look for the answer in the finished text: users write what they like, template marks included, and a tokenizer
# may join the answer's first letters with what stands before. Build ids and mask together, part by part.
#
# ### Exercise 1
# `messages` is a list of (role, ids of the words). `header[role]` are the ids that open a message, `end` is the id of
# `<|im_end|>`, `newline` the id behind it. Return all ids, and for each id whether it is trained.


# %%
def chat_with_mask(messages, header, end, newline):
    """(ids, trained): two lists of the same length; trained[i] is True where ids[i] is to be learnt."""
    ...


# %%
check.chat_with_mask(chat_with_mask)

# %% [markdown]
# `trained` speaks of ids as **targets**. The model's inputs are `ids[:-1]`, its targets `ids[1:]`, so the weights of
# the losses are `trained[1:]`. Whoever takes `trained[:-1]` trains the model to say the last token of the header, and
# not to end.
#
# A short chat: how many of its 21 targets are trained?

# %%
prediction = None

# %%
HEADER = {"user": [1, 4, 0], "assistant": [1, 5, 0]}  # <|im_start|>, role, ⏎
END, NEWLINE = 2, 0
question, answer = [10, 11, 12, 13, 14], [20, 21, 22, 23, 24, 25, 26]
ids = [*HEADER["user"], *question, END, NEWLINE, *HEADER["assistant"], *answer, END, NEWLINE]
trained = [False] * 13 + [True] * 8 + [False]
predicted("trained targets", prediction, sum(trained[1:]))

# %% [markdown]
# ## The averaging fault
#
# A batch that does not fit is cut into micro-batches, and their gradients are added. With masks, micro-batches have
# different numbers of targets. Until October 2024 most libraries took the mean of each micro-batch and then the mean of
# the means. (Hugging Face transformers, issue 34191.)
#
# ### Exercise 2
# The loss of the whole batch. Each micro-batch is (losses of its tokens, their weights), two arrays of one length.


# %%
def batch_loss(micro_batches):
    """The mean loss of all trained tokens of all micro-batches."""
    ...


# %%
check.batch_loss(batch_loss)

# %% [markdown]
# Two micro-batches: one answer of a single token with a loss of 4, and one of 99 tokens with losses of 1. By how much
# is the mean of means too high?

# %%
prediction = None

# %%
predicted("too high by", prediction, (4 + 1) / 2 - (4 + 99) / 100)

# %% [markdown]
# ## LoRA
#
# Instead of a weight $W$ of shape (inputs, outputs) one trains two thin matrices beside it (Hu et al. 2021):
#
# $$y = x\,(W + s\,A B), \qquad A: (\text{inputs}, r),\quad B: (r, \text{outputs}),\quad s = \alpha / r$$
#
# $W$ is frozen: no gradient, no moments, no copy in the checkpoint. $A$ is drawn, $B$ is zero, so training begins at
# the model as it was.
#
# ### Exercise 3
# Let $G$ be the gradient of the loss with respect to $W + sAB$. Derive the gradients of $A$ and of $B$.


# %%
def lora_gradients(G, A, B, s):
    """(dA, dB), shaped as A and B."""
    ...


# %%
check.lora_gradients(lora_gradients)

# %% [markdown]
# In the very first step $B = 0$. The norm of the first gradient of $A$?

# %%
prediction = None

# %%
tiny = llama(vocab_size=64, context_length=32, d_model=32, n_heads=4, n_kv_heads=2, n_layers=2, mlp_width=64)
fresh = jax.jit(decoder.init, static_argnums=1)(jax.random.key(0, impl="rbg"), tiny)  # rbg: compiles fast
base = jax.tree.map(lambda p: 5 * p if p.ndim > 1 else p, fresh)  # weights as large as those of a trained model
settings = LoraConfig(rank=4, alpha=8)
start = adapters.init(jax.random.key(1), tiny, settings)
row = np.array([(ids + ids)[:33]]) % 64  # one chat, twice
weights = np.array([(trained + trained)[1:33]], np.float32)


def loss_of(tree, params=base):
    """The mean loss of the trained tokens of the chat, with the adapters beside the frozen weights."""
    total, weight = decoder.loss(
        adapters.attach(params, tree, tiny, settings), row[:, :-1], row[:, 1:], tiny, PLAN, weights
    )
    return total / weight


gradient = jax.jit(jax.grad(loss_of))(start)
first = gradient.blocks[0]["attention.qkv.q"]
predicted("norm of A's gradient", prediction, float(jnp.linalg.norm(first.a)))
print(f"norm of B's gradient: {float(jnp.linalg.norm(first.b)):.3g}")

# %% [markdown]
# So $B$ moves first, and $A$ follows as soon as $B$ is no longer zero.
#
# ### Exercise 4
# How many numbers does LoRA train for one weight?


# %%
def trainable_numbers(inputs, outputs, rank): ...


# %%
check.trainable_numbers(trainable_numbers)

# %% [markdown]
# GPT-2 124M, every linear map of its 12 blocks, rank 16. How many numbers, in per cent of the model's?

# %%
prediction = None

# %%
gpt2 = model_preset("gpt2-124m")
lora_16 = LoraConfig(rank=16)
shapes = jax.eval_shape(lambda key: adapters.init(key, gpt2, lora_16), jax.random.key(0))
count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
print(f"{count:,} of {gpt2.n_parameters:,}")  # 2,359,296: the figure that PEFT prints
predicted("per cent", prediction, 100 * count / gpt2.n_parameters)


# %% [markdown]
# Now train: the adapters learn our one chat by heart, with Adam, at several ranks.


# %%
def train(rank, steps=60, rate=0.01):
    """Losses of LoRA of this rank, and what was learnt. (alpha = rank: the scale is 1 for all.)"""
    chosen = LoraConfig(rank=rank, alpha=rank)

    def loss(tree):
        total, weight = decoder.loss(
            adapters.attach(base, tree, tiny, chosen), row[:, :-1], row[:, 1:], tiny, PLAN, weights
        )
        return total / weight

    adam = optax.adam(rate)

    def step(carry, _):
        tree, moments = carry
        value, slope = jax.value_and_grad(loss)(tree)
        updates, moments = adam.update(slope, moments)
        return (optax.apply_updates(tree, updates), moments), value

    tree = adapters.init(jax.random.key(2), tiny, chosen)
    (tree, _), losses = jax.jit(lambda carry: jax.lax.scan(step, carry, None, length=steps))((tree, adam.init(tree)))
    return tree, losses, chosen


figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
for rank, colour in ((1, GREY), (4, BLUE), (16, RED)):
    learnt, losses, chosen = train(rank)
    axes.plot(losses, color=colour, label=f"rank {rank}")
axes.set(xlabel="step", ylabel="loss, nats a token", title="one chat, learnt by heart")
axes.legend()
plt.show()

# %% [markdown]
# When it is done, $sAB$ can be added to $W$ once: **merged**, the model is an ordinary one again, as fast as before.
# The largest difference of a logit between merged and unmerged?

# %%
prediction = None


# %%
@jax.jit
def logits(params):
    return decoder.logits(params, decoder.forward(params, row[:, :-1], tiny, PLAN)[0], tiny)


unmerged = logits(adapters.attach(base, learnt, tiny, chosen))
merged = logits(adapters.merge(base, learnt, tiny, chosen))
predicted("largest difference", prediction, float(jnp.abs(unmerged - merged).max()))

# %% [markdown]
# ## Preferences
#
# Which of two answers is better? DPO (Rafailov et al. 2023, equation 7) needs neither a reward model nor sampling. With
# the log-probabilities of a whole answer (**sums** over its tokens) under the policy and under the model it started
# from:
#
# $$-\log \sigma\big(\beta\,[(\log\pi_c - \log\pi^\text{ref}_c) - (\log\pi_r - \log\pi^\text{ref}_r)]\big)$$
#
# ### Exercise 5
# Loss and the two rewards, $\beta(\log\pi - \log\pi^\text{ref})$ of the chosen and the rejected answer.


# %%
def dpo(chosen, rejected, reference_chosen, reference_rejected, beta):
    """(loss, reward of the chosen answer, reward of the rejected one), from four log-probabilities."""
    ...


# %%
check.dpo(dpo)

# %% [markdown]
# At step 0 the policy **is** the reference. The loss? (A run that shows anything else has a fault: dropout in one of
# the two, another format, the wrong starting point.)

# %%
prediction = None

# %%
predicted("loss at step 0", prediction, float(np.log1p(np.exp(-0.0))))

# %% [markdown]
# And then? The loss asks for the *difference* only. It falls, too, when both answers become less likely and the
# rejected one faster. Look at the rewards of both, not at the loss alone: `train finetune` writes them into its
# metrics.
#
# ## The command
#
#     python -m train finetune HuggingFaceTB/SmolLM2-135M-Instruct --data chats.jsonl --show 3
#     python -m train finetune HuggingFaceTB/SmolLM2-135M-Instruct --data chats.jsonl --lora --run mine
#     python -m serve chat runs/mine
#
# `--show` prints examples with the trained tokens in colour and stops: look at them before every run.
# docs/fine-tuning.md says the rest.
