"""The arithmetic behind the benchmarks' figures: FLOPs of a step, bytes of collectives, shares of time."""

import sys
from pathlib import Path

import pytest

from llm_jax.config import GPTConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))


def test_flops_of_a_step_at_full_context_are_the_models_own_count():
    from step_sides import Work

    model = GPTConfig()
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
