"""The checks of lesson 10. Reading them before you have tried gives the answers away."""

import unicodedata
from statistics import fmean, median

from checks import exercise, expect


@exercise(hint="Add up each list first; one division of two totals is left.")
def premium(answer):
    tokens, reference = [30, 8, 100], [10, 8, 20]
    total = sum(tokens) / sum(reference)
    ratios = [one / other for one, other in zip(tokens, reference, strict=True)]
    expect(
        answer(tokens, reference),
        total,
        {
            "that is the mean of the sentences' ratios, in which a short sentence counts as much as a long one: divide "
            "the totals.": fmean(ratios),
            "that is the median of the sentences' ratios: divide the totals.": median(ratios),
            "it is upside down: the reference belongs below.": 1 / total,
            "a premium of 1 means as dear as the reference: do not subtract it.": total - 1,
            "a ratio is asked for, not a difference.": sum(tokens) - sum(reference),
            "that is one ratio for each sentence: one number for the whole text is asked for.": ratios,
            "that is in percent: 1 is as dear as the reference.": 100 * total,
        },
        given=f"{tokens} and {reference}",
    )
    expect(answer([5], [5]), 1.0, given="two texts of five tokens")


@exercise(hint="First the tokens: english_tokens · premium. All three follow from them.")
def cost(answer):
    n, p, dollars, speed, context = 2_000, 8.0, 5.0, 40.0, 8_000
    tokens = n * p
    right = (tokens * dollars / 1e6, tokens / speed, tokens / context)
    expect(
        answer(n, p, dollars, speed, context),
        right,
        {
            "the premium is missing.": (n * dollars / 1e6, n / speed, n / context),
            "the price is for a million tokens.": (tokens * dollars, *right[1:]),
            "a dearer language has more tokens: multiply by the premium.": (
                n / p * dollars / 1e6,
                n / p / speed,
                n / p / context,
            ),
            "the premium raises the time and the context, too, not the price alone.": (
                right[0],
                n / speed,
                n / context,
            ),
            "the premium takes room in the context, too.": (*right[:2], n / context),
            "seconds are tokens over tokens a second.": (right[0], speed / tokens, right[2]),
            "that is how often the text fits into the context; its share of it is asked for.": (
                *right[:2],
                context / tokens,
            ),
            "a text that does not fit has a share above 1: do not cut it off.": (*right[:2], min(1.0, right[2])),
        },
        given="2,000 English tokens, premium 8, $5, 40 tokens a second, a context of 8,000",
    )


@exercise(hint="Turn U+200B, written '\\u200b', into a space; what does split() without an argument do then?")
def count_words(answer):
    line = "ខ្ញុំ\u200bស្រលាញ់ ភាសា\u200bខ្មែរ"
    expect(
        answer(line),
        4,
        {
            "split() does not divide at U+200B, and where U+200B is taken away, its two words become one.": len(
                line.split()
            ),
            "white space divides words, too.": len(line.split("\u200b")),
            "those are characters; words are asked for.": len(line),
            "three places divide four words.": line.count("\u200b") + line.count(" "),
            "the words themselves are not asked for: return how many there are.": line.replace("\u200b", " ").split(),
        },
        given="four words divided by two U+200B and one space",
    )
    messy = "\u200bមួយ \u200b ពីរ \n"
    expect(
        answer(messy),
        2,
        {"empty stretches between two spaces are no words.": len(messy.replace("\u200b", " ").split(" "))},
        given="two words with several spaces around them",
    )
    expect(answer(""), 0, {"an empty line has no words.": 1}, given="an empty line")


@exercise(hint="Words count as often as they occur. For types, gather in a set those that are split somewhere.")
def split_and_whole(answer):
    pieces = [("the", 1), ("cat", 1), ("the", 1), ("khmer", 3), ("cat", 2), ("the", 1), ("khmer", 3)]
    n, types = len(pieces), {word for word, _ in pieces}
    broken, once = {word for word, k in pieces if k > 1}, {word for word, k in pieces if k == 1}
    split, whole = sum(k > 1 for _, k in pieces) / n, 1 - len(broken) / len(types)
    expect(
        answer(pieces),
        (split, whole),
        {
            "the two are in the wrong order.": (whole, split),
            "cat is split in one place: a type is kept whole only if it is so wherever it occurs.": (
                split,
                len(once) / len(types),
            ),
            "the first is over all words, not over types.": (len(broken) / len(types), whole),
            "the second is over types: each distinct word counts once.": (split, 1 - split),
            "the first is the share that is split, not the share that is whole.": (1 - split, whole),
            "the second is the share that is kept whole, not the share that is split.": (split, 1 - whole),
            "that is tokens a word, the fertility; the share of words that are split is asked for.": (
                sum(k for _, k in pieces) / n,
                whole,
            ),
            "shares lie between 0 and 1, not 0 and 100.": (100 * split, 100 * whole),
            "counts were returned: divide by the number of words, and of types.": (
                sum(k > 1 for _, k in pieces),
                len(types) - len(broken),
            ),
        },
        given="the 1, cat 1, the 1, khmer 3, cat 2, the 1, khmer 3",
    )


@exercise(hint="Compare each line with its normalised form by ==, and count where they differ.")
def lines_changed(answer):
    lines = ["plain", "น้ำ", "① one", "café", "cafe\u0301", "ﬁne ﬁle"]

    def changed(form):
        return [unicodedata.normalize(form, line) != line for line in lines]

    expect(
        answer(lines, "NFKC"),
        sum(changed("NFKC")),
        {
            "the lengths were compared: ① becomes 1, another text of the same length.": sum(
                len(unicodedata.normalize("NFKC", line)) != len(line) for line in lines
            ),
            "those are the lines that stay the same.": len(lines) - sum(changed("NFKC")),
            "that is NFC; take the form that is given.": sum(changed("NFC")),
            "a share was returned; the number of lines is asked for.": fmean(changed("NFKC")),
            "those are characters; lines are asked for.": sum(
                unicodedata.normalize("NFKC", letter) != letter for line in lines for letter in line
            ),
        },
        given="six lines and NFKC",
    )
    expect(answer(lines, "NFC"), sum(changed("NFC")), {"take the form that is given.": 4}, given="six lines and NFC")
