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
# # 15 · Curation, and its evidence
#
# A corpus is what its filters left. Each filter is a small program with a threshold, written by somebody for some
# text. After this lesson (about an hour) you can
#
# - write the rules in use, and say whose text they remove,
# - tell what a filter removes alone from what it removes in its place,
# - say with what probability MinHash finds two similar documents,
# - compute how large a gain has to be before an experiment shows it, and judge published ones by that.
#
# Everything here runs in seconds. The command that does it on real text is `python -m train critique`
# (docs/curation.md).

# %%
import matplotlib.pyplot as plt
import numpy as np
from checks import curation as check
from checks import predicted

BLUE, RED, GREY = "#1d5fbf", "#c2410c", "#8a8f98"

# %% [markdown]
# ## A rule made for English
#
# Gopher (Rae et al. 2021, appendix A1) keeps a document if it has at least two *different* words of these eight.
# Machine lists, tables and code have few of them.

# %%
STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}

# %% [markdown]
# ### Exercise 1
# The rule. Words are what stands between white space, as they are written.


# %%
def keeps(text):
    """True if the text has at least two different stop words."""
    ...


# %%
check.keeps(keeps)

# %% [markdown]
# The first article of the Universal Declaration of Human Rights, in seven languages. How many of the seven does the
# rule keep?

# %%
prediction = None

# %%
ARTICLE = {
    "English": "All human beings are born free and equal in dignity and rights. They are endowed with reason and "
    "conscience and should act towards one another in a spirit of brotherhood.",
    "German": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen "
    "begabt und sollen einander im Geist der Brüderlichkeit begegnen.",
    "Indonesian": "Semua orang dilahirkan merdeka dan mempunyai martabat dan hak-hak yang sama. Mereka dikaruniai akal "
    "dan hati nurani dan hendaknya bergaul satu sama lain dalam semangat persaudaraan.",
    "Vietnamese": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền. Mọi con người đều được "
    "tạo hoá ban cho lý trí và lương tâm và cần phải đối xử với nhau trong tình anh em.",
    "Thai": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม และควรปฏิบัติต่อกันด้วยเจตนารมณ์แห่งภราดรภาพ",
    "Japanese": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "Chinese": "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。",
}


def stop_words_of(text):
    return len(STOP_WORDS & set(text.split()))


def mean_word_length(text):
    return float(np.mean([len(word) for word in text.split()]))


for language, text in ARTICLE.items():
    print(f"{language:<11} {stop_words_of(text)} stop words, {mean_word_length(text):5.1f} characters a word")
predicted("kept of seven", prediction, sum(stop_words_of(text) >= 2 for text in ARTICLE.values()))

# %% [markdown]
# Look at the last column, too: Gopher removes a text whose words have more than 10 characters on average. Thai,
# Japanese and Chinese write no spaces, so a "word" is a sentence.
#
# On FLORES-200 (the same 2,009 sentences in each language, documents of ten) the rule on stop words removes 98 to 100
# % in sixteen languages and nothing in English; the rule on word length removes all of Japanese, Khmer, Lao, Burmese,
# Thai and Chinese. That is why FineWeb-2 (Penedo et al. 2025) measures stop words and thresholds for each language
# anew.
#
# ## How sure is a share?
#
# A filter removes 0 of 20 documents of a dialect. Is 0 % then certain? The usual $\hat p \pm z\sqrt{\hat p(1-\hat
# p)/n}$ says so. Wilson (1927) asks which true shares make the observation likely:
#
# $$\frac{\hat p + \frac{z^2}{2n} \pm z\sqrt{\frac{\hat p(1-\hat p)}{n} + \frac{z^2}{4n^2}}}{1 + \frac{z^2}{n}}$$
#
# ### Exercise 2


# %%
def wilson(k, n, z=1.96):
    """(low, high): Wilson's interval of the share k/n."""
    ...


# %%
check.wilson(wilson)

# %% [markdown]
# ## Alone, in order, left out
#
# Ten filters in a row, and the report says: the last one removed 0.3 %. Is it useless? Three different questions:
#
# - **alone**: how many documents does the rule remove by itself?
# - **in order**: how many does it remove of those that reach it?
# - **left out**: how many more would be kept if only this rule were dropped?
#
# ### Exercise 3
# `fires[i, r]` is True where rule `r` would remove document `i`; the rules run from left to right. Return three
# arrays of counts, one number for each rule.


# %%
def removals(fires):
    """(alone, in_order, left_out)."""
    ...


# %%
check.removals(removals)

# %% [markdown]
# Two rules that catch the same junk: each removes 20 % alone. How many per cent come back if the first is dropped?

# %%
prediction = None

