"""The checks of lesson 14. Reading them before you have tried gives the answers away."""

import math
import re

import numpy as np

from checks import Wrong, exercise, expect
from llm_jax.scoring.hellaswag import _item

# evalica's example (Ustalov 2024, Apache-2.0), and the Elo ratings that its repository publishes.
FOOD = [
    ("Pizza", "Sushi", "left"),
    ("Burger", "Pasta", "right"),
    ("Tacos", "Pizza", "left"),
    ("Sushi", "Tacos", "right"),
    ("Burger", "Pizza", "left"),
    ("Pasta", "Sushi", "right"),
    ("Tacos", "Burger", "left"),
    ("Pizza", "Pasta", "tie"),
    ("Sushi", "Burger", "right"),
    ("Pasta", "Tacos", "left"),
    ("Burger", "Sushi", "right"),
    ("Tacos", "Pizza", "left"),
    ("Sushi", "Pasta", "tie"),
    ("Burger", "Tacos", "left"),
    ("Pizza", "Burger", "right"),
    ("Pasta", "Tacos", "right"),
    ("Burger", "Sushi", "right"),
    ("Tacos", "Pasta", "left"),
    ("Pizza", "Tacos", "right"),
    ("Sushi", "Burger", "left"),
    ("Pasta", "Pizza", "right"),
    ("Burger", "Sushi", "right"),
    ("Tacos", "Pasta", "left"),
    ("Pizza", "Sushi", "left"),
    ("Sushi", "Burger", "right"),
    ("Pasta", "Tacos", "right"),
    ("Tacos", "Pizza", "left"),
    ("Burger", "Pasta", "right"),
    ("Sushi", "Tacos", "left"),
    ("Pizza", "Burger", "right"),
]
PUBLISHED_ELO = {
    "Tacos": 1013.3587771887543,
    "Sushi": 1002.0980590208538,
    "Burger": 998.0260933346951,
    "Pasta": 994.1913058814378,
    "Pizza": 992.325764574259,
}


@exercise(hint="Nats to bits: divide by ln 2. Bytes: len(text.encode()).")
def bits_per_byte(answer):
    text, p = "déjà vu", -20.0
    n = len(text.encode())
    expect(
        answer(p, text),
        20 / math.log(2) / n,
        {
            "that is nats: divide by ln 2.": 20 / n,
            "characters are not bytes: é and à have two each.": 20 / math.log(2) / len(text),
            "log-probabilities are negative, bits are not: the sign.": -20 / math.log(2) / n,
            "multiplied by ln 2: a nat is more than a bit, so there are more bits than nats.": 20 * math.log(2) / n,
            "that is per word; tokens and words differ between models and languages.": 20 / math.log(2) / 2,
        },
        given="log p = −20 and 'déjà vu'",
    )


@exercise(hint="Divide each sum by its answer's length under the rule; argmax; compare with gold; the mean.")
def accuracy(answer):
    answers = [["ab", "éé", "abcd", "x"], ["yes", "no", "maybe so", "éèê"], ["a", "b", "cc", "d"], ["aa", "bbbbb"]]
    sums = [[-2.0, -2.2, -5.0, -3.0], [-3.0, -3.1, -6.0, -3.2], [-2.0, -1.0, -1.0, -4.0], [-2.0, -4.0]]
    gold = [1, 2, 1, 1]
    lengths = {
        "sum": [[1] * len(row) for row in answers],
        "character": [[len(text) for text in row] for row in answers],
        "byte": [[len(text.encode()) for text in row] for row in answers],
    }

    def by(scale, choose=np.argmax):
        picked = [choose(np.array(s) / np.array(n)) for s, n in zip(sums, scale, strict=True)]
        return float(np.mean([one == right for one, right in zip(picked, gold, strict=True)]))

    for rule, scale in lengths.items():
        products = [np.reciprocal(np.array(row, float)) for row in scale]
        expect(
            answer([list(row) for row in sums], [list(row) for row in answers], list(gold), rule),
            by(scale),
            {
                "that is the rule sum: divide by the length.": by(lengths["sum"]),
                "the length of a text in bytes: len(text.encode()).": by(lengths["character"]),
                "characters, not bytes.": by(lengths["byte"]),
                "log-probabilities: the best is the largest, which is nearest to 0.": by(scale, np.argmin),
                "divide by the length; you multiply.": by(products),
            },
            given=f"four items and the rule {rule}",
        )


