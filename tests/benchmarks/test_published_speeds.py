"""The roofline's stated efficiencies are those that the fit finds, and hold on rows that the fit has not seen."""

import statistics
import sys
from pathlib import Path

import pytest

from llm_jax.hardware.speed import Efficiency

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))


def test_stated_efficiencies_are_fitted_and_predict_the_rows_held_out():
    import hardware

    found = hardware.rows()
    efficiency = hardware.fit(found)
    for name, value in efficiency._asdict().items():
        assert getattr(Efficiency(), name) == pytest.approx(value), name
    errors = [hardware.error(row.speed_ratio(efficiency)) for row in found if not row.is_fitted]
    assert len(found) >= 20
    assert statistics.median(errors) <= 0.15
    assert max(errors) <= 0.40
