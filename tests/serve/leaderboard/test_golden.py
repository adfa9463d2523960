"""Nine real models on HellaSwag (arXiv 2504.07825): figures recomputed elsewhere from the same files.

The golden numbers stand in `shared/references/evaluation-and-hardware.md`, section A; the files score the whole text.
"""

import itertools

import numpy as np
import pytest
from scipy.stats import norm

from llm_jax.scoring.choices import reading, rules
from serve.leaderboard import answers, errors, resampling
from serve.leaderboard.boards import Board, Key, flips
from serve.leaderboard.subsets import groups, subsets

ACCURACIES = {  # full prompt, zero prompt
    "OLMo-2-0325-32B-Instruct": (0.8700, 0.6570),
    "qwen-2.5-32b-instruct": (0.8360, 0.6127),
    "HuggingFaceTB/SmolLM2-1.7B": (0.6930, 0.5140),
    "Qwen/Qwen2.5-1.5B": (0.6586, 0.4825),
    "ibm-granite/granite-3.1-1b-a400m-base": (0.6238, 0.4748),
    "meta-llama/Llama-3.2-1B": (0.6215, 0.4692),
    "google/gemma-3-1b-pt": (0.5909, 0.4454),
    "EleutherAI/pythia-1b": (0.4529, 0.3710),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": (0.4240, 0.3247),
}
OLMO, QWEN_32B, SMOL, QWEN, GRANITE, LLAMA, GEMMA, *_ = ACCURACIES


@pytest.fixture(scope="module")
def entries(shared_data):
    """(model, prompt) → choices."""
    folder = shared_data / "hellaswag"
    files = sorted(map(str, (folder / "choice-logprobs").glob("*/*.csv.gz")))
    read = reading.read_all(files, folder / "validation.parquet")
    assert len(read) == 18  # Llama's three files of the full prompt are joined
    return {(one.model, one.prompt): one for one in read}


def right(entries, model, prompt="full_prompt", rule="token"):
    found = rules.values(entries[model, prompt], rule)
    assert not isinstance(found, rules.Lacking)
    return found


@pytest.fixture(scope="module")
def table(entries):
    """Right or wrong, in the order of ACCURACIES, under both prompts."""
    return {
        prompt: np.stack([right(entries, model, prompt) for model in ACCURACIES])
        for prompt in ("full_prompt", "zero_prompt")
    }


def board(table, prompt="full_prompt", places=slice(None), subset="all"):
    return Board(Key(prompt, "token", subset), tuple(ACCURACIES), table[prompt][:, places], None, np.zeros((1, 9)))


def test_accuracies(table):
    for column, prompt in enumerate(("full_prompt", "zero_prompt")):
        expected = [pair[column] for pair in ACCURACIES.values()]
        np.testing.assert_allclose(table[prompt].mean(1), expected, atol=6e-5)


def test_rules_of_llama(entries):
    assert right(entries, LLAMA, rule="sum").mean() == pytest.approx(0.4698, abs=6e-5)
    assert right(entries, LLAMA, rule="byte").mean() == pytest.approx(0.6232, abs=6e-5)


def test_granite_against_llama_is_noise_and_olmo_against_qwen_is_not(entries):
    group = groups(list(entries.values()))
    close = errors.paired(right(entries, GRANITE), right(entries, LLAMA), group, True)
    assert close.difference == pytest.approx(0.0023, abs=5e-5)
    assert (close.stderr, close.unpaired) == pytest.approx((0.0039, 0.0068), abs=5e-5)
    assert (close.only_first, close.only_second) == (783, 760)
    assert close.z == pytest.approx(0.59, abs=0.005)
    assert close.items_for_this == pytest.approx(230_000, rel=0.005)
    far = errors.paired(right(entries, OLMO), right(entries, QWEN_32B), group, True)
    assert (far.difference, far.stderr) == pytest.approx((0.0341, 0.0026), abs=5e-5)
    assert (far.only_first, far.only_second) == (517, 175)
    assert far.z == pytest.approx(13.0, abs=0.05)


def test_activities_widen_llama_s_error(entries):
    values, group = right(entries, LLAMA), groups(list(entries.values()))
    assert group.max() + 1 == 192
    assert errors.plain(values) == pytest.approx(0.0048, abs=5e-5)
    assert errors.clustered(values, group) == pytest.approx(0.0129, abs=5e-5)


