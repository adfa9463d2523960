"""Parts, read: the tokens, document lengths and findings that `tokenise` has written for each unit.

A part is opened when it is needed and not kept. Of all parts together only a few numbers each are in memory, because
15 trillion tokens are some twenty billion documents.
"""

import errno
from collections.abc import Iterable
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np

from train.prepare.findings import Findings
from train.prepare.plan import UnitPlan


class PartSize(NamedTuple):
    """What is kept of a part's documents: their lengths would take a hundred GB for 15 trillion tokens."""

    tokens: int
    documents: int
    holds_text: bool


def measure(plan: UnitPlan, number: int, n_before: int) -> PartSize:
    lengths = read(plan, number, "lengths")
    return PartSize(int(lengths.sum(dtype=np.int64)), len(lengths), bool((lengths > n_before).any()))


def tokens_of_first(plan: UnitPlan, n_documents: int, most: int) -> int:
    """Tokens of the first documents together, at most `most`. Reads no part beyond them."""
    found, number = 0, 0
    while n_documents > 0 and found < most:
        lengths = read(plan, number, "lengths")[:n_documents]
        found, n_documents, number = found + int(lengths.sum(dtype=np.int64)), n_documents - len(lengths), number + 1
    return min(found, most)


def documents_before(plan: UnitPlan, part_starts: np.ndarray, border: int) -> int:
    """How many documents begin before token `border`. Reads no part beyond it."""
    count = 0
    for number, start in enumerate(part_starts[:-1].tolist()):
        if start >= border:
            break
        lengths = read(plan, number, "lengths")
        count += int((start + np.cumsum(lengths, dtype=np.int64) - lengths < border).sum())
    return count


def findings(plan: UnitPlan, numbers: Iterable[int]) -> Findings:
    """The findings of these units together. A part that an older version wrote has none."""
    total = Findings()
    for number in numbers:
        total.add(Findings.from_json(str(read(plan, number, "findings", np.array(Findings().to_json())))))
    return total


def read(plan: UnitPlan, number: int, array: str, missing: np.ndarray | None = None) -> np.ndarray:
    """One array of a part; `missing`, if given, where the part does not have it.

    Removes a damaged part, because every later run would fail at it, and raises ValueError that names it.
    """
    path = plan.part(number)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as part:
            return part[array] if missing is None or array in part else missing
    except (BadZipFile, ValueError, KeyError, EOFError, RuntimeError, OSError) as error:
        # EINVAL: a damaged zip index points to before the file. ENOENT: another thread has removed the part already.
        if isinstance(error, OSError) and error.errno not in (errno.EINVAL, errno.ENOENT):
            raise
        path.unlink(missing_ok=True)
        raise ValueError(
            f"{path}: damaged part, removed ({error}); run the same command again, which makes it again"
        ) from error
