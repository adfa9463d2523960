# %% [markdown]
# # Solutions of lesson 18

# %% [markdown]
# **1.** The share is of the whole card; then everything else is taken off.


# %%
def tokens_in_the_cache(memory, utilisation, weights, workspace, outside, bytes_per_token):
    left = utilisation * memory - weights - workspace - outside
    return max(0, int(left // (16 * bytes_per_token)) * 16)


# %% [markdown]
# **2.** The weights are read once for all users, and the products hide behind the reading or the other way round. The
# caches come on top, one for each user.


# %%
def step_seconds(parameters, bytes_each, users, context, bytes_per_token, bandwidth, peak):
    products = max(parameters * bytes_each / bandwidth, 2 * parameters * users / peak)
    return products + users * context * bytes_per_token / bandwidth


# %% [markdown]
# **3.** A step gives `users` tokens.


# %%
def dollars_per_million(dollars_per_hour, users, seconds_per_step):
    tokens_per_hour = 3600 * users / seconds_per_step
    return 1e6 * dollars_per_hour / tokens_per_hour


# %% [markdown]
# **4.** With the sparse figure a run would look half as good as it is, and with a sparse figure taken for a dense one,
# a promise twice as good.


# %%
def utilisation(tokens_per_second, parameters, peak, is_sparse):
    dense = peak / 2 if is_sparse else peak
    return 6 * parameters * tokens_per_second / dense


# %% [markdown]
# **5.** FLOPs by FLOP/s, in days.


# %%
def training_days(parameters, tokens, devices, peak, mfu):
    return 6 * parameters * tokens / (devices * peak * mfu) / 86_400
