"""Every planted fault is called wrong, and first at the place where it was planted."""

import dataclasses
from collections.abc import Iterable

import pytest
from forms import forms
from planted import FAULTS, FUSED_ADAMW, WIDE, bfloat16_sums
from planted_llama import LLAMA, LLAMA_FAULTS
from planting import Fault, first_wrong

from llm_jax.config import Execution, RotaryScaling
from train.parity import verdict
from train.parity.comparison import Comparison
from train.parity.stages.models_compared import drawn
from train.parity.verdict import Row


@pytest.fixture(scope="module")
def llamas(comparison) -> Comparison:
    """The same comparison of two Llamas."""
    models = drawn(LLAMA, Execution(dtype="float32", loss_chunks=2), seed=0)
    return dataclasses.replace(comparison, models=models, kept={})


def beyond_rounding(rows: Iterable[Row]) -> dict[str, float]:
    return {
        f"{row.section}: {row.name}": row.ours.yardsticks for row in rows if row.verdict not in ("equal", "rounding")
    }


def test_without_a_fault_every_row_is_rounding(comparison):
    rows = [row for _, section in comparison.sections() for row in section()]
    assert not beyond_rounding(rows)
    assert len(rows) > 200


def test_without_a_fault_every_row_of_a_llama_is_rounding(llamas):
    rows = [row for _, section in llamas.sections() for row in section()]
    assert not beyond_rounding(rows)
    assert len(rows) > 90
    assert {row.name for row in rows} >= {"RMS norm", "SwiGLU", "rotary positions", "block 1, attention.qkv.k.weight"}


# The default run plants one fault of each part: an operation, a weight, the loss, the gradients, the optimizer.
OFTEN = {
    *("missing 1/√H", "square projection transposed", "softmax over the padded vocabulary", "head is not trained"),
    *("accumulation forgets to divide", "ε before Adam's bias correction", "gate and up exchanged"),
    "rotary pairs of neighbours",
}


def often(faults: list[Fault]) -> list:
    return forms(faults, [fault for fault in faults if fault.name in OFTEN])


@pytest.mark.parametrize("fault", often(FAULTS), ids=lambda fault: fault.name)
def test_a_planted_fault_is_wrong_first_where_it_is(fault: Fault, comparison):
    assert_found(fault, comparison)


@pytest.mark.parametrize("fault", often(LLAMA_FAULTS), ids=lambda fault: fault.name)
def test_a_fault_in_a_llama_is_wrong_first_where_it_is(fault: Fault, llamas):
    assert_found(fault, llamas)


def assert_found(fault: Fault, clean: Comparison) -> None:
    with fault.plant(clean.models) as faulty:
        faulty_comparison = clean.against(faulty.ours)
        row = first_wrong(faulty_comparison)
        assert row is not None
        assert (row.section, row.name) == fault.first
        if fault.in_model:
            in_model = verdict.first_wrong(faulty_comparison.activations())
            assert in_model is not None
            assert (in_model.section, in_model.name) == fault.in_model


def test_rotary_positions_from_one_change_nothing_in_the_model(llamas):
    fault = next(fault for fault in LLAMA_FAULTS if fault.in_model is None)
    with fault.plant(llamas.models) as faulty:
        assert not beyond_rounding(llamas.against(faulty.ours).activations())


@pytest.mark.long
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


@pytest.mark.parametrize(
    ("fields", "row"),
    [
        ({"attention_bias": "qkv", "tied_head": False}, "block 1, attention.qkv.k.bias"),
        (
            {"query_key_norm": True, "head_width": 16, "rotary_scaling": RotaryScaling("yarn", 3.0, 16)},
            "block 1, attention.q_norm.gain",
        ),
    ],
    ids=["Qwen2ForCausalLM", "Qwen3ForCausalLM"],
)
def test_one_of_llamas_relatives_agrees_too(request, llamas, fields, row):
    models = drawn(dataclasses.replace(LLAMA, **fields), llamas.models.ours.plan.execution, seed=0)
    assert type(models.theirs).__name__ in request.node.name
    found = dataclasses.replace(llamas, models=models, kept={})
    rows = [*found.activations(), *found.gradients(), *found.given_step()]
    assert {name.name for name in rows} >= {row, f"{row}: first moment"}
    assert not beyond_rounding(rows)