def test_no_pair_flips_between_prompts_and_some_do_on_the_first_200_items(table):
    between = flips(board(table), board(table, "zero_prompt"))
    assert (len(between["flipped"]), between["pairs"]) == (0, 36)
    first = board(table, places=slice(200), subset="first 200")
    found = flips(board(table), first)["flipped"]
    assert [QWEN, SMOL] in found
    assert [LLAMA, GRANITE] in found
    assert [GEMMA, GRANITE] in found
    figures = dict(zip(first.models, first.values_MN.mean(1), strict=True))
    assert [figures[m] for m in (QWEN, SMOL, LLAMA, GEMMA, GRANITE)] == pytest.approx([0.56, 0.535, 0.505, 0.505, 0.5])


@pytest.mark.parametrize(("n", "expected", "replicates"), [(100, 0.09, 3000), (200, 0.22, 2000), (1000, 0.55, 800)])
def test_a_smaller_test_seldom_finds_the_order(table, n, expected, replicates):
    drawn = resampling.means(table["full_prompt"], replicates, 0, n=n)
    assert resampling.probability_of_order(drawn, range(9)) == pytest.approx(expected, abs=0.05)


def test_all_items_find_the_order_in_seven_of_ten_draws(table):
    drawn = resampling.means(table["full_prompt"], 400, 0)
    assert resampling.probability_of_order(drawn, range(9)) == pytest.approx(0.70, abs=0.07)
    ranges = resampling.rank_interval(resampling.ranks(drawn), 0.95)
    assert ranges == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 6), (5, 6), (7, 7), (8, 8), (9, 9)]


def test_the_closest_pair_alone_decides_how_often_all_items_find_the_order(table):
    """Its counts give the probability without a bootstrap: .717, between ties as wrong and as right."""
    values = table["full_prompt"]
    pairs = [(int((a > b).sum()), int((b > a).sum())) for a, b in itertools.pairwise(values)]
    assert pairs[4] == (783, 760)
    strictly, with_ties = (
        [norm.sf((edge - (won - lost)) / np.sqrt(won + lost - (won - lost) ** 2 / 10042)) for won, lost in pairs]
        for edge in (0.5, -0.5)
    )
    assert (strictly[4], with_ties[4]) == pytest.approx((0.717, 0.725), abs=6e-4)
    assert sum(1 - p for number, p in enumerate(strictly) if number != 4) < 0.002
    drawn = resampling.means(values, 400, 1)
    # Three standard errors of 400 draws.
    assert resampling.probability_of_order(drawn, range(9)) == pytest.approx(strictly[4], abs=3 * 0.0225)


def test_items_for_a_point_between_neighbours(table):
    neighbours = list(itertools.pairwise(table["full_prompt"]))
    paired = [errors.items_needed(a - b, 0.01) for a, b in neighbours]
    unpaired = [errors.items_needed(a, 0.01) + errors.items_needed(b, 0.01) for a, b in neighbours]
    assert (min(paired) / 1000, max(paired) / 1000) == pytest.approx((5.3, 15.0), abs=0.1)
    assert (min(unpaired) / 1000, max(unpaired) / 1000) == pytest.approx((20, 39), abs=0.6)


def test_contexts_that_begin_with_how_are_easier(entries):
    parts = subsets(list(entries.values()))
    values = right(entries, OLMO)
    how, other = parts["context: How …"], parts["context: other"]
    assert len(how) / len(values) == pytest.approx(0.68, abs=0.005)
    assert (values[how].mean(), values[other].mean()) == pytest.approx((0.929, 0.747), abs=6e-4)


@pytest.mark.parametrize(
    ("rule", "confidence", "ece"), [("token", 0.317, 0.305), ("sum", 0.964, 0.494), ("byte", 0.265, 0.358)]
)
def test_calibration_of_llama(entries, rule, confidence, ece):
    one = entries[LLAMA, "full_prompt"]
    found = answers.calibration(rules.scores(one, rule), one.gold)
    assert (found["confidence"], found["ece"]) == pytest.approx((confidence, ece), abs=6e-4)


def test_positions_and_lengths_give_nothing_away(entries):
    found = answers.positions(entries[LLAMA, "full_prompt"])
    assert found["right"] == pytest.approx([0.250, 0.247, 0.257, 0.245], abs=6e-4)
    assert (found["longest"], found["shortest"]) == pytest.approx((0.241, 0.253), abs=6e-4)
