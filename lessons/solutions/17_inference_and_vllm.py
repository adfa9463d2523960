# %% [markdown]
# # Solutions of lesson 17

# %% [markdown]
# **1.** Every user waits for every step, and every step gives every user a token.


# %%
def latency_and_throughput(users, prefill, step, tokens):
    latency = prefill + (tokens - 1) * step
    return latency, users * tokens / latency


# %% [markdown]
# **2.** A group takes as long as its longest answer. A row that is free takes the next request.


# %%
def steps(answers, rows):
    static = sum(max(answers[i : i + rows]) for i in range(0, len(answers), rows))
    free_at = [0] * rows  # the step after which each row is free
    for tokens in answers:
        row = free_at.index(min(free_at))
        free_at[row] += tokens
    return static, max(free_at)


# %% [markdown]
# **3.** On average half a block of a sequence is empty; nothing else is wasted.


# %%
def blocks_needed(lengths, size=16):
    return sum(-(-length // size) for length in lengths)


# %% [markdown]
# **4.** Queries are not kept, so the number of their heads does not matter.


# %%
def blocks_that_fit(memory, n_layers, n_heads, n_kv_heads, head_width, bytes_per_number=2, size=16):
    block = 2 * n_layers * n_kv_heads * head_width * bytes_per_number * size
    return int(memory // block)


# %% [markdown]
# **5.** As an operating system finds an address: the page from the table, the rest as it is.


# %%
def slot_of(position, table, size=16):
    return table[position // size] * size + position % size


# %% [markdown]
# **6.** The common beginning, without the prompt's last token, rounded down to whole blocks.


# %%
def tokens_saved(prompt, cached, size=16):
    common = 0
    for one, other in zip(prompt[:-1], cached, strict=False):
        if one != other:
            break
        common += 1
    return common // size * size