@exercise(
    hint="Python's capitalize; replace ' [title]' first, then re.sub of what stands in brackets, then the spaces."
)
def prepared(answer):
    rows = [
        {"activity_label": "Roof repair", "ctx_a": "A man sits on a roof.", "ctx_b": "he Starts"},
        {"activity_label": "How to cook", "ctx_a": "Boil water. [title] Salt [substeps] it.  Now", "ctx_b": ""},
    ]

    def by(row, label=True, capital=str.capitalize, title=True, brackets=True, spaces=True):
        text = f"{row['ctx_a']} {capital(row['ctx_b'])}"
        text = (f"{row['activity_label']}: {text}" if label else text).strip()
        text = text.replace(" [title]", ". ") if title else text
        text = re.sub(r"\[.*?\]", "", text) if brackets else text
        return text.replace("  ", " ") if spaces else text

    def all_by(**changes):
        return [by(row, **changes) for row in rows]

    right = [_item(row | {"endings": ["a"], "label": 0}, "harness").query for row in rows]
    assert right == all_by(), (right, all_by())
    found = [answer(dict(row)) for row in rows]
    if all(isinstance(one, str) for one in found):
        stripped = [one.strip() for one in found]
        found = stripped if stripped == right else found
    expect(
        found,
        right,
        {
            "the activity comes first: that is build-nanogpt's text.": all_by(label=False),
            "that is build-nanogpt's text: no activity, nothing replaced.": [
                f"{row['ctx_a']} {row['ctx_b']}".strip() for row in rows
            ],
            "ctx_b begins with a capital letter.": all_by(capital=str),
            "capitalize makes the other letters small: 'He starts'.": all_by(capital=lambda t: t[:1].upper() + t[1:]),
            "' [title]' becomes '. ' before the brackets go.": all_by(title=False),
            "what stands in brackets goes, too.": all_by(brackets=False),
            "two spaces become one, at the end.": all_by(spaces=False),
        },
        given="an item of ActivityNet and one of WikiHow",
    )


NUMBER = re.compile(r"-?\$?\d[\d,]*(?:\.\d+)?")


def _last(text, pattern=NUMBER, which=-1):
    found = pattern.findall(text)
    return float(re.sub(r"[$,]", "", found[which])) if found else None


@exercise(
    hint="re.findall of an optional sign, an optional dollar, digits and commas, optional decimals; take the last."
)
def last_number(answer):
    cases = ["3 eggs at $2 make $6.", "so 1,234,567 in all", "x = -4.50, done", "#### 18", "2 + 2 = 4.", "-$12"]
    right = [_last(text) for text in cases]

    def ask(text):
        try:
            found = answer(text)
        except Wrong:
            found = None  # returning None is the right answer where there is no number
        return found

    found = [ask(text) for text in cases]
    if all(one is None for one in found):
        raise Wrong("not done yet: the function returns nothing.")
    no_comma = re.compile(r"-?\$?\d+(?:\.\d+)?")
    no_sign = re.compile(r"\d[\d,]*(?:\.\d+)?")
    whole = re.compile(r"-?\$?\d[\d,]*")
    expect(
        found,
        right,
        {
            "the last number, not the first.": [_last(text, which=0) for text in cases],
            "1,234,567 is one number.": [_last(text, no_comma) for text in cases],
            "a number may be negative.": [_last(text, no_sign) for text in cases],
            "decimals belong to the number.": [_last(text, whole) for text in cases],
            "numbers as floats, not as text.": [NUMBER.findall(text)[-1] for text in cases],
        },
        given="six answers of a model",
    )
    if ask("no number at all") is not None:
        raise Wrong("a text without a number gives None.")


@exercise(
    hint="The product of (n − c − i)/(n − i) for i from 0 to k − 1; or math.comb, whose numbers are exact integers."
)
def pass_at_k(answer):
    n, c, k = 10, 3, 4
    expect(
        answer(n, c, k),
        1 - math.comb(n - c, k) / math.comb(n, k),
        {
            "that is the biased estimate: samples are not put back.": 1 - (1 - c / n) ** k,
            "that is the probability that none passes.": math.comb(n - c, k) / math.comb(n, k),
            "that is pass@1; k samples have more chances.": c / n,
            "k chances are not added: that could exceed 1.": k * c / n,
            "that is the probability that all k pass.": math.comb(c, k) / math.comb(n, k),
        },
        given="n = 10, c = 3, k = 4",
    )
    expect(answer(5, 3, 4), 1.0, given="fewer failures than k")
    expect(answer(5, 0, 2), 0.0, given="no sample that passes")
    expect(answer(2000, 20, 100), 1 - math.comb(1980, 100) / math.comb(2000, 100), given="n = 2000, c = 20, k = 100")


