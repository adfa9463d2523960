"""What position and length of the answers alone achieve, and how sure a model is of its choices."""

import math
from typing import Any

import numpy as np
from scipy import stats

from llm_jax.scoring.choices.rules import softmax
from llm_jax.scoring.choices.values import Choices

BINS = 15


def calibration(scores_NK: np.ndarray, gold_N: np.ndarray) -> dict[str, Any]:
    """Confidence (the largest share of the softmax) against accuracy, in bins of equal width.

    ECE = Σ_b n_b/n · |accuracy_b − confidence_b|, the expected calibration error of Guo et al. 2017. A score
    divided by a length is no log-probability and its softmax is too flat, so rules give the same model different ECEs.
    """
    shares = softmax(scores_NK)
    confidence, right = shares.max(1), (scores_NK.argmax(1) == gold_N).astype(float)
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    sums = [np.bincount(place, values, minlength=BINS) for values in (confidence, right)]
    gap = float(np.abs(sums[0] - sums[1]).sum() / len(gold_N))
    return {
        "confidence": float(confidence.mean()),
        "accuracy": float(right.mean()),
        "ece": gap,
        "bins": [
            {"n": int(n), "confidence": float(c / n), "accuracy": float(a / n)}
            for n, c, a in zip(count, *sums, strict=True)
            if n
        ],
    }


def positions(choices: Choices) -> dict[str, Any]:
    """Where the right answers stand, and what always taking one position, the longest or the shortest would score."""
    width = next(iter(choices.columns.values())).shape[1]
    counts = np.bincount(choices.gold, minlength=width)
    # An item with fewer answers has no chance to put the right one at a later position.
    expected = ((np.arange(width) < choices.n_answers[:, None]) / choices.n_answers[:, None]).sum(0)
    found: dict[str, Any] = {
        "right": (counts / len(choices.gold)).tolist(),
        "chance": float((1 / choices.n_answers).mean()),
        "p_value": float(stats.chisquare(counts, expected).pvalue),
    }
    lengths = answer_lengths(choices)
    if lengths is not None:
        longest, shortest = np.nanargmax(lengths, 1), np.nanargmin(lengths, 1)
        found |= {
            "longest": float((longest == choices.gold).mean()),
            "shortest": float((shortest == choices.gold).mean()),
        }
    return found


def chosen(choices: Choices, scores_NK: np.ndarray) -> dict[str, Any]:
    """Where the answers that a model chooses stand, and how long they are beside the right ones."""
    choice = scores_NK.argmax(1)
    found: dict[str, Any] = {"chosen": (np.bincount(choice, minlength=scores_NK.shape[1]) / len(choice)).tolist()}
    lengths = answer_lengths(choices)
    if lengths is not None:
        rows = np.arange(len(choice))
        ratio = lengths[rows, choice].mean() / lengths[rows, choices.gold].mean()
        found["length_ratio"] = float(ratio) if math.isfinite(ratio) else None
    return found


def answer_lengths(choices: Choices) -> np.ndarray | None:
    return choices.lengths if choices.lengths is not None else choices.columns.get("characters")
