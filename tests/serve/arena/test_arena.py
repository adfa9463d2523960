"""Properties of ratings, intervals and findings on votes whose truth is known."""

import json
import math

import numpy as np
import pytest

from llm_jax.command_line import run as front_door
from serve.arena import analysis, findings, resampling, strength, style, tables
from serve.arena.config import Settings
from serve.arena.votes import Votes, read
from serve.commands import COMMANDS


def simulated(theta, n, seed=0, left=0.0, ties=0.0, length=0.0, clusters=None):
    """Votes of models with strengths θ; the left side gains `left`, a longer answer `length` for each sd."""
    random = np.random.default_rng(seed)
    k = len(theta)
    i = random.integers(0, k, n)
    j = (i + random.integers(1, k, n)) % k
    sizes = random.uniform(50, 500, (n, 2))
    x = (sizes[:, 0] - sizes[:, 1]) / sizes.sum(1)
    won = random.random(n) < 1 / (1 + np.exp(-(theta[i] - theta[j] + left + length * x / x.std())))
    score = np.where(random.random(n) < ties, 0.5, won)
    group = None if clusters is None else random.integers(0, clusters, n)
    return Votes(tuple(f"m{a}" for a in range(k)), i, j, score, {"length": (sizes[:, 0], sizes[:, 1])}, group)


THETA = np.array([1.0, 0.5, 0.0, -0.5, -1.0])


def fit(votes):
    return strength.fit(tables.tabulate(tables.cells(votes), len(votes.models)).points)


def test_strengths_are_found_again():
    np.testing.assert_allclose(fit(simulated(THETA, 40_000)), THETA, atol=0.06)


def test_at_the_maximum_every_model_is_expected_to_win_what_it_won():
    votes = simulated(THETA, 500, ties=0.2)
    points = tables.tabulate(tables.cells(votes), 5).points
    theta = strength.fit(points)
    expected = ((points + points.T) / (1 + np.exp(theta - theta[:, None]))).sum(1)
    np.testing.assert_allclose(expected, points.sum(1), atol=1e-9)


def test_the_model_with_ties_tells_as_many_ties_as_there_are():
    counts = tables.tabulate(tables.cells(simulated(THETA, 3000, ties=0.3)), 5)
    p, v = strength.fit_with_ties(counts)
    root, total = np.sqrt(np.outer(p, p)), p[:, None] + p
    games = counts.wins + counts.wins.T + counts.ties
    expected = np.triu(games * 2 * v * root / (total + 2 * v * root), 1).sum()
    assert expected == pytest.approx(np.triu(counts.ties, 1).sum(), rel=1e-6)


def test_side_and_length_are_told_from_strength():
    found = style.control(simulated(THETA, 40_000, left=0.3, length=0.25))
    effects = {effect.name: effect for effect in found.effects}
    assert effects["left side"].value == pytest.approx(0.3, abs=0.04)
    assert effects["length"].value == pytest.approx(0.25, abs=0.04)
    assert effects["length"].stderr == pytest.approx(0.011, abs=0.003)
    np.testing.assert_allclose(found.theta, THETA, atol=0.06)


def test_intervals_cover_the_truth_and_are_wider_by_cluster_where_votes_are_copies():
    votes = simulated(THETA, 400)
    copies = Votes(votes.models, *(np.repeat(one, 9) for one in (votes.left, votes.right, votes.score)))
    grouped = Votes(
        *(getattr(copies, name) for name in ("models", "left", "right", "score")), {}, np.repeat(np.arange(400), 9)
    )
    theta = fit(votes)
    width = {}
    for name, one in (("alone", votes), ("copies", copies), ("grouped", grouped)):
        low, high = resampling.interval(resampling.bradley_terry(one, theta, 200), 0.95)
        width[name] = (high - low).mean()
    assert width["copies"] < 0.5 * width["alone"]
    assert width["grouped"] == pytest.approx(width["alone"], rel=0.15)


def test_elo_over_random_orders_has_the_mean_of_single_orders():
    votes = simulated(THETA, 60)
    found = strength.elo_shuffled(votes, 3, seed=5)
    random = np.random.default_rng(5)
    for row in found:
        order = random.permutation(60)
        again = strength.elo(Votes(votes.models, votes.left[order], votes.right[order], votes.score[order]))
        np.testing.assert_allclose(row, again, atol=1e-9)


