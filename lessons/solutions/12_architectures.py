# %% [markdown]
# # Solutions of lesson 12

# %%
import numpy as np

# %% [markdown]
# **1.** The loss does not ask what became of a token: only then is a visible token no proof that it is right.


# %%
def masked(tokens, chosen, kind, drawn, mask_id):
    becomes = np.where(kind < 0.8, mask_id, np.where(kind < 0.9, drawn, tokens))
    is_chosen = chosen < 0.15
    return np.where(is_chosen, becomes, tokens), is_chosen.astype(float)


# %% [markdown]
# **2.** The mask has one entry for each key, and is the same for every query.


# %%
def cross_attention(q, k, v, is_source):
    scores = np.where(is_source, q @ k.T / np.sqrt(q.shape[-1]), -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True) @ v


# %% [markdown]
# **3.** The first pair turns fastest, the last one 10,000 times slower.


# %%
def sinusoid(position, width):
    angles = position / 10000 ** (2 * np.arange(width // 2) / width)
    return np.concatenate([np.sin(angles), np.cos(angles)])


# %% [markdown]
# **4.** Σ ε/V·log p is ε times the mean of all log-probabilities, the target's among them.


# %%
def smoothed_loss(log_p, target, epsilon):
    return -(1 - epsilon) * log_p[target] - epsilon * np.mean(log_p)


# %% [markdown]
# **5.** Log-probabilities are negative, so dividing by more than 1 makes a hypothesis better.


# %%
def best_hypothesis(log_p, lengths, alpha):
    return int(np.argmax([p / ((5 + n) / 6) ** alpha for p, n in zip(log_p, lengths, strict=True)]))


# %% [markdown]
# **6.** A sum that grows with the square of the turns, and one that grows with the turns.


# %%
def tokens_computed(turns, question, answer, is_decoder):
    if is_decoder:
        return turns * (question + answer)
    return sum(i * question + (i - 1) * answer + answer for i in range(1, turns + 1))
