"""The shuffle: one-to-one, different for every seed and epoch, and the same for ever."""

import hashlib
import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from train.data.order import permute


def whole(n: int, seed: int = 0, epoch: int = 0) -> np.ndarray:
    return permute(np.arange(n), n, seed, epoch)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 3000), seed=st.integers(-(2**70), 2**70), epoch=st.integers(0, 2**40))
def test_every_window_comes_exactly_once_an_epoch(n, seed, epoch):
    assert sorted(whole(n, seed, epoch)) == list(range(n))


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 2**62), data=st.data())
def test_one_index_gives_the_same_alone_or_among_others(n, data):
    indices = np.array(data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=20)))
    together = permute(indices, n, 3, 8)
    assert ((together >= 0) & (together < n)).all()
    assert together.tolist() == [permute(np.array([index]), n, 3, 8)[0] for index in indices]


def test_other_seeds_and_epochs_give_unrelated_orders():
    n = 20_000
    base = whole(n)
    for other in (whole(n, seed=1), whole(n, epoch=1), whole(n, seed=2**32), np.arange(n)):
        # Two random permutations agree in one place on average; the count is Poisson(1).
        assert (base == other).sum() < 8
        assert abs(np.corrcoef(base, other)[0, 1]) < 4 / np.sqrt(n)


def test_neighbours_are_scattered_evenly():
    n = 100_000
    steps = np.diff(whole(n, seed=5)) % n
    counts, _ = np.histogram(steps, bins=100, range=(0, n))
    chi_squared = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    assert 50 < chi_squared < 160  # 99 degrees of freedom: mean 99, standard deviation 14


def reference(index: int, n: int, seed: int, epoch: int) -> int:
    """The same formula in plain integers, one index at a time."""

    def mix(x: int) -> int:
        x = x * 0xFF51AFD7ED558CCD % 2**64
        return (x ^ x >> 33) * 0xC4CEB9FE1A85EC53 % 2**64 >> 32

    a = next(a for a in range(1, n + 1) if a * a >= n)
    b = (n + a - 1) // a
    keys = struct.unpack("<6Q", hashlib.blake2b(f"{seed} {epoch}".encode(), digest_size=48).digest())
    while True:
        high, low = divmod(index, a)
        for i, key in enumerate(keys):
            if i % 2 == 0:
                low = (low + mix(high ^ key)) % a
            else:
                high = (high + mix(low ^ key)) % b
        index = high * a + low
        if index < n:
            return index


def test_the_order_is_the_documented_formula():
    for n in (1, 2, 3, 10, 97, 1000, 4099):
        assert whole(n, seed=11, epoch=3).tolist() == [reference(i, n, 11, 3) for i in range(n)]


def test_the_order_is_the_one_that_checkpoints_rely_on():
    """Golden: printed when the format was fixed. A change breaks the resume of every run, so do not refresh it."""
    assert whole(10).tolist() == [8, 6, 5, 9, 0, 4, 3, 1, 2, 7]
    assert permute(np.array([0, 1, 123_456_789]), 10**12, 1337, 2).tolist() == [
        634326376436,
        829546284007,
        123349627983,
    ]
