"""Where the texts of a packed row begin, and who may attend to whom."""

import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.layers.packing import packed_mask, starts

ROWS = jnp.array([[0, 0, 0, 1, 1, 2, 2, 2], [0, 1, 2, 2, 2, 2, 3, 3], [5, 5, 5, 5, 5, 5, 5, 5]])


def test_each_text_begins_where_its_number_changes():
    np.testing.assert_array_equal(
        starts(ROWS), [[0, 0, 0, 3, 3, 5, 5, 5], [0, 1, 2, 2, 2, 2, 6, 6], [0, 0, 0, 0, 0, 0, 0, 0]]
    )


def test_a_number_that_comes_again_is_another_text():
    np.testing.assert_array_equal(starts(jnp.array([[0, 0, 1, 0, 0]])), [[0, 0, 2, 3, 3]])


def test_a_query_attends_to_its_own_text_up_to_itself():
    mask, rows = np.asarray(packed_mask(starts(ROWS))), np.asarray(ROWS)
    expected = (rows[:, :, None] == rows[:, None, :]) & np.tri(8, dtype=bool)
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(("first", "stop"), [(0, 8), (2, 5), (4, 8)])
def test_the_mask_of_a_piece_is_a_piece_of_the_mask(first, stop):
    begin = starts(ROWS)
    whole = packed_mask(begin)
    np.testing.assert_array_equal(packed_mask(begin[:, first:stop], first), whole[:, first:stop, :stop])
