"""The mean of several seeds and how far it is known."""

import pytest

from train.record.intervals import interval


def test_an_interval_is_student_s():
    mean, half = interval([0.5, 0.6, 0.7])
    assert mean == pytest.approx(0.6)
    assert half == pytest.approx(4.3027 * 0.1 / 3**0.5, rel=1e-4)  # t of two degrees of freedom, s/√n
    assert str(interval([1.0, 2.0, 3.0])) == "2.000 ± 2.484"


def test_one_seed_tells_nothing_of_the_spread():
    assert interval([0.5]) == (0.5, None)
    assert str(interval([2.0])) == "2.000"
