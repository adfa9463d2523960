"""The three rules by which checkpoints stay, each on its own and together."""

import math

import pytest

from llm_jax.checkpoint.retention import Retention

LOSSES = {10: 3.0, 20: 1.0, 30: None, 40: 2.0, 50: math.nan}


def test_last_checkpoints_are_kept_whatever_their_loss():
    assert Retention(keep_last=2, keep_best=False).expired(LOSSES) == [10, 20, 30]
    assert Retention(keep_last=5, keep_best=False).expired(LOSSES) == []
    assert Retention(keep_last=9).expired(LOSSES) == []


def test_best_is_the_lowest_finite_loss_and_the_newest_of_equals():
    assert Retention(keep_last=1).expired(LOSSES) == [10, 30, 40]
    assert Retention(keep_last=1).expired({1: 2.0, 2: 2.0, 3: 3.0}) == [1]
    assert Retention(keep_last=1).expired({1: None, 2: math.inf, 3: None}) == [1, 2]


def test_every_so_many_steps_one_stays_for_good():
    assert Retention(keep_last=1, keep_every=20, keep_best=False).expired(LOSSES) == [10, 30]


def test_order_of_the_steps_does_not_matter():
    assert Retention(keep_last=1).expired(dict(reversed(LOSSES.items()))) == [10, 30, 40]


@pytest.mark.parametrize(("name", "value"), [("keep_last", 0), ("keep_last", -1), ("keep_every", 0)])
def test_numbers_below_one_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name} must be at least 1 .*got {value}"):
        Retention(**{name: value})
