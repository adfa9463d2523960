"""`python -m train architectures`: every task writes its run, learns what it says, and refuses in one line."""

import json

import numpy as np
import pytest

from llm_jax import command_line
from train.__main__ import COMMANDS
from train.architectures import cloze, recipes, spam
from train.architectures.cloze import Tokens
from train.architectures.config import ArchitecturesConfig
from train.optim.optimizer import learning_rate

LABELLED = "".join(
    f"{'spam' if i % 3 == 0 else 'ham'}\tmessage {i} {'win a prize' if i % 3 == 0 else 'see you'}\n" for i in range(60)
)


def run(*arguments: str) -> int:
    return command_line.run("python -m train", "", COMMANDS, ["architectures", *map(str, arguments)])


def summary_of(folder, name):
    return json.loads((folder / name / "summary.json").read_text())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"task": "g2p"}, "g2p needs --data FILE"),
        ({"task": "spam"}, "spam needs --data FILE"),
        ({"task": "copy", "minutes": 3.0}, "--minutes has no meaning for copy; it is read by compare"),
        ({"task": "compare", "steps": 10}, "--steps has no meaning for compare"),
        ({"task": "copy", "d_model": 40}, "--d-model must be a multiple of 32"),
        ({"task": "copy", "beams": 0}, "--beams must be at least 1; got 0"),
        ({"task": "copy", "dropout": 1.0}, r"--dropout must lie in \[0, 1\)"),
        ({"task": "copy", "alpha": -1.0}, r"--alpha must lie in \[0, 10\]"),
        ({"task": "compare", "minutes": 0.0}, "--minutes must be above 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(given, said):
    with pytest.raises(ValueError, match=said):
        ArchitecturesConfig(**given)


def test_a_file_that_is_not_there_is_named(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match=r"--data .*nowhere.tsv: there is no such file"):
        ArchitecturesConfig("g2p", data=tmp_path / "nowhere.tsv")
    bad = tmp_path / "bad.tsv"
    bad.write_text("one column\n")
    assert run("g2p", "--data", bad, "--runs", tmp_path) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert "line 1: expected `word TAB phonemes`" in error
    assert not (tmp_path / "g2p").exists()


@pytest.mark.parametrize("task", ["copy", "reversal", "g2p", "cloze"])
@pytest.mark.parametrize("steps", [1, 60, None])
def test_however_few_the_steps_the_rate_reaches_its_peak_in_their_first_third(task, steps, tmp_path):
    own = recipes.RECIPES[task]
    recipe = recipes.recipe_of(ArchitecturesConfig(task, data=tmp_path if task == "g2p" else None, steps=steps))
    rates = [
        learning_rate(recipe.schedule, recipe.optimizer.learning_rate, recipe.steps, step)
        for step in range(recipe.steps)
    ]
    if steps != 1:  # one step has no third
        assert max(rates) == pytest.approx(own.optimizer.learning_rate)
        assert rates.index(max(rates)) <= recipe.steps / 3
    assert recipe.optimizer.learning_rate == pytest.approx(own.optimizer.learning_rate)
    assert steps is not None or recipe == own


def test_every_token_that_is_asked_for_is_hidden():
    """Training shows a tenth of the chosen ones as they are; a model that copies these has learnt nothing."""
    windows = np.random.default_rng(0).integers(5, 300, (50, 64))
    seen, is_chosen = cloze.hidden(windows, Tokens(0, 2, 3, mask=4, ordinary=5), 300)
    assert (seen[is_chosen] == 4).all()
    np.testing.assert_array_equal(seen[~is_chosen], windows[~is_chosen])
    assert 0.13 < is_chosen.mean() < 0.17
    assert not cloze.hidden(np.full((2, 64), 3), Tokens(0, 2, 3, mask=4, ordinary=5), 300)[1].any()


@pytest.mark.long
def test_copy_is_learned_without_a_mistake(tmp_path):
    assert run("copy", "--runs", tmp_path) == 0
    assert summary_of(tmp_path, "copy")["word_error_of_test"] == {"greedy": 0, "beam 5": 0}


@pytest.mark.long
def test_words_are_learned_from_a_file_and_unseen_phonemes_counted(tmp_path):
    words = tmp_path / "words.tsv"
    words.write_text("".join(f"{w}\t{' '.join(w.upper())}\n" for w in ("ab", "ba", "aab", "bba", "abba") * 8))
    test = tmp_path / "test.tsv"
    test.write_text("abb\tA B B\nbab\tB A NEW\n")
    assert run("g2p", "--data", words, "--test", test, "--quick", "--runs", tmp_path) == 0
    found = summary_of(tmp_path, "g2p")
    assert found["targets_with_unseen_symbols"] == 1
    assert found["pairs"]["test"] == 2
    assert {path.name for path in (tmp_path / "g2p").iterdir()} >= {"loss.png", "samples.txt", "metrics.jsonl"}


@pytest.mark.long
def test_a_classifier_begins_with_the_encoder_that_masked_words_left(tmp_path):
    assert run("cloze", "--quick", "--runs", tmp_path) == 0
    (tmp_path / "sms.tsv").write_text(LABELLED)
    assert (
        run("spam", "--data", tmp_path / "sms.tsv", "--encoder", tmp_path / "cloze/hf", "--quick", "--runs", tmp_path)
        == 0
    )
    found = summary_of(tmp_path, "spam")
    assert set(found["by_labels"]["8"]) == {"from scratch", "masked words first"}
    assert found["rare_class"] == "spam"


@pytest.mark.long
def test_the_comparison_runs_and_draws(tmp_path):
    assert run("compare", "--quick", "--runs", tmp_path) == 0
    found = summary_of(tmp_path, "compare")
    for task in ("continuation", "cloze", "transduction"):
        assert set(found["results"][task]) == {"encoder", "encoder–decoder", "decoder"}
    assert found["expected"]["cloze"][0] == "encoder"
    assert (tmp_path / "compare/comparison.png").stat().st_size > 10_000
    assert (tmp_path / "compare/samples.txt").read_text().count("\n") == 5


def test_a_text_that_is_there_twice_is_read_once(tmp_path):
    """Otherwise the test would hold texts that were trained on."""
    path = tmp_path / "sms.tsv"
    path.write_text("".join(f"{'spam' if i % 3 else 'ham'}\ttext {i}\n" for i in range(50)) * 3 + "spam\ttext 0\n")
    labels, texts, n_repeated = spam.read(path)
    assert texts == [f"text {i}" for i in range(50)]
    assert labels[0] == "ham"  # the first line counts
    assert n_repeated == 101
