"""The figures of one comparison, and the rule that turns them into a verdict.

Both models are judged against PyTorch in float64. The norm of each one's error is divided by the *yardstick*: the norm
of the error that rounding to the compared format causes in the same tensor, measured by `train.parity.rounding`. Nobody
has to choose a tolerance for each layer, because the yardstick contains the effects of depth, format and conditioning.

    equal        the two models agree in every bit, and ours is within rounding
    rounding     error ≤ 3 yardsticks: three standard deviations
    suspicious   error ≤ 30 yardsticks: a decimal digit more than rounding explains
    wrong        error > 30 yardsticks, or not a number

The verdict judges our model. If PyTorch's own error exceeds rounding, a note says so. The factors 3 and 30 are
conventions (three sigma, one digit): they are the same in every row, and are never adjusted to a result.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

Verdict = Literal["equal", "rounding", "suspicious", "wrong"]
SEVERITY: tuple[Verdict, ...] = ("equal", "rounding", "suspicious", "wrong")

ROUNDING, SUSPICIOUS = 3.0, 30.0  # yardsticks

UNIT_ROUNDOFF = {"float32": 2.0**-24, "bfloat16": 2.0**-8}  # half the distance from 1 to the next number


@dataclass(frozen=True)
class Error:
    """Distance of one model's tensor from float64."""

    norm: float  # ‖x − reference‖₂
    ulps: float | None  # largest element, in units in the last place of max(|element|, root mean square)
    yardsticks: float  # norm / yardstick


@dataclass(frozen=True)
class Row:
    """One tensor, compared. `largest_relative` and `ulps` are None where the true value is zero up to rounding."""

    section: str
    name: str
    size: int  # elements
    largest_absolute: float  # largest |ours − theirs|
    largest_relative: float | None  # largest |ours − theirs| / max(|element|, root mean square)
    relative_norm: float | None  # ‖ours − theirs‖ / ‖reference‖
    reference_norm: float  # ‖reference‖
    yardstick: float  # ‖x − reference‖ that rounding explains
    ours: Error
    theirs: Error
    verdict: Verdict
    fingerprint: str  # of our numbers, bit for bit
    note: str = ""


def judge(error: Error) -> Verdict:
    """The rule above, for one model's error."""
    if error.yardsticks <= ROUNDING:
        return "rounding"
    return "suspicious" if error.yardsticks <= SUSPICIOUS else "wrong"  # comparisons with NaN are False


def measure(
    section: str,
    name: str,
    ours: np.ndarray,
    theirs: np.ndarray,
    reference: np.ndarray,
    noise: float,
    format: str,
    stored: str,
) -> Row:
    """Compares one tensor.

    Args:
        section: of the report.
        name: of the tensor.
        ours: our numbers.
        theirs: PyTorch's, in the compared format.
        reference: PyTorch's in float64.
        noise: norm of the error that rounding to `format` causes in the tensor.
        format: the compared format.
        stored: the format in which our tensor is stored.

    Raises:
        ValueError: the shapes differ, which is a mistake of the harness and not a difference of numbers.
    """
    if not ours.shape == theirs.shape == reference.shape:
        raise ValueError(f"{section}, {name}: shapes differ: {ours.shape}, {theirs.shape} and {reference.shape}")
    o, t, r = (np.asarray(x, np.float64).ravel() for x in (ours, theirs, reference))
    length = float(np.linalg.norm(r))
    # Storing the result rounds it once more: an error uniform over ± half a unit in the last place.
    yardstick = float(np.hypot(noise, UNIT_ROUNDOFF[stored] * length / np.sqrt(3)))
    is_zero = length <= noise
    scale = np.maximum(np.abs(r), length / np.sqrt(r.size))
    apart = np.abs(o - t)

    def error(x: np.ndarray) -> Error:
        norm = float(np.linalg.norm(x - r))
        ulps = None if is_zero else float(np.max(np.abs(x - r) / _ulp(scale, UNIT_ROUNDOFF[format])))
        return Error(norm, ulps, norm / yardstick if yardstick else (0.0 if norm == 0 else np.inf))

    our_error, their_error = error(o), error(t)
    verdict = judge(our_error)
    return Row(
        section=section,
        name=name,
        size=r.size,
        largest_absolute=float(apart.max()),
        largest_relative=None if is_zero else float(np.max(apart / np.where(scale, scale, 1))),
        relative_norm=None if is_zero else float(np.linalg.norm(o - t)) / length,
        reference_norm=length,
        yardstick=yardstick,
        ours=our_error,
        theirs=their_error,
        verdict="equal" if verdict == "rounding" and not apart.any() else verdict,
        fingerprint=fingerprint(ours),
        note="; ".join(filter(None, ["true value 0: judged by its absolute size" * is_zero, note_on(their_error)])),
    )


def note_on(theirs: Error) -> str:
    """A remark if PyTorch's own error exceeds rounding, else nothing."""
    verdict = judge(theirs)
    return "" if verdict == "rounding" else f"PyTorch's own error is {verdict}"


def fingerprint(numbers: np.ndarray | bytes) -> str:
    """The first sixteen hexadecimal digits of the SHA-256 of an array's bytes: equal for arrays equal in every bit."""
    data = numbers if isinstance(numbers, bytes) else np.ascontiguousarray(numbers).tobytes()
    return hashlib.sha256(data).hexdigest()[:16]


def first_wrong(rows: list[Row]) -> Row | None:
    """The first wrong row. Rows are in the order of the computation, so it names where the implementations differ."""
    return next((row for row in rows if row.verdict == "wrong"), None)


def _ulp(size: np.ndarray, roundoff: float) -> np.ndarray:
    """Distance between neighbouring numbers of a format at `size`."""
    return np.spacing(size.astype(np.float32)) * (roundoff / UNIT_ROUNDOFF["float32"])
