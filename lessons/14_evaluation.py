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
# # 14 · Evaluation
#
# A leaderboard shows one number for each model. Behind it stand a text, a prompt, a rule and a sample of items, and
# each of them can change the order. After this lesson (about 90 minutes) you can
#
# - compare models with different tokenizers, and say why perplexity misleads,
# - score multiple choice under every rule in use, and explain figures that differ,
# - grade generated answers and programs, and estimate pass@k without bias,
# - turn votes into ratings, and find a judge's bias,
# - tell a difference from noise.
#
# The measurements are those of a real model, SmolLM2-135M-Instruct (Allal et al. 2025). They stand in the lesson;
# where the model is on this machine, the first cells measure them again.

# %%
import os
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from checks import evaluation as check
from checks import predicted

from llm_jax import hf
from llm_jax.backend import cache_folder
from llm_jax.config import Execution
from llm_jax.models import decoder
from llm_jax.scoring import likelihood, programs
from llm_jax.scoring.choices import rules
from llm_jax.scoring.choices.values import Choices
from llm_jax.scoring.requests import encode_request
from serve.arena import strength

BLUE, RED = "#1d5fbf", "#c2410c"


# %%
def real_model():
    """SmolLM2-135M-Instruct, if its Hugging Face files are on this machine."""
    found = os.environ.get("LLM_JAX_SMOLLM2")
    folder = Path(found) if found else cache_folder() / "models" / "smollm2-135m-instruct"
    if (folder / "config.json").is_file():
        return hf.load(folder)
    print("SmolLM2-135M-Instruct is not here; its measurements below were made before.")
    print(f"`python tests/smollm2.py` makes it, or set LLM_JAX_SMOLLM2 to its folder. (Looked in {folder}.)")
    return None


real = real_model()


def ask(pairs):
    """(log-probabilities, tokens) of the answers of (context, answer) pairs, by the real model."""
    requests = [encode_request(real.tokenizer, context, answer) for context, answer in pairs]
    call = likelihood.scorer(real.params, real.config, decoder.make_plan(Execution(dtype="float32")))
    scored = likelihood.score(requests, call, real.config.context_length)
    return [one.log_likelihood for one in scored], [len(one.continuation) for one in requests]


# %% [markdown]
# ## Perplexity, and why tokens mislead
#
# A language model gives a text a probability. Perplexity is $\exp(-\frac1T \log p)$ with $T$ **tokens**; bits per
# byte are $-\log_2 p$ divided by the **bytes** of the text. Bytes are the same for every model; tokens are not.
#
# ### Exercise 1


# %%
def bits_per_byte(log_probability, text):
    """From the natural logarithm of the text's probability."""
    ...


# %%
check.bits_per_byte(bits_per_byte)

# %%
SENTENCES = {
    "English": "The lighthouse keeper climbed the stairs every evening and lit the lamp.",
    "Indonesian": "Tiba-tiba hujan turun, dan semua orang berlari mencari tempat berteduh.",
}
LOG_P, TOKENS = {"English": -62.41, "Indonesian": -172.18}, {"English": 14, "Indonesian": 29}
if real is not None:
    for language, text in SENTENCES.items():
        (LOG_P[language],), (TOKENS[language],) = ask([("\n", text)])
for language, text in SENTENCES.items():
    print(f"{language:<10} {-LOG_P[language] / TOKENS[language]:.2f} nats a token, {TOKENS[language]} tokens")

# %% [markdown]
# By nats a token, Indonesian is 1.3 times as hard as English for this model. And by bits per byte?

# %%
prediction = None

# %%
bits = {language: -LOG_P[language] / np.log(2) / len(text.encode()) for language, text in SENTENCES.items()}
print({language: round(float(value), 2) for language, value in bits.items()})
predicted("times as many bits per byte", prediction, bits["Indonesian"] / bits["English"])

