"""A document → the quantities that the filters compare, measured by datatrove's filters themselves.

A filter of datatrove says yes or no, and stops at its first no. Here its thresholds are recording numbers: every
comparison with one gives "no reason to remove", and the number that was compared is stored (`Threshold`). One call then
yields every quantity of a filter, exactly as the filter computes it.

C4's filter deletes lines of the documents it keeps, and FineWeb's filter then sees what is left. So FineWeb's rules are
measured twice: on the document as it is, and as C4 leaves it.
"""

import contextlib
import copy
import dataclasses
import math
import warnings
from typing import Any, NamedTuple

from datatrove.data import Document
from datatrove.pipeline.filters import C4QualityFilter
from datatrove.pipeline.filters.c4_filters import END_PUNCTUATION

from train.critique.rules import C4, EDU, FINEWEB, QUALITY, REPETITION, RULES, Rule
from train.critique.words import word_tokenizer
from train.prepare.curation import recipe
from train.prepare.curation.languages import Language

CLASSES = {
    "GopherRepetitionFilter": REPETITION,
    "GopherQualityFilter": QUALITY,
    "C4QualityFilter": C4,
    "FineWebQuality": FINEWEB,
}
LISTS = ("top_n_grams", "dup_n_grams")


class Threshold(float):
    """A float with the value of the threshold; `seen` holds what it was compared with, in order."""

    __array_ufunc__ = None  # numpy's scalars then leave the comparison to this class

    def __new__(cls, value: float) -> "Threshold":
        self = super().__new__(cls, value)
        self.seen = []
        return self

    seen: list[float]

    def _see(self, other: Any) -> bool:
        self.seen.append(float(other))
        return False

    # `quantity < threshold` asks for threshold > quantity, and so on.
    __lt__ = __gt__ = __le__ = __ge__ = _see

    def take(self) -> list[float]:
        """What was seen since the last call."""
        seen, self.seen = self.seen, []
        return seen


class Quantities(NamedTuple):
    """Quantities in the order of the meter's rules, NaN where a filter could not measure."""

    alone: list[float]  # on the text as it is
    in_chain: list[float]  # on the text as the filters before leave it
    text: str  # what C4 leaves


