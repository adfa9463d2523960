"""The checks of lesson 9. Reading them before you have tried gives the answers away."""

import math
from collections import Counter
from itertools import pairwise

from checks import Wrong, exercise, expect

WORDS = [(["h", "u", "g"], 10), (["p", "u", "n"], 12), (["h", "u", "g", "s"], 5), (["a", "a", "a"], 2)]
COUNTS = {"h": 15, "u": 36, "g": 20, "hu": 15, "ug": 20, "p": 17, "pu": 17, "n": 16, "un": 16, "b": 4, "bu": 4}
COUNTS |= {"s": 5, "hug": 15, "gs": 5, "ugs": 5}


def _pairs(words, weight=lambda count: count):
    found = Counter()
    for symbols, count in words:
        for pair in pairwise(symbols):
            found[pair] += weight(count)
    return dict(found)


def _single_symbols(words):
    found = Counter()
    for symbols, count in words:
        for symbol in symbols:
            found[symbol] += count
    return dict(found)


@exercise(hint="Two loops: over the words, and over the neighbours, pairwise(symbols). How often does a word occur?")
def count_pairs(answer):
    across = [([symbol for symbols, _ in WORDS for symbol in symbols], 1)]
    right = _pairs(WORDS)
    found = answer(WORDS)
    found = dict(found) if isinstance(found, dict) else found
    expect(
        found,
        right,
        {
            "each word counts as often as it occurs: add its count, not 1.": _pairs(WORDS, lambda _: 1),
            "a pair must not reach from one word into the next.": _pairs(across),
            "(a, a) stands twice in a a a: count both places, though they overlap.": right | {("a", "a"): 2},
            "every neighbour counts, the last pair of a word too.": _pairs([(s[:-1], n) for s, n in WORDS]),
            "left and right are exchanged.": {(right_, left): n for (left, right_), n in right.items()},
            "single symbols were counted; a pair has two.": _single_symbols(WORDS),
        },
        given="hug 10, pun 12, hugs 5 and aaa 2",
    )
    expect(dict(answer([(["a"], 3)])), {}, given="a word of one letter")


@exercise(hint="Walk from left to right. Where the pair stands, put left + right and go on behind both.")
def join(answer):
    symbols = ["a", "a", "a", "b", "a", "a"]
    expect(
        answer(symbols, ("a", "a")),
        ["aa", "a", "b", "aa"],
        {
            "the two places overlap: a symbol that was joined cannot be joined again.": ["aa", "aa", "b", "aa"],
            "the two places overlap: go on BEHIND both symbols of a pair.": ["aa", "aa", "a", "b", "aa"],
            "the two places overlap: go on BEHIND both symbols of a pair, also at the end.": [
                *("aa", "aa", "a", "b", "aa", "a")
            ],
            "join from the left, not from the right.": ["a", "aa", "b", "aa"],
            "only the first place was joined; join them all.": ["aa", "a", "b", "a", "a"],
            "what was joined is joined on with its neighbour: go on BEHIND the pair.": ["aaa", "b", "aa"],
            "the symbols between the pairs are lost.": ["aa", "aa"],
            "nothing was joined.": symbols,
        },
        given="a a a b a a and the pair (a, a)",
    )
    expect(
        answer(["h", "u", "g"], ("u", "g")),
        ["h", "ug"],
        {"the last pair of a word counts, too.": ["h", "u", "g"], "the symbols before are lost.": ["ug"]},
        given="h u g and the pair (u, g)",
    )
    expect(answer(["x"], ("u", "g")), ["x"], {"the last symbol is lost.": []}, given="a word without the pair")


@exercise(hint="The text is a a a b d a a a b a c. Write your `join` down twice, with (a, a), then (a, b).")
def walk_through(answer):
    first = ["aa", "a", "b", "d", "aa", "a", "b", "a", "c"]
    second = ["aa", "ab", "d", "aa", "ab", "a", "c"]
    found = answer()
    if not isinstance(found, list | tuple) or len(found) != 2:
        raise Wrong("two lists are asked for: after a + a, and after a + b.")
    expect(
        [list(part) for part in found],
        [first, second],
        {
            "that is the notebook's own mistake: after the first merge a and b are still apart.": [second, second],
            "the first is right; in the second, a + b is joined wherever it stands.": [first, first],
            "the pair of the second merge is (a, b), not (aa, a).": [
                first,
                ["aaa", "b", "d", "aaa", "b", "a", "c"],
            ],
            "the notebook's third step: its pair (aa, ab) comes later.": [
                first,
                ["aaab", "d", "aaab", "a", "c"],
            ],
        },
        given="aaabdaaabac",
    )


