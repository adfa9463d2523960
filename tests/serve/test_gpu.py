"""`serve gpu`: which accelerator serves a model, and why the others do not."""

import json
from dataclasses import replace

import pytest

from llm_jax.command_line import run as front_door
from llm_jax.config import model_preset
from serve.__main__ import COMMANDS
from serve.gpu.choice import Choice, Refusal, choose
from serve.gpu.config import GpuConfig
from serve.gpu.report import pareto

LLAMA_8B = replace(
    model_preset("llama-1b"), d_model=4096, n_heads=32, head_width=None, n_layers=32, mlp_width=14_336, tied_head=False
)


def answers(config, **asked):
    found = choose(config, GpuConfig(model="x", **asked))
    return {one.accelerator: one for one in found}


def test_a_model_larger_than_a_memory_is_shared_by_the_fewest_devices_that_hold_it():
    found = answers(LLAMA_8B, context=2048, users=4)
    assert found["H100 SXM"].devices == 1
    assert found["A10"].devices == 1
    assert found["V100 SXM2 16GB"].reason == "no tensor units for bfloat16: --dtype float16"
    halved = answers(LLAMA_8B, context=2048, users=4, dtype="float16")
    assert halved["V100 SXM2 16GB"].devices == 2
    alone = answers(LLAMA_8B, context=2048, users=4, dtype="float16", devices=(1,))
    assert alone["V100 SXM2 16GB"].reason.startswith("1 ×: the weights need 16.1 GB of 15.5 GB")


def test_more_users_need_more_cache_and_slow_each_other_down():
    few, many = (answers(LLAMA_8B, context=2048, users=n) for n in (4, 64))
    assert few["H200"].user_tokens_per_second > many["H200"].user_tokens_per_second
    assert few["H200"].tokens_per_second < many["H200"].tokens_per_second
    assert isinstance(answers(LLAMA_8B, context=2048, users=64, devices=(1,))["RTX 3090"], Refusal)


def test_each_wish_that_is_not_met_is_named():
    reasons = {
        "speed": answers(LLAMA_8B, context=2048, users=4, tokens_per_second=1000)["H200"].reason,
        "budget": answers(LLAMA_8B, context=2048, users=4, budget=0.3)["H200"].reason,
        "price": answers(LLAMA_8B, context=2048, users=4, budget=9)["H20"].reason,
        "fp8": answers(LLAMA_8B, context=2048, users=4, dtype="fp8")["A100 SXM 80GB"].reason,
        "heads": answers(replace(LLAMA_8B, n_heads=28, n_kv_heads=4, d_model=3584), context=2048, devices=(8,))[
            "H200"
        ].reason,
    }
    assert "tokens/s for each user; 1000 are asked for" in reasons["speed"]
    assert "an hour is above the budget of $0.30" in reasons["budget"]
    assert reasons["price"] == "no price is known, and --budget is given"
    assert reasons["fp8"] == "no tensor units for fp8"
    assert reasons["heads"] == "28 heads (4 of keys and values) cannot be split by 8"


def test_the_cheapest_token_comes_first_and_costs_what_its_hours_cost():
    found = choose(LLAMA_8B, GpuConfig(model="x", context=2048, users=16))
    choices = [one for one in found if isinstance(one, Choice)]
    dollars = [one.dollars_per_million() for one in choices if one.price]
    assert dollars == sorted(dollars)
    first = choices[0]
    hours = 1e6 / first.tokens_per_second / 3600
    assert first.dollars_per_million() == pytest.approx(hours * first.price.low)
    assert first.kilowatt_hours_per_million == pytest.approx(hours * first.watts / 1000)


def test_waits_at_nine_tenths_of_the_load_are_near_the_roofline():
    one = answers(LLAMA_8B, context=2048, users=16)["H100 SXM"]
    assert one.waits.per_token[0] <= 1.2 / one.user_tokens_per_second
    assert one.waits.per_token[0] <= one.waits.per_token[1] <= one.waits.per_token[2]
    assert one.waits.rows < 16


def test_heads_of_keys_are_split_as_vllm_splits_them():
    """40 heads over 10 of keys and values: 4 and 8 devices would leave some of these on no whole number of devices."""
    phi = replace(LLAMA_8B, d_model=5120, n_heads=40, n_kv_heads=10, mlp_width=17_920, n_layers=40)
    found = answers(phi, context=8192, users=64)
    assert {one.devices for one in found.values() if isinstance(one, Choice)} <= {1, 2}
    assert answers(phi, context=512, users=1, devices=(4,))["H200"].reason == (
        "40 heads (10 of keys and values) cannot be split by 4"
    )


def test_every_accelerator_has_its_own_answer_where_one_cache_is_small():
    """A request of the load may be as long as the context, and no longer."""
    found = answers(replace(LLAMA_8B, context_length=131_072), context=20_000, users=1)
    assert isinstance(found["L4"], Choice)
    assert isinstance(found["H200"], Choice)


def test_the_dearest_attempt_is_not_the_reason():
    found = answers(LLAMA_8B, context=2048, users=4, budget=0.01)
    assert found["A10G"].reason == "1 ×: $1.21 an hour is above the budget of $0.01"
    assert found["A10G"].cure == "a larger --budget"


def test_many_users_wait_as_in_a_server_that_has_filled_up():
    """400 requests of 1,000 users would all find an empty server."""
    one = answers(LLAMA_8B, context=512, users=1000)["B200"]
    assert one.waits.rows > 50
    assert one.waits.tokens_per_second == pytest.approx(0.9 * one.tokens_per_second, rel=0.1)


def test_the_front_has_no_point_that_another_beats():
    assert pareto([(1, 3), (2, 2), (3, 1), (3, 3), (2, 2)]) == [0, 1, 2, 4]


def test_the_command_writes_its_answer_and_says_how_to_start(tmp_path, capsys):
    flags = ["gpu", "llama-1b", "--context", "1024", "--out", str(tmp_path)]
    assert front_door("serve", "", COMMANDS, flags) == 0
    shown = capsys.readouterr().out
    assert "to start it there: python -m serve vllm DIRECTORY -- --max-model-len 1024" in shown
    found = json.loads((tmp_path / "gpu.json").read_text())["found"]
    assert {one["accelerator"] for one in found} >= {"T4", "H200", "MI300X"}
    assert (tmp_path / "gpu.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["nothing"], "nothing: no preset (gpt2-nano"),
        (["gpt2-124m"], "--context 4,096 is more than the 1,024 positions that the model has"),
        (["llama-1b", "--users", "0"], "users must be at least 1; got 0"),
        (["llama-1b", "--context", "100", "--prompt", "90", "--answer", "20"], "must fit the context of 100 tokens"),
        (["llama-1b", "--prices", "nowhere.toml"], "nowhere.toml: no such file of prices"),
    ],
)
def test_a_mistake_gets_one_line(flags, message, capsys):
    try:
        status = front_door("serve", "", COMMANDS, ["gpu", *flags])
    except SystemExit as leaving:  # tyro's own way out
        status = int(leaving.code or 0)
    assert status == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_family_that_is_not_dense_is_refused_by_name(tmp_path, capsys):
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "num_local_experts": 8})
    )
    assert front_door("serve", "", COMMANDS, ["gpu", str(tmp_path)]) == 2
    assert "model_type 'mixtral'" in capsys.readouterr().err
