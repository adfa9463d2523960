"""What is removed: by each rule and filter alone, in order, and if it is left out; by label; histograms; examples.

    alone       the rule or filter runs by itself on the text as it is
    in order    documents that reach it in the chain, and that it removes
    left out    documents that would be kept if the chain lacked this one

Intervals of shares are Wilson's (1927).
"""

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from train.critique.documents import Document
from train.critique.measure import Quantities
from train.critique.rules import C4, FILTERS, FINEWEB, Rule

BINS = 60
MOST_LABELS = 60  # that are shown; the rest is "other labels"
SHOWN = 400  # characters of an example
Record = dict[str, Any]


class Corpus(NamedTuple):
    """Documents with what was measured on them."""

    documents: Sequence[Document]
    tokens: np.ndarray  # (N,)
    rules: Sequence[Rule]
    alone: np.ndarray  # (N, rules), NaN where not measured
    in_chain: np.ndarray
    cleaned_tokens: np.ndarray  # (N,), of the text as C4 leaves it

    @classmethod
    def of(
        cls,
        documents: Sequence[Document],
        tokens: Sequence[int],
        rules: Sequence[Rule],
        found: Sequence[Quantities],
        cleaned_tokens: Sequence[int],
    ) -> "Corpus":
        shape = (len(documents), len(rules))
        alone, chained = (
            np.array([getattr(one, k) for one in found], float).reshape(shape) for k in ("alone", "in_chain")
        )
        return cls(documents, np.array(tokens), rules, alone, chained, np.array(cleaned_tokens))

    def removed(self, values: np.ndarray) -> np.ndarray:
        """(N, rules): whether the rule removes a document with these quantities."""
        limits = np.array([rule.threshold for rule in self.rules])
        above = np.array([rule.above for rule in self.rules], bool)
        return np.where(above, values > limits, values < limits)


def removals(corpus: Corpus, examples: int, seed: int) -> Record:
    """Rules, filters and the whole chain."""
    labels = _labels(corpus.documents)
    alone, chained = corpus.removed(corpus.alone), corpus.removed(corpus.in_chain)
    chain = np.array([rule.chain for rule in corpus.rules], bool)
    chained &= chain
    first = np.where(_any(chained), chained.argmax(1), -1)
    rules = [
        {
            **_head(rule),
            "alone": _sizes(corpus, alone[:, at]),
            "in_order": _sizes(corpus, first == at) if rule.chain else None,
            "left_out": _sizes(corpus, chained[:, at] & (chained.sum(1) == 1)) if rule.chain else None,
            "by_label": _by_label(labels, alone[:, at]),
            "histogram": _histogram(rule, corpus, at, labels),
            "examples": _examples(corpus, at, alone[:, at], examples, f"{seed} {rule.filter} {rule.name}"),
        }
        for at, rule in enumerate(corpus.rules)
    ]
    gone = first >= 0
    edited = int((corpus.tokens - corpus.cleaned_tokens)[~gone].sum())
    return {
        "rules": rules,
        "filters": [one for name in FILTERS if (one := _filter(name, corpus, alone, chained, first, labels))],
        "chain": {
            "removed": _sizes(corpus, gone),
            "by_label": _by_label(labels, gone),
            "tokens_of_deleted_lines": edited,
        },
        "labels": [{"label": one, **_sizes(corpus, labels == one)} for one in dict.fromkeys(labels.tolist())],
    }


def kept_by(corpus: Corpus, name: str) -> np.ndarray:
    """(N,): the documents that this filter or rule, alone, keeps. Raises ValueError for an unknown name."""
    chosen = [
        at
        for at, rule in enumerate(corpus.rules)
        if name in (rule.name, f"{rule.filter}: {rule.name}") or (name == rule.filter and rule.chain)
    ]
    if not chosen:
        known = ", ".join(dict.fromkeys([*(r.filter for r in corpus.rules), *(r.name for r in corpus.rules)]))
        raise ValueError(f"--train {name!r} is no filter or rule here; there are {known}")
    return ~_any(corpus.removed(corpus.alone)[:, chosen])


def wilson(removed: int, of: int) -> list[float]:
    """The 95 % interval of a share."""
    if not of:
        return [0.0, 1.0]
    low, high = stats.binomtest(removed, of).proportion_ci(method="wilson")
    return [float(low), float(high)]