# %% [markdown]
# The tokenizer cuts Indonesian into twice as many tokens, so each of them is easier, and their mean hides what the
# text costs. Compare perplexities of models with one tokenizer only.
#
# ## Multiple choice
#
# **Cloze**: the model continues the question, and each answer's log-probability is scored. **Letters**: the question
# lists the answers, and only A, B, C, D are scored (MMLU). In the cloze form long answers have low sums, whatever
# they say. So one divides by a length, or subtracts what the answer would get without the question (PMI).
#
# ### Exercise 2
# `sums[i][k]` is the log-probability of answer `k` of item `i`, `answers[i][k]` its text without the space before it.
# `rule` is "sum", "character" or "byte". The first of equals is chosen.


# %%
def accuracy(sums, answers, gold, rule):
    """The share of items whose best answer under the rule is number gold[i]."""
    ...


# %%
check.accuracy(accuracy)

# %%
QUESTIONS = [
    ("The capital of France is", ["Paris", "London", "a city in the south of Germany", "Rome"]),
    (
        "Water freezes at a temperature of",
        ["zero degrees Celsius", "fifty degrees Celsius", "minus ninety degrees Celsius", "ten"],
    ),
    ("A triangle has", ["three sides", "four sides", "no sides at all, because it is round", "two"]),
    ("The largest planet of the solar system is", ["Jupiter", "Mars", "the Moon", "Earth"]),
    ("Bees make", ["honey", "milk", "wool", "paper"]),
    ("The opposite of hot is", ["cold", "warm", "dry", "a very high temperature"]),
    ("Plants take in carbon dioxide and give off", ["oxygen", "gold", "nitrogen", "salt"]),
    ("Romeo and Juliet was written by", ["William Shakespeare", "Charles Dickens", "Homer", "a group of students"]),
]  # the first answer is right
SUMS = [
    [-0.26, -4.41, -22.88, -7.57],
    [-7.53, -12.73, -17.71, -9.92],
    [-4.34, -6.56, -32.53, -2.42],
    [-1.92, -3.39, -7.98, -3.85],
    [-6.99, -9.75, -11.56, -11.48],
    [-0.38, -4.31, -4.38, -14.78],
    [-0.41, -10.96, -4.48, -9.75],
    [-2.06, -11.33, -9.6, -12.31],
]
ALONE = [  # after "Answer:" in place of the question
    [-11.93, -12.05, -25.57, -11.85],
    [-21.41, -23.45, -35.63, -12.05],
    [-17.95, -19.37, -47.47, -10.0],
    [-14.39, -12.18, -13.51, -11.74],
    [-15.2, -14.87, -14.89, -11.58],
    [-14.12, -13.21, -13.21, -21.59],
    [-15.01, -11.88, -14.21, -13.03],
    [-16.23, -17.11, -14.07, -15.51],
]
if real is not None:
    every = [(question, answer) for question, answers in QUESTIONS for answer in answers]
    SUMS = np.reshape(ask([(question, f" {answer}") for question, answer in every])[0], (-1, 4))
    ALONE = np.reshape(ask([("Answer:", f" {answer}") for _, answer in every])[0], (-1, 4))

choices = Choices(
    "SmolLM2-135M-Instruct",
    "eight questions",
    "0-shot",
    "lesson",
    tuple(question for question, _ in QUESTIONS),
    np.zeros(len(QUESTIONS), int),
    {
        "sum": np.array(SUMS, float),
        "unconditional": np.array(ALONE, float),
        "characters": np.array([[len(answer) for answer in answers] for _, answers in QUESTIONS], float),
        "bytes": np.array([[len(answer.encode()) for answer in answers] for _, answers in QUESTIONS], float),
    },
)
for rule in ("sum", "character", "byte", "pmi", "p(gold)", "chance-corrected"):
    print(f"{rule:<17} {rules.values(choices, rule).mean():.3f}")

# %% [markdown]
# One model, one set of log-probabilities, and accuracies between 0.75 and 1. (`serve evaluate --log-choices` writes
# such log-probabilities, `serve leaderboard` shows every rule.)
#
# Now the letters. The same model gets all eight right if the right answer is always A. The answers are turned by one,
# so that the right one is B. What is the accuracy?

# %%
prediction = None

