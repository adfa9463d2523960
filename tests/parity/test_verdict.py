"""The rule: equal, rounding, suspicious, wrong, and the figures beside it."""

import math

import numpy as np
import pytest

from train.parity.verdict import Error, Row, first_wrong, judge, measure

REFERENCE = np.array([3.0, -4.0, 1e-3])


def row(ours: np.ndarray, theirs: np.ndarray = REFERENCE, noise: float = 1e-6) -> Row:
    return measure("section", "name", ours, theirs, REFERENCE, noise, "float32", "float32")


@pytest.mark.parametrize(
    ("yardsticks", "verdict"),
    [(0, "rounding"), (3, "rounding"), (3.01, "suspicious"), (30, "suspicious"), (30.1, "wrong"), (math.inf, "wrong")],
)
def test_the_verdict_is_by_yardsticks(yardsticks, verdict):
    assert judge(Error(0.0, None, yardsticks)) == verdict


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_wrong(bad):
    assert row(np.array([3.0, bad, 1e-3])).verdict == "wrong"


def test_equal_bits_are_called_equal_but_not_where_both_are_wrong():
    assert row(REFERENCE).verdict == "equal"
    far = REFERENCE + 1
    assert row(far, far).verdict == "wrong"


def test_the_figures_are_those_of_their_definitions():
    off = np.array([0.0, 3e-6, 0.0])
    found = row(REFERENCE + off)
    assert found.largest_absolute == pytest.approx(3e-6)
    assert found.largest_relative == pytest.approx(3e-6 / 4)
    assert found.relative_norm == pytest.approx(3e-6 / 5)
    assert found.ours.ulps == pytest.approx(3e-6 / 2**-21)  # float32 numbers from 4 to 8 are 2⁻²¹ apart
    assert found.yardstick == pytest.approx(math.hypot(1e-6, 2**-24 * 5 / math.sqrt(3)))
    assert found.ours.yardsticks == pytest.approx(3e-6 / found.yardstick)
    assert found.theirs.norm == 0


def test_a_small_element_is_measured_against_the_size_of_its_tensor():
    found = row(REFERENCE + np.array([0, 0, 1e-6]))
    assert found.largest_relative == pytest.approx(1e-6 / (5 / math.sqrt(3)))


def test_a_true_zero_is_judged_by_its_absolute_size():
    zero = np.full(4, 1e-20)

    def judged(size: float) -> Row:
        return measure("s", "n", zero + size, zero, zero, 1e-9, "float32", "float32")

    assert judged(1e-9).verdict == "rounding"
    assert judged(1e-6).verdict == "wrong"
    assert judged(1e-9).largest_relative is None
    assert judged(1e-9).ours.ulps is None
    assert "absolute" in judged(1e-9).note


def test_a_note_says_where_pytorch_itself_is_beyond_rounding():
    found = row(REFERENCE, REFERENCE + 1e-5)
    assert found.verdict == "rounding"
    assert found.note == "PyTorch's own error is suspicious"


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"section, name: shapes differ: \(2,\), \(3,\) and \(3,\)"):
        row(REFERENCE[:2])


def test_the_first_wrong_row_is_found_in_order():
    good, bad, worse = row(REFERENCE), row(REFERENCE + 1), row(REFERENCE + 2)
    assert first_wrong([good, bad, worse]) is bad
    assert first_wrong([good]) is None