def _elo(votes, k=4.0, tie=0.5, scale=400.0, swapped=False, base=10.0):
    ratings = {}
    for left, right, winner in votes:
        a, b = ratings.setdefault(left, 1000.0), ratings.setdefault(right, 1000.0)
        expected = 1 / (1 + base ** (((a - b) if swapped else (b - a)) / scale))
        gain = k * ({"left": 1.0, "tie": tie, "right": 0.0}[winner] - expected)
        ratings[left], ratings[right] = a + gain, b - gain
    return ratings


@exercise(hint="For each vote: both ratings, E, the gain k·(S − E); add it to the left, subtract it from the right.")
def elo(answer):
    expect(
        answer(list(FOOD)),
        PUBLISHED_ELO,
        {
            "a tie is half a win for each, not a loss of the left one.": _elo(FOOD, tie=0.0),
            "a tie is half a win for each, not a win of the left one.": _elo(FOOD, tie=1.0),
            "E is large where the LEFT one has the larger rating: the sign of the difference.": _elo(
                FOOD, swapped=True
            ),
            "10 to the power of the difference over 400, not e.": _elo(FOOD, base=math.e),
            "the votes are taken in their order, from the first.": _elo(FOOD[::-1]),
            "K is 4 here.": _elo(FOOD, k=32.0),
        },
        given="evalica's thirty votes",
    )
    expect(answer([("a", "b", "left")], 32.0), {"a": 1016.0, "b": 984.0}, given="one vote and k = 32")


@exercise(hint="Turn each verdict into a model: 'first' is X in the first order and Y in the second. Do they agree?")
def verdict(answer):
    places = ("first", "second", "tie")
    pairs = [(a, b) for a in places for b in places]
    in_first, in_second = {"first": "X", "second": "Y"}, {"first": "Y", "second": "X"}

    def fair(a, b):
        x, y = in_first.get(a, "tie"), in_second.get(b, "tie")
        return x if x == y else "tie"

    def by_points(a, b):
        score = sum({"X": 1, "Y": -1}.get(one, 0) for one in (in_first.get(a), in_second.get(b)))
        return "X" if score > 0 else "Y" if score < 0 else "tie"

    def by_place(a, b):
        return in_first.get(a, "tie") if a == b else "tie"

    expect(
        [answer(a, b) for a, b in pairs],
        [fair(*pair) for pair in pairs],
        {
            "'first' and 'second' are places: in the second order, Y stands first.": [by_place(*p) for p in pairs],
            "that is the first order alone.": [in_first.get(a, "tie") for a, _ in pairs],
            "that is the second order alone.": [in_second.get(b, "tie") for _, b in pairs],
            "both verdicts have to name the model: one win and one tie are a tie here.": [
                by_points(*pair) for pair in pairs
            ],
        },
        given="all nine pairs of verdicts",
    )


@exercise(hint="The differences are +1, −1 and 0; their mean is (a − b)/n, the sum of their squares a + b.")
def compared(answer):
    a, b, n = 30, 18, 400
    mean = (a - b) / n
    error = math.sqrt(((a + b) - n * mean**2) / (n - 1) / n)
    z = (a - b) / math.sqrt(a + b)
    p = a / n, b / n
    unpaired = math.sqrt((p[0] * (1 - p[0]) + p[1] * (1 - p[1])) / n)
    expect(
        answer(a, b, n),
        (mean, error, z),
        {
            "the variance is divided by n − 1.": (mean, math.sqrt(((a + b) / n - mean**2) / n), z),
            "subtract the mean's square: it is a variance, not a mean of squares.": (
                mean,
                math.sqrt((a + b) / (n - 1) / n),
                z,
            ),
            "that is the standard deviation of one item; the mean's is smaller by √n.": (
                mean,
                error * math.sqrt(n),
                z,
            ),
            "items are the same for both: the error of two separate samples is another one.": (mean, unpaired, z),
            "the difference is over all n items, not over those on which they differ.": ((a - b) / (a + b), error, z),
            "z by McNemar: (a − b)/√(a + b).": (mean, error, mean / error),
            "a root is missing in z.": (mean, error, (a - b) / (a + b)),
        },
        given="30 and 18 of 400",
    )
    published = [round(float(one), digits) for one, digits in zip(answer(783, 760, 10_042), (4, 4, 2), strict=True)]
    expect(published, [0.0023, 0.0039, 0.59], given="granite and Llama")
