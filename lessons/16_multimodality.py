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
# # 16 · Pictures
#
# A language model reads tokens. A picture can reach it in three ways: as words that something else has found
# (pipeline), as tokens of one vocabulary (early fusion), or as vectors in the positions of tokens (embedded fusion,
# LLaVA). After this lesson (about 75 minutes) you can
#
# - cut a picture into patches, normalise it, and put it into a decoder's positions,
# - put the loss where it belongs,
# - tell what a model sees from what it guesses, and find test pictures that are no test,
# - say what each of the three ways loses.
#
# The pictures are 2 × 2 handwritten digits, each in one ink, thick or thin. Training a model on them takes half a
# minute here; `python -m train vision` trains all three ways.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np
from checks import multimodality as check
from checks import predicted

from llm_jax.models.vision_language.parameters import VisionLanguage, init_projector, init_tower
from train.first_principles.digits import data as digits
from train.vision import looking, measure
from train.vision.config import VisionRunConfig
from train.vision.data import composites
from train.vision.data.words import words_of
from train.vision.fusion.base import Task, fresh, fresh_decoder
from train.vision.fusion.embedded import Embedded

# %%
source = digits.load("embedded")
world = composites.world(source, 100)
test = world.tests["test"]


def picture(row):
    return np.asarray(test.pixels_BYXC[row])


figure, axes = plt.subplots(1, 5, figsize=(11, 2.8), layout="constrained")
for row, place in enumerate(axes):
    place.imshow(picture(row), interpolation="nearest")
    question, answer = world.questions[test.question_BM[row, row]], world.answers[test.answer_BM[row, row]]
    place.set_title(f"{question}\n{answer}", fontsize=7)
    place.set_axis_off()

# %% [markdown]
# ## From pixels to positions
#
# A vision Transformer (Dosovitskiy et al. 2021) cuts the picture into squares. Each square is a row of numbers, times a
# matrix a vector; from there on it is a Transformer.
#
# ### Exercise 1
# (rows, columns, 3) → (patches, size · size · 3): squares in reading order, the pixels of each in reading order, the
# three colours of a pixel side by side.


# %%
def patches(picture, size): ...


# %%
check.patches(patches)

# %% [markdown]
# ### Exercise 2
# The tower was trained on normalised pixels: bytes to numbers from 0 to 1, minus the mean of each colour, divided by
# its deviation. With others nothing fails. The answers are only worse.


# %%
def normalised(pixels, mean, std): ...


# %%
check.normalised(normalised)

# %% [markdown]
# ### Exercise 3
# The text has a placeholder token where the picture's vectors shall stand. CLIP's tower puts a class token before the
# patches; LLaVA leaves its vector out. Return the prompt's tokens: the picture, then the question.


# %%
def prompt(side, size, question, image): ...


# %%
check.prompt(prompt)

# %% [markdown]
# ### Exercise 4
# `table` holds the embeddings of all tokens, `vectors` what the projector made of the patches. Return the decoder's
# input: one row a token, and in the k-th placeholder the k-th vector. (`tokens` is an array.)


# %%
def embedded(tokens, table, vectors, image): ...


# %%
check.embedded(embedded)

# %% [markdown]
# ## Where the loss is
#
# ### Exercise 5
# `tokens` is a whole row: placeholders, question, answer, end; `first` is where the answer begins. Position t predicts
# token t + 1, so there is one weight fewer than tokens. A picture's positions have no next word, and the question is
# given.


# %%
def loss_weights(tokens, first, image): ...


# %%
check.loss_weights(loss_weights)

# %% [markdown]
# A row here has 16 placeholders, about ten tokens of a question, an answer and an end. On which share of the
# predictions is the loss?

# %%
prediction = None

# %%
words = words_of(world)
n_row = 16 + words.length
predicted("share of positions with a loss", prediction, 2 / (n_row - 1))

# %% [markdown]
# ## Sight, or guessing?
#
# Of four digits in five inks, seldom more than one is red. Whoever answers "0" to "how many digits are red?" is right
# rather often, and has not looked. Every result needs this figure beside it.
#
# ### Exercise 6
# `train` and `test` are lists of (question, answer). Return the accuracy in the test of the best that can be learnt
# without any picture.


# %%
def blind(train, test): ...


# %%
check.blind(blind)

# %%
prediction = None  # the accuracy of "how many digits are …?" without looking; four digits, five inks

# %%
without_looking = measure.controls(world, test)["blind"]
predicted("count, without looking", prediction, without_looking["count"])
print({kind: round(value, 3) for kind, value in without_looking.items()})

