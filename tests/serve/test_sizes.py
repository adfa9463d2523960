import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.api.decoding.sizes import PATIENCE, Size, Sizes

MOST = Size(rows=8, columns=1008)


@pytest.mark.parametrize(
    ("lengths", "size"),
    [
        ([], (1, 256)),
        ([256], (1, 256)),
        ([257], (1, 1008)),
        ([5, 5], (4, 256)),
        ([5] * 5, (8, 256)),
        ([1000, 3, 3, 3], (4, 1008)),
    ],
)
def test_few_and_short_requests_get_few_rows_and_columns(lengths, size):
    assert Sizes(MOST).fitting(lengths) == size


def test_all_columns_are_those_that_requests_of_any_length_get():
    for most in (64, 256, 300, 1008, 5000):
        sizes = Sizes(Size(1, most))
        assert sizes.columns() == sorted({sizes.fitting([length]).columns for length in range(1, most + 1)})


def test_a_batch_of_less_than_the_smallest_size_has_one_size():
    assert {Sizes(Size(1, 64)).fitting(lengths) for lengths in ([], [3], [64])} == {(1, 64)}


def test_a_batch_becomes_larger_at_once_and_smaller_when_that_has_been_enough_for_a_while():
    sizes = Sizes(MOST)
    assert sizes.after(Size(1, 256), [5, 300]) == (4, 1008)
    for _ in range(3):
        assert {sizes.after(Size(4, 1008), [5]) for _ in range(PATIENCE - 1)} == {(4, 1008)}
        assert sizes.after(Size(4, 1008), [5, 300]) == (4, 1008)  # patience begins anew
    assert [sizes.after(Size(4, 1008), [5]) for _ in range(PATIENCE)] == [(4, 1008)] * (PATIENCE - 1) + [(1, 256)]
    assert sizes.after(Size(1, 256), [5]) == (1, 256)


@given(st.lists(st.lists(st.integers(1, MOST.columns), max_size=MOST.rows), max_size=100))
def test_whoever_is_there_always_fits(steps):
    sizes, now = Sizes(MOST), Size(1, 256)
    for lengths in steps:
        now = sizes.after(now, lengths)
        assert len(lengths) <= now.rows <= MOST.rows
        assert max(lengths, default=0) <= now.columns <= MOST.columns