# %%
LETTERS_AT_B = [  # log p of A, B, C, D where B is right
    [-2.44, -6.56, -5.37, -4.13],
    [-1.06, -4.14, -2.8, -2.47],
    [-0.85, -3.56, -1.96, -2.63],
    [-2.6, -7.02, -5.44, -4.51],
    [-3.7, -8.68, -6.97, -5.42],
    [-3.46, -9.16, -6.35, -4.95],
    [-2.48, -6.92, -5.68, -4.06],
    [-2.12, -6.16, -5.72, -3.02],
]


def with_letters(question, answers):
    listed = "".join(f"{letter}. {answer}\n" for letter, answer in zip("ABCD", answers, strict=True))
    return f"{question} …\n{listed}Answer:"


if real is not None:
    turned = [with_letters(question, [*answers[3:], *answers[:3]]) for question, answers in QUESTIONS]
    LETTERS_AT_B = np.reshape(ask([(text, f" {letter}") for text in turned for letter in "ABCD"])[0], (-1, 4))
predicted("accuracy with the right answer at B", prediction, float((np.argmax(LETTERS_AT_B, 1) == 1).mean()))

# %% [markdown]
# The model says A, whatever is asked. It **knows** the answers (the cloze form shows it) and cannot play the game of
# letters; where the right answers stand decides its accuracy. Larger models learn the game, so a benchmark of letters
# shows a jump where the knowledge grew evenly. That is why OLMES (Gu et al. 2024, arXiv 2406.08446) takes the better
# of the two.
#
# ## Four figures of one model
#
# Four HellaSwag accuracies of the same GPT-2 124M are published:
#
# | figure | who | rule |
# |---|---|---|
# | 0.2859 | build-nanogpt | sum |
# | 0.2955 | build-nanogpt | mean over tokens |
# | 0.2892 | lm-evaluation-harness, `acc` | sum |
# | 0.3114 | lm-evaluation-harness, `acc_norm` | mean over characters |
#
# 0.2859 and 0.2892 have the same weights **and** the same rule. What differs is the text. build-nanogpt takes `ctx`
# as it is. The harness writes "activity: context", where the context is `ctx_a`, a space, and `ctx_b` with a capital
# letter first and small ones after it (Python's `capitalize`). It writes ". " for " [title]", removes all else in
# brackets, and two spaces become one, in this order.
#
# ### Exercise 3
# The harness's text of a row with `activity_label`, `ctx_a` and `ctx_b`.


# %%
def prepared(row):
    """The context of a HellaSwag item as lm-evaluation-harness writes it."""
    ...


# %%
check.prepared(prepared)

# %% [markdown]
# ## Generation and exact match
#
# GSM8K (Cobbe et al. 2021) asks for a number. Its own solutions end in "#### 42", and the harness's *strict* match
# wants that; its *flexible* match takes the last number of the text.
#
# ### Exercise 4
# The last number in a text, as a float: with a sign, thousands separated by commas, perhaps a dollar before it,
# decimals, and perhaps the full stop of the sentence behind it. None where there is none.


# %%
def last_number(text): ...


# %%
check.last_number(last_number)

# %% [markdown]
# Six answers of a model to a question whose answer is 18. How many are right by the strict match, "#### 18"?

# %%
prediction = None

# %%
OUTPUTS = [
    "16 − 3 − 4 = 9 eggs, 9 · 2 = 18. #### 18",
    "She sells 9 eggs, so she makes **$18 per day.**",
    "The answer is \\boxed{18}.",
    "9 · $2 = $18.00",
    "She makes 18 dollars, after 3 eggs for breakfast and 4 for muffins.",
    "#### 20",
]
predicted("strictly right of six", prediction, sum("#### 18" in text for text in OUTPUTS))
NUMBER_AT_END = re.compile(r"\d+(?:\.\d+)?(?=\D*$)")
print("by the last number:", sum(float(NUMBER_AT_END.search(text)[0]) == 18 for text in OUTPUTS))

