# %% [markdown]
# # Solutions of lesson 16

# %%
from collections import Counter, defaultdict

import numpy as np

# %% [markdown]
# **1.** A square is some columns of some rows, so two axes change places.


# %%
def patches(picture, size):
    rows, columns = picture.shape[0] // size, picture.shape[1] // size
    return picture.reshape(rows, size, columns, size, 3).transpose(0, 2, 1, 3, 4).reshape(rows * columns, -1)


# %% [markdown]
# **2.** As in the training of the tower, or it sees other pictures than it was taught on.


# %%
def normalised(pixels, mean, std):
    return (pixels / 255 - mean) / std


# %% [markdown]
# **3.** The tower gives (side/size)² patches and a class token; the class token is left out.


# %%
def prompt(side, size, question, image):
    return [image] * (side // size) ** 2 + list(question)


# %% [markdown]
# **4.** Boolean indexing writes the vectors in order.


# %%
def embedded(tokens, table, vectors, image):
    found = table[tokens]
    found[tokens == image] = vectors
    return found


# %% [markdown]
# **5.** Position t predicts token t + 1, so all weights move one to the left.


# %%
def loss_weights(tokens, first, image):
    return [int(target >= first) for target in range(1, len(tokens))]


# %% [markdown]
# **6.** What is learnt without looking is the commonest answer to each question.


# %%
def blind(train, test):
    counts = defaultdict(Counter)
    for question, answer in train:
        counts[question][answer] += 1
    return float(np.mean([counts[question].most_common(1)[0][0] == answer for question, answer in test]))


# %% [markdown]
# **7.** What must not be shared is the source of a picture, not the picture.


# %%
def leaks(train, test):
    known = {source for picture in train for source in picture}
    return float(np.mean([any(source in known for source in picture) for picture in test]))


# %% [markdown]
# **8.** The patch's own square is the same for all codes and may be left out.


# %%
def codes(patches, centroids):
    return ((patches[:, None] - centroids) ** 2).sum(axis=2).argmin(axis=1)
