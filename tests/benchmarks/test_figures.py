"""The arithmetic behind the figures (FLOPs of a step, bytes of collectives, shares of time), and their files."""

import json
import os
import sys
from importlib import import_module
from pathlib import Path

import pytest

from llm_jax.config import DecoderConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))


def test_flops_of_a_step_at_full_context_are_the_models_own_count():
    from step_sides import Work

    model = DecoderConfig()
    for convention in ("nanogpt", "llm.c"):
        work = Work(model, batch=3, length=1024)
        assert work.flops(convention) == 3 * 1024 * model.flops_per_token(convention)
    shorter = Work(model, batch=3, length=64).flops("nanogpt") / (3 * 64)
    assert shorter == model.flops_per_token("nanogpt") - 12 * 12 * 768 * (1024 - 64)


def test_collectives_are_counted_as_a_ring_sends_them():
    from communication import bytes_sent

    program = """
  %all-reduce.1 = (f32[10]{0}, /*index=1*/f32[5,2]{1,0}) all-reduce(%a, %b), replica_groups=[1,8]<=[8], to_apply=%add
  %all-gather.2 = f32[16]{0} all-gather(%c), replica_groups={{0,1},{2,3}}, dimensions={0}
  %reduce-scatter.3 = bf16[4]{0} reduce-scatter(%d), replica_groups=[2,4]<=[8], dimensions={0}
  %fusion.4 = f32[1000]{0} fusion(%all-reduce.1), kind=kLoop
"""
    assert bytes_sent(program) == {
        "all-reduce": pytest.approx(2 * 7 / 8 * 80),
        "all-gather": 1 / 2 * 64,
        "reduce-scatter": 3 / 4 * 8 * 4,
    }


def test_an_instant_is_shared_among_the_operations_that_run_then():
    from operations import share_out

    second = 10**9
    events = [(0, 2 * second, "a"), (second, 3 * second, "b"), (5 * second, 6 * second, "b")]
    assert share_out(events, {"a": "A", "b": "B"}, set()) == {"A": pytest.approx(1.5), "B": pytest.approx(2.5)}
    handed_over = share_out(events, {"a": "A", "b": "B"}, {"a"})  # and still at work, from 3 to 5
    assert handed_over == {"A": pytest.approx(1.5), "B": pytest.approx(2.5), "A, by Eigen's threads": pytest.approx(2)}


@pytest.mark.parametrize("benchmark", ["measuring", "digits", "makemore"])
def test_results_replace_the_older_file_at_once(benchmark, tmp_path):
    module, out = import_module(benchmark), tmp_path / "results" / "figures.json"
    write = {
        "measuring": lambda: module.save(out, {"figure": 1}),
        "digits": lambda: module.write(out, "embedded", {"figure": 1}),
        "makemore": lambda: module.write(out, {module.TARGETS[0].name: {"figure": 1}}),
    }[benchmark]
    write()
    older = out.read_text()
    with out.open() as reader:
        write()
        assert reader.read() == older == out.read_text()
        assert not os.path.samestat(os.fstat(reader.fileno()), out.stat())
    assert '"figure": 1' in older
    assert [path.name for path in out.parent.iterdir()] == ["figures.json"]


def test_digits_of_every_folder_are_filed_under_its_name(tmp_path, monkeypatch):
    import digits

    from train.first_principles.digits import data as digits_data

    monkeypatch.setattr(digits, "validated", lambda *_: (0.5, 1))
    monkeypatch.setattr(digits, "accuracy", lambda *_: 0.5)
    out = tmp_path / "figures.json"
    for data in ("embedded", str(digits_data.EMBEDDED)):
        digits.main(digits.Options(data=data, out=out))
    assert set(json.loads(out.read_text())) == {"machine", "embedded", digits_data.EMBEDDED.name}


def test_a_name_that_no_row_of_makemore_has_is_refused():
    import makemore

    assert makemore.Options(only=("gram", "MLP"))
    with pytest.raises(ValueError, match="no row has 'bigrma' in its name; rows are bigram, counted; trigram"):
        makemore.Options(only=("MLP", "bigrma"))
