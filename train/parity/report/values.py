"""A whole comparison: rows, curve, promises and conclusion; the grouping of rows; `parity.json`.

A verdict says whether rounding explains a difference. A promise is a fixed bound: it says whether the difference is
small. Promises hold on a CPU, for GPT-2 124M and smaller models.

In bfloat16 the bounds grow with depth. A half block rounds about six tensors as wide as the residual stream (the norm,
two products, what lies between them, the sum), each by at most u/√3 of its size, u = 2⁻⁸. The errors of 2L half blocks
are independent, so they add up to u·√(6·2L/3) = 2u·√L. A gradient passes through the blocks twice, which doubles the
variance: 2u·√(2L).
"""

import collections
import dataclasses
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_jax.config import model_preset
from llm_jax.files.json_files import finite, write_json
from train.parity import comparison
from train.parity.stages import curve, decode, operations, step
from train.parity.stages.curve import LossCurves
from train.parity.verdict import ROUNDING, SEVERITY, SUSPICIOUS, UNIT_ROUNDOFF, Row, Verdict, first_wrong

FORMAT = 1
PROMISED_RATE = 6e-4  # highest peak learning rate for which the loss curve is promised


@dataclass(frozen=True)
class Promise:
    """A bound and the measured value that must not exceed it."""

    text: str
    bound: float
    measured: float

    @property
    def held(self) -> bool:
        return self.measured <= self.bound  # False for NaN


@dataclass(frozen=True)
class Group:
    """Rows of one kind, such as the same parameter of every block. A table shows the worst of them."""

    section: str
    name: str
    rows: list[Row]

    @property
    def worst(self) -> Row:
        return max(self.rows, key=lambda row: (SEVERITY.index(row.verdict), _yardsticks(row)))

    @property
    def where(self) -> str:
        """Which row is the worst, such as "worst of 4: block 2"; empty for a single row."""
        if len(self.rows) == 1:
            return ""
        return f"worst of {len(self.rows)}: {_kind(self.worst)[1]}"


@dataclass(frozen=True)
class Report:
    """All results of one run of `train parity`."""

    setup: dict[str, Any]
    rows: list[Row]
    curve: LossCurves
    promises: list[Promise]

    @property
    def first_wrong(self) -> Row | None:
        return first_wrong(self.rows)

    @property
    def passed(self) -> bool:
        return self.first_wrong is None and all(promise.held for promise in self.promises)

    def count(self, verdict: Verdict) -> int:
        return sum(row.verdict == verdict for row in self.rows)

    def groups(self) -> list[Group]:
        """The rows grouped by kind; groups are in the order of their first rows."""
        kinds: dict[tuple[str, str], list[Row]] = collections.defaultdict(list)
        for row in self.rows:
            kinds[row.section, _kind(row)[0]].append(row)
        return [Group(section, name, rows) for (section, name), rows in kinds.items()]

    def conclusion(self) -> str:
        """How many rows have each verdict, how many promises held, and the first wrong row."""
        counts = ", ".join(f"{self.count(verdict)} {verdict}" for verdict in SEVERITY)
        broken = sum(not promise.held for promise in self.promises)
        text = f"{len(self.rows)} comparisons: {counts}"
        if self.promises:
            text += f"; {len(self.promises) - broken} of {len(self.promises)} promises held"
        if row := self.first_wrong:
            text += f". First wrong row: {row.section}, {row.name}"
        return text

    def write(self, path: Path) -> None:
        """Writes the report as JSON; a number that is not finite becomes null."""
        record = {
            "format": FORMAT,
            "setup": self.setup,
            "rule": {"rounding": ROUNDING, "suspicious": SUSPICIOUS, "unit": "yardsticks"},
            "conclusion": self.conclusion(),
            "passed": self.passed,
            "promises": [dataclasses.asdict(promise) | {"held": promise.held} for promise in self.promises],
            "rows": [dataclasses.asdict(row) for row in self.rows],
            "curve": {f.name: list(getattr(self.curve, f.name)) for f in dataclasses.fields(LossCurves)},
        }
        write_json(path, finite(record))


