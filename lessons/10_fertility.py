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
# # 10 · Fertility
#
# The same sentence has 26 tokens in English and 442 in Burmese under GPT-2's tokenizer. Whoever pays by the token pays
# 17 times as much, waits 17 times as long, and fits a seventeenth into the context. After this lesson (about 45
# minutes) you can
#
# - measure this premium so that nobody can argue with it,
# - say why "tokens per word" means nothing in Khmer, and what a word is worth as a unit,
# - find out whether a tokenizer changes the text it is given,
# - say what a fair vocabulary costs, and whom.

# %%
import unicodedata

import matplotlib.pyplot as plt
from checks import fertility as check
from checks import predicted

from llm_jax.tokenizer import O200K_PATTERN, train_bpe

BLUE, RED = "#1d5fbf", "#c2410c"

# %% [markdown]
# ## The same text
#
# Texts are compared that say the same. These are the first article of the Universal Declaration of Human Rights, two
# sentences each.

# %%
ARTICLE = {
    "English": [
        "All human beings are born free and equal in dignity and rights.",
        "They are endowed with reason and conscience and should act towards one another in a spirit of brotherhood.",
    ],
    "Indonesian": [
        "Semua orang dilahirkan merdeka dan mempunyai martabat dan hak-hak yang sama.",
        "Mereka dikaruniai akal dan hati nurani dan hendaknya bergaul satu sama lain dalam semangat persaudaraan.",
    ],
    "Chinese": ["人人生而自由,在尊严和权利上一律平等。", "他们赋有理性和良心,并应以兄弟关系的精神相对待。"],
    "Thai": [
        "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
        "ต่างมีเหตุผลและมโนธรรม และควรปฏิบัติต่อกันด้วยเจตนารมณ์แห่งภราดรภาพ",
    ],
    "Khmer": [
        "មនុស្សទាំងអស់ កើតមកមានសេរីភាព និងសមភាព ក្នុងផ្នែកសេចក្ដីថ្លៃថ្នូរនិងសិទ្ធិ។",
        "មនុស្ស មានវិចារណញ្ញាណនិងសតិសម្បជញ្ញៈជាប់ពីកំណើត ហើយគប្បីប្រព្រឹត្ដចំពោះគ្នាទៅវិញទៅមក ក្នុងស្មារតីភាតរភាពជាបងប្អូន។",
    ],
}
english = train_bpe([" ".join(ARTICLE["English"] * 3)], 350)
tokens = {language: [len(english.encode(line)) for line in lines] for language, lines in ARTICLE.items()}
for language, counts in tokens.items():
    print(f"{language:11} {counts}")

# %% [markdown]
# ### Exercise 1
# The **premium** of a language (Petrov et al. 2023) is the number of tokens of a text in it, over the number of tokens
# of the same text in the reference language. Both lists hold the tokens of each sentence, in the same order. One number
# is asked for.


# %%
def premium(tokens, reference_tokens):
    """How many times as many tokens."""
    ...


# %%
check.premium(premium)

# %% [markdown]
# This vocabulary was learnt from the English sentences alone. Everything else is written as bytes, of which UTF-8 needs
# three for a letter of Thai or Khmer. What is Khmer's premium here?

# %%
prediction = None

# %%
english_total = sum(tokens["English"])
for language, lines in ARTICLE.items():
    text = " ".join(lines)
    print(
        f"{language:11} {len(text):4} characters, {len(text.encode()):4} bytes, {sum(tokens[language]):4} tokens, "
        f"premium {sum(tokens[language]) / english_total:5.2f}"
    )
predicted("Khmer's premium", prediction, sum(tokens["Khmer"]) / english_total)

# %% [markdown]
# ## Published figures
#
# On the 2,009 sentences of FLORES-200, the tokenizers of GPT-2 (2019), GPT-4 (cl100k, 2023) and GPT-4o (o200k, 2024)
# need so many tokens (`python -m train fertility` counts them):

# %%
FLORES = {
    "English": (52_567, 52_835, 52_279),
    "Indonesian": (104_006, 82_006, 64_852),
    "Tamil": (819_110, 404_265, 102_458),
    "Khmer": (805_983, 469_026, 175_665),
}
SENTENCES = 2009