# %% [markdown]
# Five of the six reached 18. Strict match sees one, the last number four (the fifth talks on). An exact match grades
# a format, and a figure without its extraction says little: lm-evaluation-harness prints both.
#
# ## Programs: pass@k
#
# HumanEval (Chen et al. 2021) runs the program. pass@k is the probability that at least one of k samples passes. From
# n samples of which c pass, $1 - (1 - c/n)^k$ is biased; without bias it is the share of all subsets of k samples
# that hold a passing one:
#
# $$1 - \binom{n-c}{k} \Big/ \binom{n}{k}$$
#
# ### Exercise 5
# n may be 200 and more: do not let the binomials overflow a float.


# %%
def pass_at_k(n, c, k): ...


# %%
check.pass_at_k(pass_at_k)

# %% [markdown]
# Five programs for "the sum of the even numbers of a list", and the tests. `programs.run` gives each a process of its
# own, with limits and without network: what a model writes is somebody else's code. How many of the five pass?

# %%
prediction = None

# %%
SAMPLES = [
    "def f(xs):\n    return sum(x for x in xs if x % 2 == 0)",
    "def f(xs):\n    return sum(xs[::2])",
    "def f(xs):\n    total = 0\n    while xs:\n        total += xs[0] * (xs[0] % 2 == 0)\n    return total",
    "import sys\ndef f(xs):\n    sys.exit(0)",
    "def f(xs):\n    return sum([x for x in xs if not x & 1])",
]
TESTS = "\nassert f([1, 2, 3, 4]) == 6\nassert f([]) == 0\nassert f([-2, 5]) == -2\n"
ended = [programs.run(sample + TESTS, seconds=1) for sample in SAMPLES]
print([outcome.reason for outcome in ended])
predicted("passing programs", prediction, sum(outcome.passed for outcome in ended))

# %% [markdown]
# The fourth program left with exit status 0 before any test ran. A grader that looks at the exit status alone calls
# that a pass.
#
# ## Votes
#
# An arena shows two answers, and people vote. Elo (1978) updates after each vote, with K = 4 here: the expected score
# of the left one is $E = 1/(1 + 10^{(R_\text{right} - R_\text{left})/400})$, and it gains $K(S - E)$ with S = 1 for a
# win, ½ for a tie, 0 for a loss. The right one loses as much.
#
# ### Exercise 6
# All start at 1000. Votes are (left, right, winner), the winner "left", "right" or "tie". The check recomputes a
# published figure: the thirty votes of evalica's example (Ustalov 2024, Apache-2.0), whose Elo ratings stand in its
# repository.


# %%
def elo(votes, k=4.0):
    """Name → rating, in the order of the votes."""
    ...


# %%
check.elo(elo)

# %% [markdown]
# Elo depends on the order of the votes. Bradley–Terry (1952) asks which strengths make all votes together most
# likely, and does not. Thirty votes in 500 random orders: over how many Elo points does Tacos' rating range?

# %%
prediction = None

# %%
VOTES = check.FOOD
NAMES = sorted({name for left, right, _ in VOTES for name in (left, right)})
NUMBER = {name: i for i, name in enumerate(NAMES)}
SCORE = {"left": 1.0, "tie": 0.5, "right": 0.0}


def rated(votes):
    ratings = dict.fromkeys(NAMES, 1000.0)
    for left, right, winner in votes:
        gain = 4 * (SCORE[winner] - 1 / (1 + 10 ** ((ratings[right] - ratings[left]) / 400)))
        ratings[left], ratings[right] = ratings[left] + gain, ratings[right] - gain
    return ratings


rng = np.random.default_rng(0)
tacos = [rated([VOTES[i] for i in rng.permutation(len(VOTES))])["Tacos"] for _ in range(500)]
predicted("Elo points between the extremes", prediction, max(tacos) - min(tacos))

figure, axes = plt.subplots(figsize=(6, 2.8), layout="constrained")
axes.hist(tacos, bins=30, color=BLUE)
axes.axvline(rated(VOTES)["Tacos"], color=RED, label="in the order of the file")
axes.set(xlabel="Elo of Tacos over random orders of the same votes", ylabel="orders")
axes.legend()
plt.show()

