"""MinHash as a critique shows it: clusters, the S-curve against its formula, and similarities."""

import numpy as np
import pytest
from fineweb import nearly, prose

pytest.importorskip("datatrove", reason="a critique needs the extra curate")
pytest.importorskip("spacy", reason="a critique needs the extra curate")

from train.critique import duplicates
from train.critique.documents import Document
from train.critique.words import AtSpaces

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def found():
    texts = [prose(0), nearly(prose(0)), nearly(nearly(prose(0))), *map(prose, range(1, 12)), nearly(prose(1)), "short"]
    pieces = [Document(text, f"row {i}", "", None) for i, text in enumerate(texts)]
    return duplicates.duplicates(pieces, np.arange(100, 100 + len(texts)), AtSpaces(), 0)


def test_near_copies_are_clusters_of_which_one_is_kept(found):
    assert found["cluster_sizes"] == [[2, 1], [3, 1]]
    assert found["removed"]["documents"] == 3
    assert found["clusters"][0]["places"] == ["row 0", "row 1", "row 2"]
    assert all(0.8 < one < 1 for one in found["similarity_with_kept"])


def test_the_measured_s_curve_is_the_formula_s(found):
    """Σ (measured − expected)² in units of the binomial's variance is about the number of bins."""
    rows = [row for row in found["curve"] if 0.01 < row["expected"] < 0.99]
    assert len(rows) >= 8
    z = [
        (row["agreed"] - row["pairs"] * row["expected"])
        / np.sqrt(row["pairs"] * row["expected"] * (1 - row["expected"]))
        for row in rows
    ]
    assert np.square(z).sum() < 3 * len(rows)


def test_at_three_quarters_the_formula_gives_the_published_77_per_cent():
    assert duplicates.s_curve(0.75, 14, 8) == pytest.approx(0.772, abs=5e-4)


def test_altered_sets_have_the_similarity_that_was_asked_for():
    rng = np.random.default_rng(0)
    shingles = rng.integers(0, 1 << 60, 300, dtype=np.uint64)
    for wanted in (0.1, 0.5, 0.9):
        assert duplicates.jaccard(shingles, duplicates._altered(shingles, wanted, rng)) == pytest.approx(
            wanted, abs=0.005
        )