@exercise(hint="math.prod over the pieces; the sum of all counts is 210.")
def probability(answer):
    total = sum(COUNTS.values())
    p, u, g = (COUNTS[letter] / total for letter in "pug")
    expect(
        answer(["p", "u", "g"], COUNTS),
        p * u * g,
        {
            "that is the course's number, and it is wrong: p occurs in pug (5) and in pun (12), 17 times.": 5
            / total
            * u
            * g,
            "probabilities of independent pieces are multiplied, not added.": p + u + g,
            "that is the logarithm; the probability itself is asked for.": math.log(p * u * g),
            "divide each count by the sum of all counts.": COUNTS["p"] * COUNTS["u"] * COUNTS["g"],
            "each of the three counts is divided by the sum, not their product once.": COUNTS["p"]
            * COUNTS["u"]
            * COUNTS["g"]
            / total,
            "the sum is over all pieces of the vocabulary, not over those of the segmentation.": math.prod(
                COUNTS[x] / sum(COUNTS[y] for y in "pug") for x in "pug"
            ),
        },
        given="p, u, g",
    )
    expect(answer(["hug"], COUNTS), COUNTS["hug"] / total, given="one piece, hug")


@exercise(
    hint="best = [0.0], and for each j from 1 on the maximum over i of best[i] + scores[text[i:j]], where that is a "
    "piece; keep the i, and walk back from the end."
)
def best_segmentation(answer):
    scores = {"un": -2.0, "und": -3.0, "do": -2.5, "u": -6.0, "n": -6.0, "d": -6.0, "o": -6.0}
    pieces, score = answer("undo", scores)
    expect(
        (list(pieces), score),
        (["un", "do"], -4.5),
        {
            "that is the longest match, und first; un and do are more probable.": (["und", "o"], -9.0),
            "the pieces are in the wrong order: they were collected from the end.": (["do", "un"], -4.5),
            "best(0) is 0, not 1: the empty text costs nothing (the course's program begins at 1).": (
                ["un", "do"],
                -3.5,
            ),
            "the worst segmentation was taken: log probabilities are negative, and the largest is best.": (
                ["u", "n", "d", "o"],
                -24.0,
            ),
            "that is the negative log probability; the score is the sum of the scores.": (["un", "do"], 4.5),
            "the last piece is lost on the way back.": (["un"], -4.5),
            "the first piece is lost on the way back.": (["do"], -4.5),
        },
        given="undo",
    )
    pieces, score = answer("abab", {"a": -1.0, "b": -1.0, "ab": -3.0, "bab": -2.5, "aba": -2.6})
    expect((list(pieces), score), (["a", "bab"], -3.5), given="abab, where longer pieces are not always better")
    pieces, score = answer("hug", {"hug": -1.0, "h": -1.0, "u": -1.0, "g": -1.0})
    expect(
        (list(pieces), score),
        (["hug"], -1.0),
        {"a piece may be as long as the text.": (["h", "u", "g"], -3.0)},
        given="hug, which is a piece itself",
    )


@exercise(hint="max(pairs, key=…): divide the count of the pair by the product of the counts of its two halves.")
def best_wordpiece_pair(answer):
    singles = {"h": 15, "##u": 36, "##g": 20, "p": 17, "##n": 16, "b": 4, "##s": 5}
    pairs = {("h", "##u"): 15, ("##u", "##g"): 20, ("p", "##u"): 17, ("##u", "##n"): 16, ("##g", "##s"): 5}
    expect(
        answer(pairs, singles),
        ("##g", "##s"),
        {
            "that is the commonest pair, which byte-pair encoding would take.": ("##u", "##g"),
            "divide by the product of the two counts, not by their sum.": max(
                pairs, key=lambda pair: pairs[pair] / (singles[pair[0]] + singles[pair[1]])
            ),
            "that pair has the smallest score.": ("h", "##u"),
        },
        given="the counts of the course",
    )
    expect(
        answer({("a", "b"): 6, ("c", "d"): 2, ("e", "f"): 2}, {"a": 9, "b": 9, "c": 2, "d": 4, "e": 2, "f": 4}),
        ("c", "d"),
        {"among equals the first one wins.": ("e", "f"), "that is the commonest pair.": ("a", "b")},
        given="three pairs",
    )
