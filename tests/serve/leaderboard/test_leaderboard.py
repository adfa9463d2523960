"""Rules, errors, bootstrap and noise on choices whose figures are known."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from llm_jax.command_line import run as front_door
from llm_jax.scoring.choices import ours, rules
from llm_jax.scoring.choices.values import Choices
from serve.commands import COMMANDS
from serve.leaderboard import analysis, answers, errors, noise, resampling
from serve.leaderboard.config import Settings


def choices(model="m", n=60, seed=0, skill=1.0, task="quiz", prompt="", **changes):
    """Four answers an item; the right one gets `skill` nats more."""
    random = np.random.default_rng(seed)
    gold = np.random.default_rng(99).integers(0, 4, n)
    sums = -random.uniform(5, 15, (n, 4)) - 5
    sums[np.arange(n), gold] += skill
    columns = {
        "sum": sums,
        "tokens": random.integers(1, 9, (n, 4)).astype(float),
        "characters": random.integers(5, 40, (n, 4)).astype(float),
        "bytes": random.integers(5, 50, (n, 4)).astype(float),
        "unconditional": -random.uniform(5, 25, (n, 4)),
    }
    fields = {
        "model": model,
        "task": task,
        "prompt": prompt,
        "source": f"{model}.jsonl",
        "items": tuple(map(str, range(n))),
        "gold": gold,
        "columns": columns,
        "group": tuple(f"g{i // 6}" for i in range(n)),
    }
    return Choices(**(fields | changes))


TWO = Choices(
    "m",
    "t",
    "",
    "f",
    ("x", "y"),
    np.array([0, 2]),
    {
        "sum": np.array([[-4.0, -3.0, np.nan], [-9.0, -8.0, -6.0]]),
        "tokens": np.array([[4.0, 1.0, np.nan], [1, 2, 3]]),
        "characters": np.array([[8.0, 2.0, np.nan], [9, 9, 1]]),
        "bytes": np.array([[8.0, 2.0, np.nan], [9, 9, 2]]),
        "unconditional": np.array([[-9.0, -3.0, np.nan], [-9, -8, -7]]),
    },
)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("sum", [0, 1]),
        ("token", [1, 1]),
        ("character", [1, 0]),
        ("byte", [1, 0]),
        ("pmi", [1, 1]),
        ("p(gold)", [1 / (1 + math.e), 1 / (1 + math.exp(-2) + math.exp(-3))]),
        ("bits per byte", [4 / 8 / math.log(2), 6 / 2 / math.log(2)]),
        ("chance-corrected", [(1 - 1 / 2) / (1 / 2), (0 - 1 / 3) / (2 / 3)]),
    ],
)
def test_each_rule_on_two_items_worked_out_by_hand(rule, expected):
    assert rules.values(TWO, rule).tolist() == pytest.approx(expected)


def test_a_rule_says_what_a_file_lacks():
    bare = Choices("m", "t", "", "f", ("x",), np.array([0]), {"sum": np.array([[-1.0, -2.0]])})
    assert rules.values(bare, "sum").tolist() == [1.0]
    lacking = {
        rule: rules.values(bare, rule) for rule in ("token", "character", "byte", "pmi", "letter", "bits per byte")
    }
    assert {rule: found.missing for rule, found in lacking.items()} == {
        "token": "tokens",
        "character": "characters",
        "byte": "bytes",
        "pmi": "unconditional",
        "letter": "answers as letters",
        "bits per byte": "bytes",
    }


def test_letters_are_scored_by_the_letter_rule_alone():
    letters = choices(is_letters=True)
    assert not isinstance(rules.values(letters, "letter"), rules.Lacking)
    assert rules.values(letters, "sum") == rules.Lacking("answers as text")


def test_errors_by_group_equal_the_error_of_group_sums_and_the_plain_one_for_groups_of_one():
    values = np.random.default_rng(0).normal(size=40)
    alone = errors.clustered(values, np.arange(40))
    assert alone == pytest.approx(values.std() / math.sqrt(40))
    doubled = errors.clustered(np.repeat(values, 2), np.repeat(np.arange(40), 2))
    assert doubled == pytest.approx(alone)  # the same answers twice are no news


def test_items_needed_have_the_power_that_they_promise():
    random = np.random.default_rng(0)
    difference = random.choice([-1.0, 0, 0, 0, 1, 1], 2000)
    n = round(errors.items_needed(difference, difference.mean()))
    drawn = random.choice(difference, (4000, n))
    z = drawn.mean(1) / (drawn.std(1, ddof=1) / math.sqrt(n))
    assert (z > 1.96).mean() == pytest.approx(0.8, abs=0.03)


def test_paired_tests_turn_their_sign_with_the_models():
    a, b = (rules.values(choices(seed=seed), "sum") for seed in (1, 2))
    one, other = errors.paired(a, b, None, True), errors.paired(b, a, None, True)
    assert (one.z, one.only_first) == (-other.z, other.only_second)
    assert one.p_value == other.p_value == stats.binomtest(one.only_first, one.only_first + one.only_second).pvalue


def test_the_bootstrap_has_the_standard_error_of_the_mean_and_that_by_group():
    values = np.random.default_rng(1).normal(size=(2, 300))
    group = np.arange(300) // 10
    values[1] = np.repeat(values[1, ::10], 10)
    drawn = resampling.means(values, 2000, 0)
    assert drawn.std(0) == pytest.approx([errors.plain(row) for row in values], rel=0.06)
    by_group = resampling.means(values, 2000, 0, group)
    assert by_group[:, 1].std() == pytest.approx(errors.clustered(values[1], group), rel=0.06)
    smaller = resampling.means(values, 4000, 0, n=30)
    assert smaller[:, 0].std() == pytest.approx(values[0].std() / math.sqrt(30), rel=0.06)


def test_an_order_with_equal_models_is_not_found():
    drawn = np.array([[0.5, 0.4], [0.5, 0.5], [0.4, 0.5]])
    assert resampling.probability_of_order(drawn, [0, 1]) == pytest.approx(1 / 3)
    assert resampling.probability_of_order(drawn, [0, 1], lower_is_better=True) == pytest.approx(1 / 3)
    assert resampling.ranks(drawn).tolist() == [[1, 2], [1, 1], [2, 1]]


def test_the_best_of_27_equal_variants_gains_what_a_simulation_gains():
    best = np.random.default_rng(0).binomial(200, 0.6, (20_000, 27)).max(1).mean() / 200
    assert noise.best_of(0.6, 200, 27) == pytest.approx(best, abs=0.001)
    assert noise.best_of(0.6, 200, 1) == pytest.approx(0.6)


def test_a_model_that_says_what_it_knows_is_calibrated():
    random = np.random.default_rng(0)
    shares = random.dirichlet(np.ones(4), 20_000)
    gold = (shares.cumsum(1) < random.random((20_000, 1))).sum(1)
    assert answers.calibration(np.log(shares), gold)["ece"] < 0.01
    assert answers.calibration(5 * np.log(shares), gold)["ece"] > 0.2


def serve_leaderboard(*arguments) -> int:
    try:
        return front_door("python -m serve", "", COMMANDS, ["leaderboard", *map(str, arguments)])
    except SystemExit as leaving:
        return int(leaving.code or 0)


def write(path, one):
    items = [
        {"item": item, "gold": int(one.gold[i]), "group": one.group[i]}
        | {name: table[i].tolist() for name, table in one.columns.items()}
        for i, item in enumerate(one.items)
    ]
    ours.write(path, {"model": one.model, "task": one.task, "prompt": one.prompt}, items)
    return path


def test_the_command_writes_every_rule_prompt_and_subset_and_the_page_holds_the_same(tmp_path, capsys):
    files = [
        write(tmp_path / f"{model}{prompt}.jsonl", choices(model, seed=seed, skill=skill, prompt=prompt))
        for seed, (model, skill) in enumerate([("good", 6.0), ("bad", 0.0)])
        for prompt in ("0-shot", "5-shot")
    ]
    assert serve_leaderboard(*files, "--bootstraps", "50", "--out", tmp_path / "out") == 0
    assert "good" in capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    (task,) = record["tasks"]
    assert task["prompts"] == ["0-shot", "5-shot"]
    assert set(task["rules"]) == set(rules.RULES) - {"letter"}
    assert {board["rows"][0]["model"] for board in task["boards"] if board["rule"] == "sum"} == {"good"}
    by_rule = {board["rule"]: board for board in task["boards"]}
    assert by_rule["bits per byte"]["lower_is_better"]
    assert [row["model"] for row in by_rule["bits per byte"]["rows"]] == ["good", "bad"]
    assert '"format":1' in (tmp_path / "out" / "leaderboard.html").read_text()


def test_letters_and_text_of_one_model_are_two_rows_where_both_have_the_rule():
    (task,) = analysis.analyse([choices(), choices(is_letters=True, seed=3)], Settings(bootstraps=10))["tasks"]
    by_rule = {board["rule"]: [row["model"] for row in board["rows"]] for board in task["boards"]}
    assert sorted(by_rule["p(gold)"]) == ["m", "m (answers as letters)"]
    assert by_rule["letter"] == by_rule["sum"] == ["m"]


def test_models_that_tie_and_a_single_model_are_no_error():
    same = [choices("a"), choices("b")]
    (task,) = analysis.analyse(same, Settings(bootstraps=10))["tasks"]
    pair = task["pairs"][0]["pairs"][0]
    assert (pair["z"], pair["p_value"], pair["items_for_this"]) == (0.0, 1.0, None)
    assert [row["rank"] for row in task["boards"][0]["rows"]] == [1, 1]
    (alone,) = analysis.analyse(same[:1], Settings(bootstraps=10))["tasks"]
    assert alone["pairs"][0]["pairs"] == []


def test_other_items_are_refused_and_compared_on_request():
    short = choices("b", n=40)
    with pytest.raises(ValueError, match=r"b\.jsonl has 40 items of quiz and m\.jsonl has 60, of which 20 are not in"):
        analysis.analyse([choices(), short], Settings(bootstraps=10))
    (task,) = analysis.analyse([choices(), short], Settings(bootstraps=10, common_items=True))["tasks"]
    assert task["items"] == 40
    other = choices("b", gold=(choices().gold + 1) % 4)
    with pytest.raises(ValueError, match="other right answers for item 0"):
        analysis.analyse([choices(), other], Settings(bootstraps=10))


def test_a_rule_that_no_file_has_is_named_with_what_it_needs(tmp_path, capsys):
    bare = choices(columns={"sum": choices().columns["sum"]})
    path = write(tmp_path / "a.jsonl", bare)
    assert serve_leaderboard(path, "--rule", "token", "--bootstraps", "10", "--out", tmp_path / "out") == 2
    assert "for token, m lacks tokens. It has rules: sum" in " ".join(capsys.readouterr().err.split())
