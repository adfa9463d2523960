"""The order of an epoch: a permutation of any size that is computed one element at a time.

Shuffling 10 million windows with a table costs 80 MB and must be redone to seek. A Feistel network is instead a keyed
formula for "which window comes i-th": nothing is stored, any i costs the same, and it is one-to-one by construction.
Following Black and Rogaway, "Ciphers with arbitrary finite domains" (2002), the index is written as two digits, i =
high·a + low with a ≈ √n, and each round adds a hash of one digit to the other, which can always be undone. The two
digits reach slightly more than n values; one that falls outside is permuted again until it falls inside (cycle
walking), rare since a·b − n < a.

A resumed run must see the same order, so this function must never change: `tests/data/test_order.py` holds golden
values. (grain's own shuffle works in the same way, but may change from version to version.)
"""

import hashlib
import math

import numpy as np

ROUNDS = 6  # four suffice against a distinguisher (Luby and Rackoff 1988); two more make up for a cheap hash


def permute(index: np.ndarray, n: int, seed: int, epoch: int) -> np.ndarray:
    """Where each `index` in [0, n) goes in the permutation of range(n) that seed and epoch choose; int64, as `index`.

    A bijection of range(n), and an unrelated one for any other seed or epoch. n is at most 2**62.
    """
    a = math.isqrt(n - 1) + 1  # √n rounded up: the number of low digits
    b = -(-n // a)  # the fewest high digits with a·b ≥ n
    keys = _round_keys(seed, epoch)
    result = _rounds(index.astype(np.uint64), np.uint64(a), np.uint64(b), keys)
    while (outside := result >= n).any():
        result[outside] = _rounds(result[outside], np.uint64(a), np.uint64(b), keys)
    return result.astype(np.int64)


def _round_keys(seed: int, epoch: int) -> np.ndarray:
    digest = hashlib.blake2b(f"{seed} {epoch}".encode(), digest_size=8 * ROUNDS).digest()
    return np.frombuffer(digest, "<u8").astype(np.uint64)


def _rounds(index: np.ndarray, a: np.uint64, b: np.uint64, keys: np.ndarray) -> np.ndarray:
    high, low = np.divmod(index, a)
    for even, odd in keys.reshape(-1, 2):
        low = (low + _hash(high ^ even)) % a
        high = (high + _hash(low ^ odd)) % b
    return high * a + low


def _hash(x: np.ndarray) -> np.ndarray:
    """64 bits to 32 (so that adding a digit cannot overflow): two rounds of multiply and shift, with MurmurHash3's
    constants."""
    x = x * np.uint64(0xFF51AFD7ED558CCD)
    x = (x ^ (x >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return x >> np.uint64(32)
