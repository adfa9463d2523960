# %% [markdown]
# # Solutions of lesson 13

# %%
import numpy as np

# %% [markdown]
# **1.** Ids and mask grow together, so they cannot come apart, whatever the words are.


# %%
def chat_with_mask(messages, header, end, newline):
    ids, trained = [], []
    for role, words in messages:
        is_answer = role == "assistant"
        for part, is_trained in ((header[role], False), (words, is_answer), ([end], is_answer), ([newline], False)):
            ids += part
            trained += [is_trained] * len(part)
    return ids, trained


# %% [markdown]
# **2.** A loss is a sum and a weight. They are added over everything, and divided once.


# %%
def batch_loss(micro_batches):
    total = sum((losses * weights).sum() for losses, weights in micro_batches)
    return float(total / sum(weights.sum() for _, weights in micro_batches))


# %% [markdown]
# **3.** With $W' = W + sAB$: $dL = \langle G, s\,dA\,B\rangle = \langle s\,G B^\top, dA\rangle$, and likewise for $B$.


# %%
def lora_gradients(G, A, B, s):
    return s * G @ B.T, s * A.T @ G


# %% [markdown]
# **4.** $A$ has inputs · rank, $B$ rank · outputs.


# %%
def trainable_numbers(inputs, outputs, rank):
    return rank * (inputs + outputs)


# %% [markdown]
# **5.** $-\log\sigma(m) = \log(1 + e^{-m})$, and `logaddexp` keeps it finite for every margin.


# %%
def dpo(chosen, rejected, reference_chosen, reference_rejected, beta):
    reward_chosen = beta * (chosen - reference_chosen)
    reward_rejected = beta * (rejected - reference_rejected)
    return np.logaddexp(0.0, -(reward_chosen - reward_rejected)), reward_chosen, reward_rejected