# %%
rng = np.random.default_rng(0)
junk = rng.random(10_000) < 0.2
twins = np.stack([junk, junk], axis=1)
only_first = twins[:, 0] & ~twins[:, 1]
predicted("per cent that come back", prediction, 100 * only_first.mean())

# %% [markdown]
# So "dropping it changed nothing" says nothing about a rule, as long as its twin stays.
#
# ## MinHash
#
# Near-duplicates share a part $s$ of their 5-grams (Jaccard: shared over all). A hash function ranks 5-grams in a
# random order; the smallest of two documents is the same one with probability $s$. FineWeb takes 112 of them in 14
# buckets of 8, and compares two documents if **all** 8 of **any** bucket agree.
#
# ### Exercise 4
# The probability of that.


# %%
def found(s, buckets, hashes):
    """The probability that two documents that share s are compared."""
    ...


# %%
check.found(found)

# %% [markdown]
# Two documents share three quarters of their 5-grams. How probable is it that MinHash 14 × 8 sees it?

# %%
prediction = None


# %%
def trial(s, buckets, hashes, rng):
    """One pair: every minimum agrees with probability s."""
    return bool((rng.random((buckets, hashes)) < s).all(axis=1).any())


measured = np.mean([trial(0.75, 14, 8, rng) for _ in range(4000)])
predicted("found", prediction, measured)

shares = np.linspace(0, 1, 41)
figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
for (buckets, hashes), colour in (((14, 8), BLUE), ((20, 20), RED), ((8, 4), GREY)):
    rates = [np.mean([trial(s, buckets, hashes, rng) for _ in range(300)]) for s in shares]
    axes.plot(shares, rates, color=colour, label=f"{buckets} buckets of {hashes}")
axes.set(xlabel="share of 5-grams in common", ylabel="found", title="what MinHash finds, measured")
axes.legend()
plt.show()

# %% [markdown]
# More hashes in a bucket move the curve to the right; more buckets to the left. And deduplicating more is not better
# by itself: over all of FineWeb's dumps at once it left 4 trillion tokens, within each dump 20; the 4 trained no
# better model. Of the dump 2013-48, a model learnt less from what was kept than from what was removed (arXiv
# 2406.17557).
#
# ## How large must a gain be?
#
# FineWeb's own filters together remove about 22 % of the tokens and gain **about one point** of mean accuracy,
# measured on models trained on 28 billion tokens, on benchmarks of which the long ones were cut to **1,000 items**.
#
# ### Exercise 5
# The standard error of a *mean accuracy* over several benchmarks, each of `items` independent items: the error of
# each is $\sqrt{a(1-a)/n}$.


# %%
def standard_error(accuracies, items):
    """Of the mean of the accuracies."""
    ...


# %%
check.standard_error(standard_error)

# %% [markdown]
# One benchmark of 1,000 items, accuracy 0.45: how many points is the standard error?

# %%
prediction = None


# %%
def error_of(accuracies, items):
    a = np.asarray(accuracies)
    return float(np.sqrt((a * (1 - a) / items).sum()) / len(a))


predicted("points", prediction, 100 * error_of([0.45], 1000))
eight = error_of([0.45] * 8, 1000)
print(f"eight such benchmarks: {100 * eight:.2f} points; two models on them, compared: {100 * eight * 2**0.5:.2f}")
print(f"a gain of one point is {0.01 / (eight * 2**0.5):.1f} standard errors")

# %% [markdown]
# So a gain of one point is about **one** standard error: two models of the *same* data differ by as much in one of
# five comparisons. Pairing the items helps (lesson 14), other seeds of training hurt: they add a noise that more
# items do not remove. FineWeb trained two seeds of each side, which halves that part's variance.
#
# This is no accusation: the paper says what it measured, published the models, and its larger gains (FineWeb-Edu:
# about 4 points of MMLU, 11 of ARC) are far outside the noise. It tells which of its many decisions the evidence
# carries.
#
# One more thing. Whoever tries many filters and keeps the best one, keeps the luckiest one. Seventeen filters, none
# of which does anything: how many points does the best of them seem to gain?

# %%
prediction = None

# %%
noise = eight * 2**0.5
gains = rng.normal(0, noise, size=(20_000, 17)).max(axis=1)
predicted("points", prediction, 100 * gains.mean())

# %% [markdown]
# ## On your own text
#
#     python -m train critique 'corpus/*.parquet' --label language
#     python -m train critique 'flores/*.dev' --lines 10 --words spaces
#     python -m train critique corpus.jsonl --benchmark validation.parquet --train "Gopher quality"
#
# Each writes one page: every rule alone, in order and left out, ten removed documents, a threshold that you can move,
# whom it removes, near-duplicates, benchmarks in the text, and bits per byte with and without a filter. Read the ten
# removed documents first.
