"""tiktoken's rank file: one line `base64(token bytes) rank` for each token, in order of rank.

It holds the ranks and nothing else: the split pattern and the special tokens must be known from elsewhere.
"""

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path

from llm_jax import files


def write(path: str | Path, ranks: Mapping[bytes, int]) -> None:
    lines = [
        f"{base64.b64encode(token).decode()} {rank}\n"
        for token, rank in sorted(ranks.items(), key=lambda item: item[1])
    ]
    files.write(Path(path), "".join(lines))


def read(path: str | Path) -> dict[bytes, int]:
    """The ranks in the file. Raises ValueError naming the line for a line that is not `base64 number`."""
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(Path(path).read_bytes().splitlines(), start=1):
        if not line:
            continue
        try:
            encoded, rank = line.split()
            token = base64.b64decode(encoded, validate=True)
            if token in ranks:
                raise ValueError(f"token {token!r} is there twice")
            ranks[token] = int(rank)
        except (ValueError, binascii.Error) as error:
            raise ValueError(f"line {number}: expected `base64(token) rank`, found {line[:60]!r} ({error})") from None
    return ranks