# %% [markdown]
# GPT-4's vocabulary is twice as large as GPT-2's. By how much did Tamil's premium fall from GPT-2 to o200k: how many
# times smaller is it?

# %%
prediction = None

# %%
premiums = {
    language: [n / english for n, english in zip(counts, FLORES["English"], strict=True)]
    for language, counts in FLORES.items()
}
for language, values in premiums.items():
    print(f"{language:11}", *(f"{value:6.2f}" for value in values))
predicted("times smaller", prediction, premiums["Tamil"][0] / premiums["Tamil"][2])

figure, axes = plt.subplots(figsize=(6, 2.8), layout="constrained")
for language, values in premiums.items():
    axes.plot(["GPT-2", "cl100k", "o200k"], values, "o-", label=language)
axes.set_yscale("log", base=2)
axes.set_yticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
axes.set_ylabel("premium")
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# ## Money, time, context
#
# ### Exercise 2
# A text has `english_tokens` tokens in English. Say what it costs in a language with this premium: dollars at a price
# for a **million** tokens, seconds at a speed of so many tokens a second, and the share of a context of so many tokens.


# %%
def cost(english_tokens, premium, dollars_per_million, tokens_per_second, context):
    """(dollars, seconds, share of the context)"""
    ...


# %%
check.cost(cost)

# %% [markdown]
# A context of 8,192 tokens holds about 310 English sentences under cl100k. How many in Khmer?

# %%
prediction = None

# %%
for language, counts in FLORES.items():
    print(f"{language:11}", *(f"{8192 * SENTENCES / n:6.0f} sentences" for n in counts))
predicted("sentences in Khmer", prediction, 8192 * SENTENCES / FLORES["Khmer"][1])

# %% [markdown]
# A prompt with examples, a document to be summarised, the memory of a long chat: what is easy in English does not fit
# in Khmer. And the model sees so much less of the language for the same computation in training.
#
# ## Tokens per word
#
# Papers call tokens per word *fertility*. But what is a word? Thai, Lao, Khmer, Burmese, Chinese and Japanese put no
# spaces between words. Some Khmer texts mark them by a zero-width space, U+200B, which nobody sees; FLORES has some.
#
# ### Exercise 3
# Count the words of a line, divided by white space or by U+200B. (Python's `split()` takes U+200B for a letter.)


# %%
def count_words(line):
    """How many stretches between spaces, visible or not."""
    ...


# %%
check.count_words(count_words)

# %% [markdown]
# By `split()`, FLORES has 11,499 Khmer "words", and 42,855 in English. So how many tokens a "word" has GPT-2 in Khmer?

# %%
prediction = None

# %%
for language, words in (("English", 42_855), ("Khmer", 11_499)):
    print(f"{language}: {FLORES[language][0] / words:.1f} tokens a stretch between spaces")
predicted("tokens a Khmer 'word'", prediction, FLORES["Khmer"][0] / 11_499)

# %% [markdown]
# That is 57 times English's figure, while the premium says 15. Divided at U+200B, too, there are 28,547 stretches with
# 28.2 tokens each: the same tokens, another "word". A segmenter finds words of 13.8 tokens. The premium needs no
# words: it compares the same content, and everybody who counts gets the same. So `train fertility` prints a dash for a
# script without spaces, unless a segmenter or a file says where words are.
#
# ### Exercise 4
# Where words are known, two more figures tell how a vocabulary treats them. `pieces` is a list of (word, number of its
# tokens) in the order of the text. Return the share of **words** that are split, and the share of **types** (distinct
# words) that are kept whole wherever they occur.


# %%
def split_and_whole(pieces):
    """(share of words that are split, share of types that are kept whole)"""
    ...


# %%
check.split_and_whole(split_and_whole)

# %% [markdown]
# What share of the English words of the article does the English vocabulary split, and of the Indonesian ones?

# %%
prediction = None  # of the Indonesian ones


# %%
def pieces_of(lines, tokenizer):
    found = []
    for line in lines:
        _, spans = tokenizer.encode_with_offsets(line)
        place = 0
        for word in line.split():
            start = line.index(word, place)
            place = start + len(word)
            found.append((word, sum(begin < place and end > start for begin, end in spans)))
    return found


