"""Every planted fault is called wrong, and first at the place where it was planted."""

import pytest
from planted import FAULTS, Fault, first_wrong

from train.parity import verdict


def test_without_a_fault_every_row_is_rounding(comparison):
    rows = [row for _, section in comparison.sections() for row in section()]
    beyond = {f"{row.section}: {row.name}": row.ours for row in rows if row.verdict not in ("equal", "rounding")}
    assert not beyond
    assert len(rows) > 200


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_wrong_first_where_it_is(fault: Fault, sides, comparison):
    with fault.plant(sides) as faulty:
        faulty_comparison = comparison.against(faulty.ours)
        row = first_wrong(faulty_comparison)
        assert row is not None
        assert (row.section, row.name) == fault.first
        if fault.in_model:
            in_model = verdict.first_wrong(faulty_comparison.activations())
            assert in_model is not None
            assert (in_model.section, in_model.name) == fault.in_model