def _filter(
    name: str, corpus: Corpus, alone: np.ndarray, chained: np.ndarray, first: np.ndarray, labels: np.ndarray
) -> Record | None:
    own = np.array([rule.filter == name and rule.chain for rule in corpus.rules], bool)
    if not own.any():
        return None
    without = chained & ~own
    if name == C4:  # without C4, FineWeb's filter sees every line
        fineweb = np.array([rule.filter == FINEWEB and rule.chain for rule in corpus.rules], bool)
        without = np.where(fineweb, alone & fineweb, without)
    saved = _any(chained) & ~_any(without)
    return {
        "filter": name,
        "alone": _sizes(corpus, _any(alone[:, own])),
        "in_order": _sizes(corpus, np.isin(first, np.flatnonzero(own))),
        "left_out": _sizes(corpus, saved),
        "by_label": _by_label(labels, _any(alone[:, own])),
    }


def _any(table: np.ndarray) -> np.ndarray:
    return np.asarray(table.any(1))


def _head(rule: Rule) -> Record:
    return {
        "name": rule.name,
        "filter": rule.filter,
        "quantity": rule.quantity,
        "side": "above" if rule.above else "below",
        "threshold": rule.threshold,
        "chain": rule.chain,
    }


def _sizes(corpus: Corpus, chosen: np.ndarray) -> Record:
    return {"documents": int(chosen.sum()), "tokens": int(corpus.tokens[chosen].sum())}


def _labels(documents: Sequence[Document]) -> np.ndarray:
    names = np.array([one.label for one in documents], object)
    values, counts = np.unique(names.astype(str), return_counts=True)
    if len(values) > MOST_LABELS:
        kept = set(values[np.argsort(-counts)][: MOST_LABELS - 1].tolist())
        names = np.array([name if name in kept else "other labels" for name in names], object)
    return names


def _by_label(labels: np.ndarray, removed: np.ndarray) -> list[Record]:
    rows = []
    for label in dict.fromkeys(labels.tolist()):
        here = labels == label
        n, k = int(here.sum()), int(removed[here].sum())
        rows.append({"label": label, "documents": n, "removed": k, "share": k / n, "interval": wilson(k, n)})
    return rows


def _histogram(rule: Rule, corpus: Corpus, at: int, labels: np.ndarray) -> Record | None:
    """Counts between edges, one of which is the threshold; what lies on an edge belongs to the side that is kept."""
    values = corpus.alone[:, at]
    known = ~np.isnan(values)
    if not known.any():
        return None
    edges = _edges(values[known], rule.threshold)
    # Above: a value on an edge is kept by a threshold there, so bins are (low, high]. Below: [low, high).
    place = np.searchsorted(edges, values[known], side="left" if rule.above else "right") - 1
    place = np.clip(place, 0, len(edges) - 2)
    n = len(edges) - 1
    names = list(dict.fromkeys(labels.tolist()))
    number = np.array([names.index(label) for label in labels[known].tolist()])
    by_label = np.zeros((len(names), n), int)
    np.add.at(by_label, (number, place), 1)
    return {
        "edges": edges.tolist(),
        "documents": by_label.sum(0).tolist(),
        "tokens": np.bincount(place, corpus.tokens[known], n).astype(int).tolist(),
        "by_label": dict(zip(names, by_label.tolist(), strict=True)),
        "unmeasured": int((~known).sum()),
    }


def _edges(values: np.ndarray, threshold: float) -> np.ndarray:
    """From below the smallest to above the largest of what is common, with the threshold among them.

    A few documents of extreme length would put all others into one bin, so the last bin takes the top percent.
    """
    low, high = min(float(values.min()), threshold), max(float(np.quantile(values, 0.99)), threshold)
    if (values == np.round(values)).all() and threshold == round(threshold) and high - low < 2 * BINS:
        inner = np.arange(np.floor(low), np.ceil(high) + 2)  # counts: an edge at every number
    else:
        inner = np.linspace(low, high if high > low else low + 1, BINS + 1)
    step = float(inner[1] - inner[0])
    ends = [inner[0] - step, max(inner[-1] + step, float(values.max()) + step)]
    return np.unique(np.concatenate([inner, [threshold], ends]))


def _examples(corpus: Corpus, at: int, removed: np.ndarray, count: int, seed: str) -> list[Record]:
    """Some of the removed documents, drawn at random."""
    gone = np.flatnonzero(removed).tolist()
    chosen = sorted(random.Random(seed).sample(gone, min(count, len(gone))))
    return [
        {
            "place": corpus.documents[i].place,
            "label": corpus.documents[i].label,
            "value": float(corpus.alone[i, at]),
            "text": corpus.documents[i].text[:SHOWN] + ("…" if len(corpus.documents[i].text) > SHOWN else ""),
        }
        for i in chosen
    ]
