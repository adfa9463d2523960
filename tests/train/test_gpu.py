"""`train gpu`: which accelerators train a preset, how long, for how much, and why the others do not."""

import json
from dataclasses import replace

import pytest

from llm_jax.command_line import run as front_door
from train.commands import COMMANDS
from train.gpu.choice import Refusal, choose
from train.gpu.config import GpuConfig
from train.pretrain.presets import preset


def answers(name, **asked):
    return {(one.accelerator, one.devices): one for one in choose(preset(name), GpuConfig(preset=name, **asked))}


def test_gpt2_124m_on_eight_h100s_takes_as_long_as_llm_c_needs():
    """llm.c: ten billion tokens in 45 minutes on eight H100s, 90 on eight A100s (karpathy/llm.c, discussion 481)."""
    found = answers("gpt2-124m", tokens=10e9)
    assert 24 * 60 * found["H100 SXM", 8].days == pytest.approx(45, rel=0.25)
    assert 24 * 60 * found["A100 SXM 80GB", 8].days == pytest.approx(90, rel=0.4)


def test_a_model_too_large_for_one_device_is_split_over_the_fewest_that_hold_it():
    found = answers("llama-1b", devices=(1, 8))
    assert isinstance(found["RTX 4090", 1], Refusal)
    assert "24.5 GB needed on each with one sequence at a time" in found["RTX 4090", 1].reason
    assert found["RTX 4090", 8].fsdp == 2
    assert found["RTX 4090", 8].memory < 24e9
    assert found["H100 SXM", 8].fsdp == 1


def test_money_is_hours_times_price_and_time_goes_with_tokens():
    once, twice = (answers("gpt2-124m", tokens=tokens)["H200", 8] for tokens in (1e9, 2e9))
    assert twice.days == pytest.approx(2 * once.days)
    assert once.price.low == pytest.approx(8 * 24 * once.days * 2.5)
    assert once.kilowatt_hours == pytest.approx(8 * 24 * once.days * 0.7)


def test_sending_bounds_many_devices_with_little_work():
    found = answers("gpt2-124m", devices=(8, 512))
    assert found["H200", 512].utilisation < 0.5 * found["H200", 8].utilisation


@pytest.mark.parametrize(
    ("asked", "key", "reason"),
    [
        ({"days": 0.01}, ("T4", 1), "no tensor units for bfloat16"),
        ({"days": 0.01}, ("A10", 1), "1 ×: 1.7 days; 0.01 are allowed"),
        ({"budget": 1}, ("H200", 1), "1 ×: $13 is above the budget of $1"),
        ({"budget": 1}, ("A10", 1), "no price is known, and --budget is given"),
        ({"devices": (7,)}, ("H200", 7), "the batch of 512 sequences cannot be split over 7 devices"),
    ],
)
def test_each_wish_that_is_not_met_is_named(asked, key, reason):
    assert answers("gpt2-124m", **asked)[key].reason == reason


def test_the_command_writes_its_answer_and_says_how_to_start(tmp_path, capsys):
    assert front_door("train", "", COMMANDS, ["gpu", "gpt2-124m", "--out", str(tmp_path / "gpu.json")]) == 0
    shown = capsys.readouterr().out
    assert "to start it there: python -m train submit pretrain gpt2-124m --nodes" in shown
    assert len(json.loads((tmp_path / "gpu.json").read_text())["found"]) > 20


def test_where_none_does_it_the_status_is_1(capsys):
    assert front_door("train", "", COMMANDS, ["gpu", "llama-1b", "--devices", "1", "--days", "1"]) == 1
    assert "none of them does it" in capsys.readouterr().out


def test_a_preset_that_is_unknown_is_named(capsys):
    assert front_door("train", "", COMMANDS, ["gpu", "gpt5"]) == 2
    assert "unknown preset 'gpt5'; one of: gpt2-nano" in capsys.readouterr().err


def test_recomputation_takes_a_third_more_time():
    config = preset("gpt2-124m")
    again = replace(config, execution=replace(config.execution, remat=True))
    plain, remat = (
        next(one for one in choose(c, GpuConfig("x", devices=(1,))) if one.accelerator == "H200")
        for c in (config, again)
    )
    assert remat.days == pytest.approx(plain.days * 4 / 3)
