"""CSV files of means alone, an item a line: `nll_0,nll_1,…`, as pchizhov/hellaswag-evaluation publishes them.

The name of a file says what it holds: `sum_MODEL`, `byte_mean_MODEL`, else the mean per token (`MODEL`); its folder is
the prompt. In spite of the column's name the values are log-likelihoods, not negated. They are those of the whole text,
context and answer: a rule over the answer alone cannot be computed from them. The right answers come from --items.
"""

import csv
import io
from pathlib import Path

import numpy as np

from llm_jax.files.content import read_text
from llm_jax.scoring.choices.values import UNKNOWN, Choices, table

KINDS = {"sum_": "sum", "byte_mean_": "byte mean", "token_mean_": "token mean"}


def is_means(first_line: str) -> bool:
    return first_line.strip().split(",")[:2] == ["nll_0", "nll_1"]


def read(path: Path, task: str) -> Choices:
    """Raises OSError, or ValueError naming file and line."""
    lines = csv.reader(io.StringIO(read_text(path)))
    header = next(lines)
    rows: list[list[float]] = []
    for row in lines:
        try:
            values = [float(value) for value in row]
        except ValueError:
            raise ValueError(f"{path}, line {lines.line_num}: {','.join(row)[:60]!r} are not numbers") from None
        if len(values) != len(header):
            raise ValueError(f"{path}, line {lines.line_num} has {len(values)} values; the header has {len(header)}")
        rows.append(values)
    name = path.name.removesuffix(".gz").removesuffix(".csv")
    kind = next((prefix for prefix in KINDS if name.startswith(prefix)), "")
    column = KINDS.get(kind, "token mean")
    return Choices(
        name.removeprefix(kind).replace("--", "/"),
        task,
        path.resolve().parent.name,
        str(path),
        tuple(map(str, range(len(rows)))),
        np.full(len(rows), UNKNOWN),
        {column: table(rows, str(path), "a log-likelihood")},
    )