shares = {}
for language in ("English", "Indonesian"):
    counted = pieces_of(ARTICLE[language], english)
    shares[language] = sum(n > 1 for _, n in counted) / len(counted)
    print(f"{language}: {shares[language]:.0%} of {len(counted)} words split")
predicted("share of Indonesian words split", prediction, shares["Indonesian"])

# %% [markdown]
# ## Does it give the text back?
#
# Many tokenizers normalise a text first. NFKC, which SentencePiece's default contains, writes what looks alike in the
# same way: `①` becomes `1`, and Thai's `ำ` (sara am) becomes two characters. The default also turns the zero-width
# spaces of Khmer into visible ones. The model then never sees what the user wrote, and never writes it.
#
# ### Exercise 5
# How many of the lines does a Unicode form (`unicodedata.normalize(form, line)`) change?


# %%
def lines_changed(lines, form):
    """Number of lines that are another text afterwards."""
    ...


# %%
check.lines_changed(lines_changed)

# %% [markdown]
# Of the 1,012 Khmer lines of FLORES' devtest, how many does SentencePiece's default change? (Of the English ones, 4; of
# the Chinese ones 871, because of their punctuation.)

# %%
prediction = None

# %%
THAI = "น้ำ"  # water
for form in ("NFC", "NFKC"):
    after = unicodedata.normalize(form, THAI)
    print(form, [f"U+{ord(letter):04X}" for letter in after], "the same" if after == THAI else "another text")
predicted("Khmer lines changed", prediction, 595)

# %% [markdown]
# A search for the word as users type it finds nothing in such a model's output. `--normalization identity`, the default
# of `train tokenizer`, changes nothing; look at *lines changed* in the report of `train fertility`.
#
# ## A fairer vocabulary, and who pays
#
# A vocabulary has so many places. Those that hold Khmer do not hold English. Here are two of the same size, one learnt
# from English, one from all five languages. How many times as many tokens does *English* need under the second?

# %%
prediction = None

# %%
SIZE = 350
alone = train_bpe([" ".join(ARTICLE["English"])] * 2, SIZE, O200K_PATTERN)
balanced = train_bpe([" ".join(lines) for lines in ARTICLE.values()] * 2, SIZE, O200K_PATTERN)
counts = {
    language: [sum(len(tokenizer.encode(line)) for line in lines) for tokenizer in (alone, balanced)]
    for language, lines in ARTICLE.items()
}
for language, (before, after) in counts.items():
    print(
        f"{language:11} {before:4} tokens, balanced {after:4}; premium {before / counts['English'][0]:5.2f}, "
        f"balanced {after / counts['English'][1]:5.2f}"
    )
predicted("times as many English tokens", prediction, counts["English"][1] / counts["English"][0])

figure, axes = plt.subplots(figsize=(6, 2.8), layout="constrained")
places = range(len(counts))
axes.barh([place - 0.2 for place in places], [pair[0] for pair in counts.values()], 0.4, color=BLUE, label="English")
axes.barh([place + 0.2 for place in places], [pair[1] for pair in counts.values()], 0.4, color=RED, label="all five")
axes.set_yticks(list(places), list(counts))
axes.invert_yaxis()
axes.set_xlabel("tokens of the same text")
axes.legend(title="vocabulary learnt from", frameon=False)
plt.show()

# %% [markdown]
# Both have seen these very sentences, so the size of the effect means little. docs/fertility.md does it with a
# vocabulary of 32,000, learnt from one half of FLORES and counted on the other.
#
# ## What to remember
#
# - Compare totals over a text that says the same: the premium needs no words.
# - "Tokens per word" needs words. Where a script writes no spaces, say who divided them, or say nothing.
# - Decode what you encode, and compare: a normalization may have changed the text.
# - A vocabulary is shared. What one language gets, another gives; with more places all give less.
#
# The program is `train/fertility`; `python -m train fertility FILES --tokenizers gpt2 o200k_base yours` measures your
# own texts, and shows every token on a page.
