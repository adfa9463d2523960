"""An encoder and an encoder–decoder equal transformers', and every planted fault is called wrong where it is."""

import json

import pytest
from forms import forms
from planted_sequences import BERT, BERT_FAULTS, MARIAN, MARIAN_FAULTS
from planting import Fault, first_wrong

from llm_jax import command_line
from llm_jax.config import Execution
from train.__main__ import COMMANDS
from train.parity.report.values import promises
from train.parity.sequence_comparison import SequenceComparison
from train.parity.stages import masked_model, translation_model

EXECUTION = Execution(dtype="float32")


def comparison_of(models):
    stream = models.ours.stream(3, 12, 0)
    return SequenceComparison(models, stream, steps=4, new_tokens=10)


@pytest.fixture(scope="module")
def berts():
    return comparison_of(masked_model.drawn(BERT, EXECUTION, seed=0))


@pytest.fixture(scope="module")
def marians():
    return comparison_of(translation_model.drawn(MARIAN, EXECUTION, seed=0))


@pytest.fixture
def comparison(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("comparison", ["berts", "marians"], indirect=True)
def test_activations_and_gradients_are_those_of_transformers(comparison):
    rows = [*comparison.activations(), *comparison.gradients()]
    assert not {(row.section, row.name): row.ours.yardsticks for row in rows if row.verdict in ("suspicious", "wrong")}
    assert len(rows) > 40


@pytest.mark.long
@pytest.mark.parametrize("comparison", ["berts", "marians"], indirect=True)
def test_without_a_fault_every_row_is_rounding(comparison):
    rows = [row for _, section in comparison.sections() for row in section()]
    assert not {
        f"{row.section}: {row.name}": row.ours.yardsticks for row in rows if row.verdict in ("suspicious", "wrong")
    }
    made = promises(rows, comparison.side.n_parameters, comparison.side.n_layers, "float32", 6e-4)
    assert [promise.text for promise in made if not promise.held] == []
    decodes = isinstance(comparison.side, translation_model.TranslationSide)
    assert {row.section for row in rows} == {
        *("activations", "gradients", "AdamW step", "AdamW step, own gradients", "loss curve"),
        *(("greedy decoding",) if decodes else ()),
    }


FAULTS = [("berts", fault) for fault in BERT_FAULTS] + [("marians", fault) for fault in MARIAN_FAULTS]
OFTEN = {"padding attended", "mask of the loss shifted", "source mask not applied in cross-attention"}


@pytest.mark.parametrize(
    ("comparison", "fault"),
    forms(FAULTS, [one for one in FAULTS if one[1].name in OFTEN]),
    indirect=["comparison"],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_planted_fault_is_wrong_first_where_it_is(comparison, fault: Fault):
    with fault.plant(comparison.models) as faulty:
        row = first_wrong(comparison.against(faulty.ours))
    assert row is not None
    assert (row.section, row.name) == fault.first


@pytest.mark.long
@pytest.mark.parametrize("preset", ["bert-nano", "marian-nano"])
def test_the_command_compares_both_and_all_promises_hold(preset, tmp_path):
    flags = ["--preset", preset, "--steps", "3", "--length", "16", "--new-tokens", "16", "--out", str(tmp_path)]
    assert command_line.run("python -m train", "", COMMANDS, ["parity", *flags]) == 0
    found = json.loads((tmp_path / "parity.json").read_text())
    assert found["passed"]
    assert found["setup"]["PyTorch's class"] == {"bert": "BertForMaskedLM", "mari": "MarianMTModel"}[preset[:4]]


def test_data_is_refused_for_a_model_that_is_compared_on_drawn_ids(capsys):
    with pytest.raises(SystemExit):
        command_line.run("", "", COMMANDS, ["parity", "--preset", "bert-nano", "--data", "somewhere"])
    assert "leave out --data" in " ".join(capsys.readouterr().err.split())
