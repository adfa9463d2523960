import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.sizes import PATIENCE, Size, Sizes

MOST = Size(rows=8, columns=1008)


@pytest.mark.parametrize(
    ("lengths", "size"),
    [
        ([], (1, 128)),
        ([128], (1, 128)),
        ([129], (1, 512)),
        ([5, 5], (4, 128)),
        ([5] * 5, (8, 128)),
        ([1000, 3, 3, 3], (4, 1008)),
    ],
)
def test_few_and_short_requests_get_few_rows_and_columns(lengths, size):
    assert Sizes(MOST).fitting(lengths) == size


def test_a_batch_of_less_than_the_smallest_size_has_one_size():
    assert {Sizes(Size(1, 64)).fitting(lengths) for lengths in ([], [3], [64])} == {(1, 64)}


def test_a_batch_becomes_larger_at_once_and_smaller_when_that_has_been_enough_for_a_while():
    sizes = Sizes(MOST)
    assert sizes.after(Size(1, 128), [5, 200]) == (4, 512)
    for _ in range(3):
        assert {sizes.after(Size(4, 512), [5]) for _ in range(PATIENCE - 1)} == {(4, 512)}
        assert sizes.after(Size(4, 512), [5, 200]) == (4, 512)  # patience begins anew
    assert [sizes.after(Size(4, 512), [5]) for _ in range(PATIENCE)] == [(4, 512)] * (PATIENCE - 1) + [(1, 128)]
    assert sizes.after(Size(1, 128), [5]) == (1, 128)


@given(st.lists(st.lists(st.integers(1, MOST.columns), max_size=MOST.rows), max_size=100))
def test_whoever_is_there_always_fits(steps):
    sizes, now = Sizes(MOST), Size(1, 128)
    for lengths in steps:
        now = sizes.after(now, lengths)
        assert len(lengths) <= now.rows <= MOST.rows
        assert max(lengths, default=0) <= now.columns <= MOST.columns
