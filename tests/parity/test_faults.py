"""Every planted fault is called wrong, and first at the place where it was planted."""

import dataclasses

import pytest
from planted import FAULTS, FUSED_ADAMW, WIDE, Fault, bfloat16_sums, first_wrong

from llm_jax.config import Execution
from train.parity import verdict
from train.parity.comparison import Comparison
from train.parity.stages.models_compared import drawn


def test_without_a_fault_every_row_is_rounding(comparison):
    rows = [row for _, section in comparison.sections() for row in section()]
    beyond = {f"{row.section}: {row.name}": row.ours for row in rows if row.verdict not in ("equal", "rounding")}
    assert not beyond
    assert len(rows) > 200


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_wrong_first_where_it_is(fault: Fault, models, comparison):
    with fault.plant(models) as faulty:
        faulty_comparison = comparison.against(faulty.ours)
        row = first_wrong(faulty_comparison)
        assert row is not None
        assert (row.section, row.name) == fault.first
        if fault.in_model:
            in_model = verdict.first_wrong(faulty_comparison.activations())
            assert in_model is not None
            assert (in_model.section, in_model.name) == fault.in_model


def test_sums_in_bfloat16_are_suspicious_from_the_first_product_on(comparison):
    models = drawn(WIDE, Execution(dtype="bfloat16", loss_chunks=2), seed=0)
    wide = Comparison(models, comparison.stream)
    assert not [row for row in wide.operations() if row.verdict not in ("equal", "rounding")]
    with bfloat16_sums(models) as faulty:
        row = first_wrong(wide.against(faulty.ours), least="suspicious")
    assert row is not None
    assert (row.section, row.name) == ("operations", "attention")


def test_pytorchs_fused_adamw_differs_by_rounding_only(models, comparison):
    with FUSED_ADAMW(models):
        rows = comparison.given_step()
    assert {row.verdict for row in rows} == {"equal", "rounding"}


def test_one_of_gpt2s_relatives_agrees_too(comparison):
    """Another activation and width, scores by layer, and a head of its own, all named in rows of their own."""
    fields = {"activation": "gelu", "mlp_width": 48, "scale_scores_by_layer": True, "tied_head": False}
    models = drawn(dataclasses.replace(WIDE, d_model=32, **fields), Execution(dtype="float32", loss_chunks=2), seed=0)
    found = Comparison(models, comparison.stream)
    rows = [*found.operations(), *found.activations(), *found.gradients(), *found.given_step()]
    assert {row.name for row in rows} >= {"gelu", "head", "head: first moment"}
    assert {row.verdict for row in rows} == {"equal", "rounding"}