points = np.zeros((len(NAMES), len(NAMES)))  # of the row against the column
for left, right, winner in VOTES:
    points[NUMBER[left], NUMBER[right]] += SCORE[winner]
    points[NUMBER[right], NUMBER[left]] += 1 - SCORE[winner]
shares = strength.shares(strength.fit(points))
print("Bradley–Terry:", {name: round(float(shares[NUMBER[name]]), 4) for name in NAMES})

# %% [markdown]
# (evalica publishes .4343 for Tacos, .0990 for Pizza. `serve arena` gives the same, with intervals and ranges of
# ranks.)
#
# ### A judge's bias
#
# A model that judges prefers one *place*. So it is asked twice, with the answers exchanged, and only what it says
# both times counts (Zheng et al. 2023, arXiv 2306.05685).
#
# ### Exercise 7
# `first` is the verdict where model X stands first, `second` where it stands second; each is "first", "second" or
# "tie" (a place, not a model). Return "X", "Y" or "tie".


# %%
def verdict(first, second):
    """The model that both verdicts prefer, else a tie."""
    ...


# %%
check.verdict(verdict)

# %% [markdown]
# Two equally good models, and a judge that says "first" in 65 % of all cases. X always stands first. X's share of
# wins, in per cent? And with both orders?

# %%
prediction = None

# %%
said = rng.random((2, 20_000)) < 0.65  # "first", in both orders
predicted("per cent for X, always first", prediction, 100 * said[0].mean())
both = said[0] & ~said[1], ~said[0] & said[1]
print(f"both orders: X {100 * both[0].mean():.0f} %, Y {100 * both[1].mean():.0f} %, undecided the rest")

# %% [markdown]
# ## Difference or noise?
#
# Two models answer the same n items. What both have right or both have wrong says nothing about which is better; only
# the items that **one** of them has right do. McNemar (1947): $z = (n_{10} - n_{01})/\sqrt{n_{10} + n_{01}}$. The
# difference of the accuracies is $(n_{10} - n_{01})/n$.
#
# ### Exercise 8


# %%
def compared(only_first, only_second, n):
    """(difference of the accuracies, its paired standard error, z).

    The error is that of a mean of n differences, each −1, 0 or 1; divide their variance by n − 1 in place of n.
    """
    ...


# %%
check.compared(compared)

# %% [markdown]
# On the 10,042 items of HellaSwag granite-3.1-1b has 783 right that Llama-3.2-1B has not, and Llama 760 that granite
# has not (arXiv 2504.07825). On a board granite stands above Llama, .6238 to .6215. z?

# %%
prediction = None

# %%
predicted("z", prediction, (783 - 760) / (783 + 760) ** 0.5)
needed = (1.96 + 0.84) ** 2 * (783 + 760) / 10_042 / (23 / 10_042) ** 2
print(f"items that would tell them apart, at 80 % power: {needed:,.0f}")

# %% [markdown]
# ## Contamination
#
# A model has seen some of the items. Say it knows 62 % of the clean ones, and 95 % of those it has seen. 8 % of the
# items were in its training text. By how many points is its figure too high?

# %%
prediction = None

# %%
predicted("points too high", prediction, 100 * (0.08 * 0.95 + 0.92 * 0.62 - 0.62))

# %% [markdown]
# More than most differences on a board. `train critique CORPUS --benchmark FILE --choices …` looks for items in a
# corpus by 8, 12 and 13 words in a row, context and answer apart, and compares clean with dirty items. What it cannot
# find: a translation, a paraphrase, an answer of three words.
#
# ## On your own models
#
#     python -m serve evaluate runs/quickstart HuggingFaceTB/SmolLM2-135M --tasks hellaswag --log-choices
#     python -m serve leaderboard evaluation/choices/*.jsonl
#     python -m serve arena votes.csv
#
# docs/leaderboards.md says of MMLU, HellaSwag, ARC, the Open LLM Leaderboards, HELM, MTEB, LMArena, GSM8K, HumanEval,
# IFEval and SEA-HELM by which rule they score, and what was published about figures that differ.