def test_a_circle_of_three_is_found_and_a_ladder_has_none():
    wins = np.zeros((4, 4))
    wins[0, 1] = wins[1, 2] = wins[2, 0] = 5
    wins[3, 0] = 1
    found = findings.circles(tuple("abcd"), tables.Tables(wins, np.zeros((4, 4))), np.zeros(4))
    assert (found.triples, found.circular) == (1, 1)
    assert found.strongest == [("a", "b", "c", 5)]
    ladder = np.triu(np.ones((4, 4)), 1)
    found = findings.circles(tuple("abcd"), tables.Tables(ladder, np.zeros((4, 4))), np.zeros(4))
    assert (found.triples, found.circular, found.strongest) == (4, 0, [])


def test_votes_needed_have_the_power_that_they_promise():
    n = round(findings.votes_needed(0.4, 0.0))
    random = np.random.default_rng(0)
    won = random.binomial(n, 1 / (1 + math.exp(-0.4)), 20_000)
    assert (np.abs(won - n / 2) > 1.96 * math.sqrt(n) / 2).mean() == pytest.approx(0.8, abs=0.025)
    assert math.isinf(findings.votes_needed(0.0, 0.3))
    assert findings.votes_needed(0.4, 0.4) < findings.votes_needed(0.4, 0.0)  # ties are equal scores: less variance


def test_a_model_that_never_wins_gets_a_finite_rating_and_the_record_says_so():
    votes = Votes(("a", "b", "c"), np.array([0, 0, 1, 0]), np.array([1, 1, 2, 2]), np.array([1.0, 0, 1, 1]))
    record = analysis.analyse(votes, Settings(bootstraps=20, shuffles=3), "x")
    assert not record["finite_maximum"]
    assert record["table"][-1]["model"] == "c"
    assert math.isfinite(record["table"][-1]["scores"]["bradley-terry"])
    json.dumps(record, allow_nan=False)


def won(*pairs):
    """Votes in which the first model of each pair won."""
    models = sorted({model for pair in pairs for model in pair})
    left, right = (np.array([models.index(pair[side]) for pair in pairs]) for side in (0, 1))
    return Votes(tuple(models), left, right, np.ones(len(pairs)))


SETTINGS = Settings(bootstraps=20, shuffles=3)
CYCLE = ["bc", "cb", "cd", "dc", "bd", "db"] * 5


@pytest.mark.parametrize(
    ("pairs", "low", "high"),  # models that are open below and above
    [
        (["ab"], "b", "a"),
        (["ab"] * 5 + ["bc"] * 2, "bc", "ab"),
        (["ab"] * 3 + ["ba"], "", ""),
        (["ab", *CYCLE], "", "a"),
        (["ca", *CYCLE], "a", ""),
        (["ab", "ae", *CYCLE], "e", "ae"),  # e has never met the three
        (["ab", "ea", *CYCLE], "", "ae"),
        (["ab", "de"], "be", "ad"),
        (["ae", "ea", *CYCLE], "", ""),  # two groups, each with finite differences
    ],
)
def test_a_strength_that_the_votes_do_not_bound_has_an_open_interval_and_no_ranks(pairs, low, high):
    record = analysis.analyse(won(*pairs), SETTINGS, "x")
    for row in record["table"]:
        for within in row["intervals"].values():
            ends = [row["model"] in low, row["model"] in high]
            assert [end is None for end in within["rating"]] == ends
            assert (within["rank"] is None) == any(ends)
    assert record["open_models"] == len({*low, *high})
    assert (record["probability_of_order"] is None) == (not record["finite_maximum"])
    json.dumps(record, allow_nan=False)


def test_the_others_are_ranked_with_an_open_model_above_or_below_them():
    with_open = analysis.analyse(won(*["ab"] * 9, *CYCLE), SETTINGS, "x")["table"]
    for row in with_open[1:]:
        low, high = row["intervals"]["0.99"]["rank"]
        assert 1 <= low < high <= 4
    assert {row["intervals"]["0.99"]["rank"][0] for row in with_open[1:]} == {1}


def test_open_ends_agree_with_the_finite_maximum_on_random_tables():
    random = np.random.default_rng(0)
    for _ in range(200):
        points = np.triu(random.random((6, 6)) < 0.4, 1).astype(float)
        points[random.integers(0, 6, 3), random.integers(0, 6, 3)] += 1
        np.fill_diagonal(points, 0)
        if tables.components(points) == 1:
            low, high = tables.open_ends(points)
            assert (low | high).any() == (not tables.has_finite_maximum(points))