class Meter:
    """The filters of a language with recording thresholds, and the rules that are on."""

    def __init__(self, language: Language, words: str, edu: float | None = None) -> None:
        """`edu`: FineWeb-Edu's threshold, if the documents have scores."""
        tokenizer = word_tokenizer(words, language)
        self.real: dict[str, Any] = {
            CLASSES[type(one).__name__]: one for one in recipe.filters(language) if type(one).__name__ in CLASSES
        }
        for one in self.real.values():
            one.language = tokenizer
        listening = {name: copy.copy(one) for name, one in self.real.items()}
        self._listening = listening
        self._thresholds = {name: _listen(one, name) for name, one in listening.items()}
        ascii_marks: Any = copy.copy(self.real[FINEWEB])
        ascii_marks.stop_chars = END_PUNCTUATION  # datatrove's own five marks
        self._ascii, self._ascii_thresholds = ascii_marks, _listen(ascii_marks, FINEWEB)
        self._cleaner, self._only_lorem, self._only_bracket, self._punctuated = _c4_parts(tokenizer)
        self._fewest = Threshold(5)
        self._punctuated.min_num_sentences = self._fewest
        self.rules = [one for one in (self._known(rule, edu) for rule in RULES) if one is not None]

    def _known(self, rule: Rule, edu: float | None) -> Rule | None:
        """The rule with the recipe's threshold; None where the recipe lacks it or switches it off."""
        if rule.filter == EDU:
            return None if edu is None else dataclasses.replace(rule, threshold=edu)
        if rule.filter not in self.real and rule.chain:
            return None
        if not rule.attribute:
            return rule if C4 in self.real else None
        value = getattr(self.real[rule.filter], rule.attribute)
        if rule.attribute in LISTS:
            value = dict(value).get(int("".join(filter(str.isdigit, rule.name))), 0)
        return dataclasses.replace(rule, threshold=float(value)) if value else None

    def __call__(self, text: str, score: float | None = None) -> Quantities:
        """Measures one document; `score` is FineWeb-Edu's."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the mean length of no words
            found = self._of(REPETITION, text) | self._of(QUALITY, text)
            cleaned = text
            if C4 in self.real:
                c4, cleaned = self._c4(text)
                found |= c4
            alone = found | self._of(FINEWEB, text) | self._english_marks(text)
            chained = alone if cleaned == text else alone | self._of(FINEWEB, cleaned)
        score = math.nan if score is None else score
        alone[EDU, "educational score"] = chained[EDU, "educational score"] = score
        names = [(rule.filter, rule.name) for rule in self.rules]
        return Quantities(*([one.get(name, math.nan) for name in names] for one in (alone, chained)), text=cleaned)

    def _of(self, name: str, text: str) -> dict[tuple[str, str], float]:
        return _quantities(self._listening[name], self._thresholds[name], name, text)

    def _english_marks(self, text: str) -> dict[tuple[str, str], float]:
        found = _quantities(self._ascii, self._ascii_thresholds, FINEWEB, text)
        return {
            (FINEWEB, "lines without English punctuation"): found.get((FINEWEB, "lines without punctuation"), math.nan)
        }

    def _c4(self, text: str) -> tuple[dict[tuple[str, str], float], str]:
        found = self._of(C4, text)
        found[C4, "lorem ipsum"] = float(not _keeps(self._only_lorem, text))
        found[C4, "curly bracket"] = float(not _keeps(self._only_bracket, text))
        _keeps(self._punctuated, text)
        found[C4, "sentences in punctuated lines"] = next(iter(self._fewest.take()), math.nan)
        document = Document(text=text, id="")
        self._cleaner.filter(document)
        return found, document.text


def _listen(one: Any, name: str) -> dict[str, list[Threshold]]:
    """Replaces the thresholds of a filter by recording ones; returns them by attribute."""
    placed: dict[str, list[Threshold]] = {}
    for attribute in dict.fromkeys(rule.attribute for rule in RULES if rule.filter == name and rule.attribute):
        value = getattr(one, attribute)
        if attribute in LISTS:
            pairs = [(n, Threshold(limit)) for n, limit in value]
            setattr(one, attribute, pairs)
            placed[attribute] = [limit for _, limit in pairs]
        else:
            placed[attribute] = [Threshold(value or 0)]
            setattr(one, attribute, placed[attribute][0])
    if name == C4:  # only its threshold on sentences; the other rules are asked apart
        one.filter_lorem_ipsum = one.filter_curly_bracket = False
    return placed


def _quantities(one: Any, thresholds: dict[str, list[Threshold]], name: str, text: str) -> dict[tuple[str, str], float]:
    # In a text without a word, the rules after "too few words" would divide by zero.
    with contextlib.suppress(ZeroDivisionError):
        one.filter(Document(text=text, id=""))
    found: dict[tuple[str, str], float] = {}
    for attribute, placed in thresholds.items():
        names = [rule.name for rule in RULES if rule.filter == name and rule.attribute == attribute and rule.chain]
        if attribute in LISTS:
            for threshold, rule in zip(placed, names, strict=False):
                found[name, rule] = next(iter(threshold.take()), math.nan)
        else:
            for rule, value in zip(names, placed[0].take(), strict=False):
                found[name, rule] = value
    return found


def _c4_parts(tokenizer: Any) -> tuple[Any, Any, Any, Any]:
    """C4's filter in parts: the one that deletes lines, those that look for one thing, and the rule on punctuation."""
    off: dict[str, Any] = {
        "filter_no_terminal_punct": False,
        "min_num_sentences": -1,
        "filter_lorem_ipsum": False,
        "filter_curly_bracket": False,
    }
    return (
        C4QualityFilter(**off, language=tokenizer),
        C4QualityFilter(**{**off, "filter_lorem_ipsum": True}, language=tokenizer),
        C4QualityFilter(**{**off, "filter_curly_bracket": True}, language=tokenizer),
        C4QualityFilter(**{**off, "filter_no_terminal_punct": True}, language=tokenizer),
    )


def _keeps(one: Any, text: str) -> bool:
    return one.filter(Document(text=text, id="")) is True