# %% [markdown]
# The pictures are composed by code, as many as wished, from 1,294 images of digits. Nearly no picture comes twice. Does
# it follow that training and test are apart?
#
# ### Exercise 7
# A picture is a tuple of the numbers of its four digit images. Return the share of test pictures that contain something
# that training has seen.


# %%
def leaks(train, test): ...


# %%
check.leaks(leaks)

# %% [markdown]
# Composed at random from the same 1,294 images, 10,000 training pictures and 1,000 test pictures: which share leaks?

# %%
prediction = None

# %%
rng = np.random.default_rng(0)
seen, asked = rng.integers(0, 1294, (10_000, 4)), rng.integers(0, 1294, (1000, 4))
known = np.isin(asked, seen).any(axis=1).mean()
predicted("share of test pictures with a digit that training has seen", prediction, float(known))

# %% [markdown]
# All of them. So the division is made before anything is composed: by digit image. `composites.world` does that.
#
# ## A small model that sees
#
# Tower, projector and decoder, all from scratch and together, for half a minute: enough for counts and most colours,
# and for no digit. (LLaVA pretrains tower and decoder, trains the projector first, then all; `train vision` does so,
# and reads the digits.)

# %%
config = VisionRunConfig(width=96, layers=2, batch_size=16, rate=1e-3)
way = Embedded(Task(world, words, config))
start = VisionLanguage(
    tower=fresh(init_tower, 0, 0, way.config.vision),
    projector=fresh(init_projector, 0, 1, way.config),
    text=fresh_decoder(0, way.config.text),
)
STEPS = 1200
budget = way.all_stage.flops * config.batch_size * STEPS
losses = []
model, record = way.all_stage.run(
    start, None, world, budget, config.batch_size, 0, lambda stage, step, steps, loss: losses.append(loss)
)
print("loss, every hundred steps:", [round(loss, 2) for loss in losses[4::5]])

# %% [markdown]
# Two questions to this model. What is its accuracy on "what colour is the … digit?" And if each question is put to
# ANOTHER picture, does it fall to nothing, or to what guessing gets?

# %%
prediction = None  # colour, right pictures

# %%
answer = jax.jit(way.answer)
right = measure.by_kind(world, test, measure.ask(answer, model, test)[0])
predicted("colour", prediction, right["colour"])

# %%
prediction = None  # colour, shuffled pictures

# %%
other = measure.shuffled(test)
wrong = measure.by_kind(world, test, measure.ask(answer, model, other)[0])
predicted("colour, shuffled pictures", prediction, wrong["colour"])
for kind in right:
    print(
        f"{kind:<9} right picture {right[kind]:.2f}  other picture {wrong[kind]:.2f}  blind {without_looking[kind]:.2f}"
    )

# %% [markdown]
# Read the line `count`: with another picture it still scores far above one in five. That part is language prior.
#
# Where does the answer come from? Attention, followed back through the layers (Abnar & Zuidema 2020):

# %%
colour = list(right).index("colour")  # every picture is asked one question of each kind, in this order
sample = jax.tree.map(lambda x: np.asarray(x)[:4], test)
asked = sample._replace(
    question_BM=sample.question_BM[:, colour : colour + 1], answer_BM=sample.answer_BM[:, colour : colour + 1]
)
share = looking.followed(way, model, asked)
figure, axes = plt.subplots(1, 4, figsize=(9, 2.8), layout="constrained")
for row, (place, patch) in enumerate(zip(axes, share, strict=True)):
    bright = np.kron(patch.reshape(4, 4) / patch.max(), np.ones((8, 8)))
    place.imshow(picture(row) * (0.2 + 0.8 * bright[..., None]), interpolation="nearest")
    place.set_title(world.questions[asked.question_BM[row, 0]], fontsize=7)
    place.set_axis_off()

# %% [markdown]
# ## One vocabulary for words and patches
#
# Early fusion has no tower. Small patches are replaced by the nearest of K, and these K are further tokens.
#
# ### Exercise 8
# The number of the nearest centroid for each patch (squared distance).


# %%
def codes(patches, centroids): ...


# %%
check.codes(codes)

# %% [markdown]
# A patch of 4 × 4 pixels has 48 bytes, 384 bits. As one of 256 codes it has how many?

# %%
prediction = None

# %%
predicted("bits of a patch as a code", prediction, np.log2(256))

# %% [markdown]
# That is what early fusion pays for being able to draw: the softmax that writes words writes patches, too. The pipeline
# pays otherwise: what its words leave out, how thick a digit is, no answer can bring back. `docs/vision.md` has the
# table of all three, and `python -m train vision` makes it.
