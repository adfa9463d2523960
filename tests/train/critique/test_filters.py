"""What the filters measure and remove: datatrove's own decisions, and the published shares on FLORES-200."""

import math

import numpy as np
import pytest
from fineweb import prose

pytest.importorskip("datatrove", reason="a critique needs the extra curate")
pytest.importorskip("spacy", reason="a critique needs the extra curate")

from datatrove.data import Document as Piece

from train.critique import documents, removal
from train.critique.config import CritiqueConfig
from train.critique.documents import Document
from train.critique.measure import Meter
from train.critique.rules import C4, EDU, FINEWEB, QUALITY, REPETITION
from train.prepare.curation.languages import find

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # datatrove's use of tldextract, spaCy's of click

# What datatrove calls the rules of its two filters of Gopher's and of FineWeb's, in its order.
REASONS = {
    "dup_para_frac": "duplicate paragraphs",
    "dup_para_char_frac": "characters of duplicate paragraphs",
    "dup_line_frac": "duplicate lines",
    "dup_line_char_frac": "characters of duplicate lines",
    **{f"top_{n}_gram": f"most frequent {n}-gram" for n in (2, 3, 4)},
    **{f"duplicated_{n}_n_grams": f"repeated {n}-gram" for n in range(5, 11)},
    "gopher_short_doc": "too few words",
    "gopher_below_avg_threshold": "words too short",
    "gopher_above_avg_threshold": "words too long",
    "gopher_too_many_hashes": "hashes",
    "gopher_too_many_ellipsis": "ellipses",
    "gopher_too_many_bullets": "bullets",
    "gopher_too_many_end_ellipsis": "lines ending in an ellipsis",
    "gopher_below_alpha_threshold": "words without a letter",
    "gopher_enough_stop_words": "stop words",
    "lorem_ipsum": "lorem ipsum",
    "curly_bracket": "curly bracket",
    "too_few_sentences": "too few sentences",
    "line_punct_ratio": "lines without punctuation",
    "short_line_ratio": "short lines",
    "char_dup_ratio": "repeated lines",
    "list_ratio": "lists",
}
SENTENCE = "The river and the mountain have a garden to rest with. "
TEXTS = [
    *map(prose, range(3)),
    "too short",
    "lorem ipsum dolor. " * 40,
    "{ code } " * 100,
    SENTENCE * 30,
    "\n".join([SENTENCE.strip()] * 12 + [prose(4)]),
    "\n\n".join([SENTENCE.strip()] * 12),
    "#tag " * 30 + prose(5),
    "and so on … " * 30 + prose(6),
    "\n".join("- " + line for line in prose(7).split("\n")),
    "\n".join(line + " …" for line in prose(7).split("\n")),
    "12 34 56 78 " * 30 + prose(8),
    "\n".join(prose(9).replace(".", "").split(" ")),
    prose(10).replace(". ", "\n"),
    "internationalisation-" * 3 + " and the " + "characteristically " * 80,
    "a b c d e f g " * 20,
    "####",
    "ไทย" * 200,
]


@pytest.fixture(scope="module")
def meter():
    return Meter(find("en"), "spaces")


def fired(meter, values, name):
    return [r.name for r, v in zip(meter.rules, values, strict=True) if r.filter == name and r.chain and r.removes(v)]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_the_first_rule_that_fires_is_the_reason_datatrove_gives(meter, text):
    """Measured with thresholds that never remove, judged by `Rule.removes`; datatrove judges with its own."""
    measured = meter(text)
    for name in (REPETITION, QUALITY, C4, FINEWEB):
        verdict = meter.real[name].filter(Piece(text=text, id=""))
        found = fired(meter, measured.alone, name)
        reason = None if verdict is True else REASONS[verdict[1]]
        if name == C4:  # it looks line by line, so a bracket may come before too few sentences; both are no order
            assert (reason is None) == (found == []), (reason, found)
            assert reason is None or reason in found
        else:
            assert (found or [None])[0] == reason, (name, found)


def test_the_texts_of_these_tests_meet_most_rules(meter):
    seen = {
        name
        for text in TEXTS
        for one in (REPETITION, QUALITY, C4, FINEWEB)
        for name in fired(meter, meter(text).alone, one)
    }
    assert len(seen) >= 18, set(REASONS.values()) - seen


def test_fineweb_sees_what_c4_leaves(meter):
    """C4 deletes the line of one word, so the list of them is gone before FineWeb counts line breaks."""
    text = "\n".join([*["word"] * 150, prose(3)])
    measured = meter(text)
    assert "\nword\n" not in measured.text
    assert "lists" in fired(meter, measured.alone, FINEWEB)
    assert "lists" not in fired(meter, measured.in_chain, FINEWEB)


def corpus_of(meter, pieces, tokens=None):
    found = [meter(one.text, one.score) for one in pieces]
    lengths = tokens or [len(one.text) for one in pieces]
    return removal.Corpus.of(pieces, lengths, meter.rules, found, lengths)


def pieces_of(texts, labels=None, scores=None):
    n = len(texts)
    return [
        Document(text, f"file, row {i}", label, score)
        for i, (text, label, score) in enumerate(zip(texts, labels or [""] * n, scores or [None] * n, strict=True), 1)
    ]