def promises(rows: list[Row], n_parameters: int, n_layers: int, dtype: str, peak_rate: float) -> list[Promise]:
    """The bounds for a comparison on a CPU, with what was measured; none for models larger than GPT-2 124M."""
    if n_parameters > model_preset("gpt2-124m").n_parameters:
        return []
    return _bfloat16_promises(rows, n_layers) if dtype == "bfloat16" else _float32_promises(rows, peak_rate)


def _bfloat16_promises(rows: list[Row], n_layers: int) -> list[Promise]:
    bound = 2 * UNIT_ROUNDOFF["bfloat16"] * math.sqrt(n_layers)
    gradients = [row for row in rows if row.section == comparison.GRADIENTS and row.relative_norm is not None]
    logits = next(row for row in rows if (row.section, row.name) == (comparison.ACTIVATIONS, "logits"))
    return [
        Promise("logits, relative in norm to float64", bound, logits.ours.norm / logits.reference_norm),
        Promise(
            "gradient of all parameters together, relative in norm to float64",
            bound * math.sqrt(2),
            math.hypot(*(row.ours.norm for row in gradients)) / math.hypot(*(row.reference_norm for row in gradients)),
        ),
    ]


def _float32_promises(rows: list[Row], peak_rate: float) -> list[Promise]:
    def largest(section: str, kind: str) -> float:
        return max(row.largest_absolute for row in rows if row.section == section and _kind(row)[0] == kind)

    by_parameter = _relative_gradients([row for row in rows if row.section == comparison.GRADIENTS])
    curve_row = next(row for row in rows if row.section == curve.SECTION)
    decode_row = next((row for row in rows if row.section == decode.SECTION), None)  # an encoder does not decode
    made = [
        Promise("logits, largest absolute difference", 1e-4, largest(comparison.ACTIVATIONS, "logits")),
        Promise("gradient of every parameter, relative in norm", 1e-5, max(by_parameter.values())),
        Promise("AdamW step from identical gradients, absolute", 1e-6, largest(step.STEP, "parameters")),
    ]
    if decode_row is not None:
        made.append(Promise("greedy tokens that differ", 0, decode_row.largest_absolute))
    if peak_rate <= PROMISED_RATE:
        made.insert(3, Promise("loss of every step, relative", 1e-4, curve_row.largest_relative or 0.0))
    return made


def _relative_gradients(rows: list[Row]) -> dict[str, float]:
    """‖ours − theirs‖/‖reference‖ by parameter.

    The bias of qkv is taken without its key third, whose true gradient is zero.
    """
    squares: dict[str, list[float]] = collections.defaultdict(lambda: [0.0, 0.0])
    for row in rows:
        if row.relative_norm is not None:
            total = squares[row.name.split(" (")[0]]
            total[0] += (row.relative_norm * row.reference_norm) ** 2
            total[1] += row.reference_norm**2
    return {name: math.sqrt(apart / length) for name, (apart, length) in squares.items()}


def _kind(row: Row) -> tuple[str, str]:
    """The name that all rows of a group share, and the rest, such as the block, that identifies this row in it."""
    name = row.name
    if row.section == operations.SECTION:
        operation, gradient, of = name.partition(", gradient of ")
        return (f"{operation}, gradients", of) if gradient else (name, "")
    if row.section == step.STEP and name != step.NORM:
        parameter, _, moment = name.partition(": ")
        return f"{moment or 'parameter'}s", parameter
    if row.section in (comparison.ACCUMULATED, comparison.OWN_STEP):
        return "parameters", name.partition(": ")[0]
    if found := re.fullmatch(r"((?:\w+ )?block \d+), (.+)", name):  # "block 2", "encoder block 2"
        return found[2], found[1]
    return name, ""


def _yardsticks(row: Row) -> float:
    larger = max(row.ours.yardsticks, row.theirs.yardsticks)
    return math.inf if math.isnan(larger) else larger
