"""Which examples are for validation: those with the smallest hashes, so that equal examples are never divided.

The validation loss of an example that is also in training would measure what was memorised.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from train.finetune.data.example import Example, Labelled, Pair


def hash_of(example: Example | Pair | Labelled, seed: int = 0) -> bytes:
    """Equal for equal examples."""
    digest = hashlib.blake2b(str(seed).encode(), digest_size=16)
    for one in (example.chosen, example.rejected) if isinstance(example, Pair) else (example,):
        digest.update(one.ids.tobytes())
        digest.update(b"" if isinstance(one, Labelled) else np.packbits(one.trained).tobytes())
        digest.update(len(one.ids).to_bytes(8, "little"))
    return digest.digest()


def for_validation(hashes: Sequence[bytes], fraction: float) -> np.ndarray:
    """Which of the examples: at least one where `fraction` is above 0, never all. bool [examples]."""
    chosen = np.zeros(len(hashes), bool)
    if not fraction:
        return chosen
    wanted = max(1, round(fraction * len(hashes)))
    order = sorted(range(len(hashes)), key=lambda number: hashes[number])
    start = 0
    while start < wanted:
        stop = start + 1
        while stop < len(order) and hashes[order[stop]] == hashes[order[start]]:
            stop += 1
        if stop == len(order):
            break  # the last group stays for training
        chosen[order[start:stop]] = True
        start = stop
    return chosen