def test_in_order_counts_every_document_once_and_left_out_those_of_one_rule_alone(meter):
    good, short, code, both = prose(1), "The end of it and of that.", f"{{ {prose(2)} }}", "{ short }"
    record = removal.removals(corpus_of(meter, pieces_of([good, short, code, both])), 10, 0)
    rules = {one["name"]: one for one in record["rules"]}
    assert rules["curly bracket"]["alone"]["documents"] == 2
    assert rules["curly bracket"]["in_order"]["documents"] == 1  # the short one is gone by then
    assert rules["curly bracket"]["left_out"]["documents"] == 1
    assert sum(one["in_order"]["documents"] for one in record["rules"] if one["chain"]) == 3
    assert record["chain"]["removed"]["documents"] == 3
    assert [one["place"] for one in rules["curly bracket"]["examples"]] == ["file, row 3", "file, row 4"]
    filters = {one["filter"]: one for one in record["filters"]}
    assert filters[C4]["left_out"]["documents"] == 1
    assert sum(one["in_order"]["documents"] for one in record["filters"]) == 3


def test_a_threshold_that_moves_counts_what_the_rule_would_remove(meter):
    texts = [" ".join(["word"] * n) for n in range(20, 90)]
    corpus = corpus_of(meter, pieces_of(texts, ["a", "b"] * 35))
    rules = {one["name"]: one for one in removal.removals(corpus, 0, 0)["rules"]}
    for name, lengths in (("too few words", range(20, 90)), ("words too long", [4] * 70)):
        histogram, rule = rules[name]["histogram"], rules[name]
        edges = histogram["edges"]
        assert rule["threshold"] in edges
        assert sum(histogram["documents"]) == 70 == sum(map(sum, histogram["by_label"].values()))
        assert sum(histogram["tokens"]) == sum(map(len, texts))
        for k, edge in enumerate(edges):
            is_above = rule["side"] == "above"
            shown = sum(histogram["documents"][k:] if is_above else histogram["documents"][:k])
            assert shown == sum(n > edge if is_above else n < edge for n in lengths)


def test_wilson_s_interval_is_the_published_example():
    """Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662; nothing of 20 gives 0 to 0.1611."""
    assert removal.wilson(81, 263) == pytest.approx([0.2553, 0.3662], abs=1e-4)
    assert removal.wilson(0, 20) == pytest.approx([0, 0.1611], abs=1e-4)


def test_educational_scores_are_a_filter_where_they_are_given():
    meter = Meter(find("en"), "spaces", edu=3)
    record = removal.removals(corpus_of(meter, pieces_of([prose(1), prose(2), prose(3)], scores=[2, 3, None])), 1, 0)
    rule = record["rules"][-1]
    assert (rule["filter"], rule["alone"]["documents"], rule["histogram"]["unmeasured"]) == (EDU, 1, 1)
    assert EDU not in {one.filter for one in Meter(find("en"), "spaces").rules}


def test_examples_are_drawn_with_the_seed(meter):
    corpus = corpus_of(meter, pieces_of(["short"] * 40))
    first, same, other = (removal.removals(corpus, 10, seed)["rules"][13]["examples"] for seed in (1, 1, 2))
    assert len(first) == 10
    assert first == same != other


def test_the_filters_of_another_language_have_its_own_thresholds():
    german = {rule.name: rule for rule in Meter(find("de"), "spaces").rules}
    assert "curly bracket" not in german
    assert "duplicate paragraphs" not in german
    assert "lines without punctuation" not in german  # its threshold is 0
    assert german["words too long"].threshold == 15
    assert german["most frequent 2-gram"].threshold == 0.169


@pytest.fixture(scope="module")
def flores(shared_data, meter):
    """Documents of ten sentences in 17 languages; the two filters that the published shares are about."""
    options = CritiqueConfig((str(shared_data / "flores200" / "*.dev*"),), lines=10)
    pieces = documents.read(options).documents
    found = [{**meter._of(QUALITY, one.text), **meter._english_marks(one.text)} for one in pieces]
    by = {}
    for rule in meter.rules:
        if rule.filter in (QUALITY, FINEWEB):
            removed = np.array([rule.removes(one.get((rule.filter, rule.name), math.nan)) for one in found])
            for label in {one.label for one in pieces}:
                here = np.array([one.label == label for one in pieces])
                by[rule.name, label] = 100 * removed[here].mean()
    return by


def test_gopher_s_stop_words_remove_every_language_but_english(flores):
    shares = {label: share for (rule, label), share in flores.items() if rule == "stop words"}
    assert len(shares) == 17
    assert shares.pop("eng_Latn") == 0
    assert all(98 <= round(share) <= 100 for share in shares.values()), shares


def test_word_length_removes_languages_without_spaces(flores):
    without = ["jpn_Jpan", "khm_Khmr", "lao_Laoo", "mya_Mymr", "tha_Thai", "zho_Hans"]
    for (rule, label), share in flores.items():
        if rule == "words too long":
            assert round(share) == (100 if label in without else 0), label


@pytest.mark.parametrize(
    ("rule", "label", "published"),
    [
        ("lines without English punctuation", "khm_Khmr", 100),
        ("lines without English punctuation", "tha_Thai", 94),
        ("lines without English punctuation", "mya_Mymr", 83),
        ("lines without English punctuation", "zho_Hans", 100),
    ],
)
def test_published_shares_of_other_rules(flores, rule, label, published):
    assert round(flores[rule, label]) == published


@pytest.mark.parametrize(("label", "published"), [("tha_Thai", 77), ("khm_Khmr", 38), ("lao_Laoo", 32)])
def test_fifty_words_are_too_many_for_languages_without_spaces(shared_data, label, published):
    """With the word tokenizer that datatrove has for English, which is what `train curate` runs."""
    meter = Meter(find("en"), "language")
    pieces = documents.read(CritiqueConfig((str(shared_data / "flores200" / f"{label}.dev*"),), lines=10)).documents
    words = [meter._of(QUALITY, one.text)[QUALITY, "too few words"] for one in pieces]
    assert 100 * np.mean([n < 50 for n in words]) == pytest.approx(published, abs=0.51)