def test_one_vote_is_reported_without_certainty(tmp_path, capsys):
    (tmp_path / "v.csv").write_text("left,right,winner\nA,B,left\n")
    assert serve_arena(tmp_path / "v.csv", "--bootstraps", "10", "--out", tmp_path) == 0
    shown = capsys.readouterr().out
    assert "≥ 1340" in shown
    assert "≤ 660" in shown
    assert "1–1" not in shown
    assert "the printed order is right" not in shown
    assert "their intervals are open" in " ".join(shown.split())
    assert "A against B: no finite difference; votes between them: 1" in shown


def serve_arena(*arguments) -> int:
    try:
        return front_door("python -m serve", "", COMMANDS, ["arena", *map(str, arguments)])
    except SystemExit as leaving:
        return int(leaving.code or 0)


BAD = {
    "empty": (b"", "columns"),
    "only a header": (b"left,right,winner\n", "no votes"),
    "other columns": (b"a;b\n1;2\n", "the columns left, right, winner"),
    "another winner": (
        b"left,right,winner\na,b,left\na,b,maybe\n",
        "line 3: the winner is left, right or tie; got 'maybe'",
    ),
    "itself": (b"left,right,winner\na,a,left\n", "a vote is between two models"),
    "a short line": (b"left,right,winner\na,b\n", "line 2 has 2 fields; the header has 3"),
    "twice the same column": (b"left,right,winner,left\na,b,left,c\n", "names 'left' twice"),
    "an open quote": (b'left,right,winner\n"a,b,left\n', "line 2"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(50), "votes.csv"),
    "an empty name": (b"left,right,winner\n,b,left\n", "two models"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_damaged_file_is_named_in_one_line(tmp_path, capsys, case):
    content, message = BAD[case]
    (tmp_path / "votes.csv").write_bytes(content)
    assert serve_arena(tmp_path / "votes.csv", "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "votes.csv" in error
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_file_of_a_million_models_is_refused_before_any_table_is_made(tmp_path, capsys):
    lines = (f"m{2 * i},m{2 * i + 1},left\n" for i in range(500_000))
    (tmp_path / "votes.csv").write_text("left,right,winner\n" + "".join(lines))
    assert serve_arena(tmp_path / "votes.csv", "--out", tmp_path / "out") == 2
    assert "more than 1,000 models" in capsys.readouterr().err


def test_columns_of_lmarena_tabs_and_a_byte_order_mark_are_read(tmp_path):
    from serve.arena.votes import read

    text = (
        "model_a\tmodel_b\twinner\tlength_a\tlength_b\tjudge\nx\ty\tmodel_b\t10\t30\tp\ny\tx\ttie (bothbad)\t5\t6\tq\n"
    )
    (tmp_path / "v.tsv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    votes = read(tmp_path / "v.tsv", "judge")
    assert votes.models == ("x", "y")
    assert votes.score.tolist() == [0.0, 0.5]
    assert [side.tolist() for side in votes.style["length"]] == [[10, 5], [30, 6]]
    assert votes.cluster.tolist() == [0, 1]


def test_the_command_prints_the_table_and_writes_json_and_page(shared_data, tmp_path, capsys):
    flags = ("--bootstraps", "30", "--shuffles", "4", "--out", tmp_path)
    assert serve_arena(shared_data / "votes" / "food.csv", *flags) == 0
    shown = capsys.readouterr().out
    assert "Tacos" in shown.splitlines()[2]
    record = json.loads((tmp_path / "arena.json").read_text())
    assert record["table"][0]["model"] == "Tacos"
    assert "Tacos" in (tmp_path / "arena.html").read_text()


def test_a_model_s_name_can_neither_move_the_cursor_nor_style_the_table(tmp_path, capsys):
    (tmp_path / "v.csv").write_text("left,right,winner\n\x1b[2J[bold]x[/bold],b,left\n\x1b[2J[bold]x[/bold],b,right\n")
    assert serve_arena(tmp_path / "v.csv", "--bootstraps", "10", "--out", tmp_path) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "[bold]x[/bold]" in shown


@pytest.mark.parametrize(
    ("line", "score"),
    [
        ("a,b,left", 1),
        ("b,a,b", None),
        ("b,a,a", None),
        ("A,B,a", 1),
        ("B,A,A", None),
        ("tie,c,tie", None),
        ("c,d,d", 0),
    ],
)
def test_a_winner_that_is_a_models_name_and_a_side_is_refused(line, score, tmp_path):
    """In "b,a,a" the winner may be model a, which stands on the right, or the left side."""
    path = tmp_path / "votes.csv"
    path.write_text(f"left,right,winner\n{line}\n")
    if score is None:
        with pytest.raises(
            ValueError, match=r"line 2: the winner .* is the name of a model and a word for .*: write left"
        ):
            read(path)
    else:
        assert read(path).score.tolist() == [score]
