"""Agreement of the ways to run a model: the arithmetic of the verdict, and the sides that are installed here."""

import dataclasses
import io
import json
import os

import numpy as np
import pytest
from rich.console import Console
from small_models import bytes_tokenizer, opinionated

from llm_jax import hf
from llm_jax.command_line import run as front_door
from llm_jax.config import DecoderConfig
from llm_jax.decode import loop
from llm_jax.decode.options import Sampling
from llm_jax.scoring.hellaswag import Item
from serve.__main__ import COMMANDS
from serve.agreement import report as shown
from serve.agreement.answers import Continuations
from serve.agreement.compare import compare, compare_task
from serve.agreement.jax_models import CachedDecode, FullForward

CONFIG = DecoderConfig(vocab_size=257, context_length=64, d_model=64, n_heads=2, n_layers=2)
PROMPTS = [[5, 6, 7], [8, 9, 10], [1] * 9, [256]]


pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def params():
    return opinionated(CONFIG, 4)


def wrote(tokens, log_probabilities, margins) -> Continuations:
    return Continuations(np.array(tokens), np.array(log_probabilities, float), np.array(margins, float))


ONE = wrote([[1, 2, 3], [4, 5, 6]], [[-1.0, -2.0, -3.0], [-1.0, -1.0, -1.0]], [[1, 1, 1], [1, 1, 1]])


def test_equal_answers_agree():
    pair = compare(("a", "b"), ONE, ONE)
    assert (pair.largest, pair.median, pair.n_equal, pair.n_tokens) == (0, 0, 6, 6)
    assert pair.agrees


def test_a_log_probability_beyond_the_bound_does_not_agree():
    other = wrote(ONE.tokens, ONE.log_probabilities + np.array([[0, 0, 2e-3], [0, 0, 0]]), ONE.margins)
    pair = compare(("a", "b"), ONE, other)
    assert pair.largest == pytest.approx(2e-3)
    assert not pair.agrees
    assert compare(("a", "b"), ONE, other, bound=3e-3).agrees


@pytest.mark.parametrize(("margin", "agrees"), [(5e-4, True), (2e-3, False)])
def test_another_token_is_excused_only_where_a_side_was_undecided(margin, agrees):
    margins = ONE.margins.astype(float)
    margins[0, 1] = margin
    # After the other token the log-probabilities are of another text: they are not compared.
    other = wrote([[1, 9, 3], [4, 5, 6]], [[-1.0, -2.0, -9.0], [-1.0, -1.0, -1.0]], ONE.margins)
    pair = compare(("a", "b"), wrote(ONE.tokens, ONE.log_probabilities, margins), other)
    assert (pair.n_rows_equal, pair.n_excused, pair.n_equal) == (1, int(agrees), 4)
    assert pair.largest == 0
    assert pair.agrees is agrees


def test_sides_that_share_no_token_do_not_agree():
    pair = compare(("a", "b"), ONE, wrote(ONE.tokens + 1, ONE.log_probabilities, ONE.margins * 1e-9))
    assert pair.n_unexcused == 0
    assert not pair.agrees


def test_a_task_agrees_within_one_item_and_the_bound():
    items = [Item("q", ("a", "b"), 0), Item("q", ("a", "b"), 1), Item("q", ("a", "b"), 0)]
    a = np.array([-1.0, -1.0005, -2.0, -1.0, -1.0, -1.0005])
    one_apart, two_apart = a.copy(), a.copy()
    one_apart[1] = two_apart[1] = two_apart[5] = -0.9998
    assert compare_task(("a", "b"), items, a, one_apart).agrees
    pair = compare_task(("a", "b"), items, a, two_apart)
    assert pair.items_apart == 2
    assert not pair.agrees
    assert not compare_task(("a", "b"), items, a, a + 2e-3).agrees


def test_a_table_fits_80_columns_with_no_figure_cut():
    names, one = ("transformers", "vllm http"), np.ones(800)
    pair = compare(names, wrote(ONE.tokens + 1, ONE.log_probabilities, ONE.margins * 1e-9), ONE)
    task = compare_task(names, [Item("q", ("a", "b"), 0)] * 400, -one, -2 * one)
    lines = []
    for table in (shown.continuations([pair] * 2), shown.task([task])):
        console = Console(width=80, file=io.StringIO())
        console.print(table)
        lines += console.file.getvalue().splitlines()
    assert "transformers – vllm http" in lines[-1]
    assert "1.0000 1.0000" in lines[-1]  # of two equally good endings the first is taken, which is right
    assert "differ" in lines[-1]
    assert all("…" not in line and len(line) <= 80 for line in lines)


def test_full_forward_is_greedy_whatever_the_draft(params, plan):
    expected = [loop.generate(params, [prompt], CONFIG, plan, Sampling(temperature=0.0), 10)[0] for prompt in PROMPTS]
    for draft in (None, np.full((4, 10), 3), np.array(expected)):
        found = FullForward(params, CONFIG, plan, draft).answer(PROMPTS, 10, []).continuations
        assert found.tokens.tolist() == expected
    assert len({tuple(row) for row in expected}) == len(PROMPTS)  # else the test would prove little


def test_our_two_sides_agree_and_a_wrong_cache_would_not(params, plan):
    cached = CachedDecode(params, CONFIG, plan).answer(PROMPTS, 10, []).continuations
    full = FullForward(params, CONFIG, plan).answer(PROMPTS, 10, []).continuations
    assert compare(("cached", "full"), cached, full, bound=1e-4).agrees
    np.testing.assert_allclose(cached.margins, full.margins, atol=1e-4)
    # As if every decoding step had read the embedding of the position after its own.
    shifted = params.replace(position_embedding=np.roll(params.position_embedding, -1, axis=0))
    wrong = CachedDecode(shifted, CONFIG, plan).answer(PROMPTS, 10, []).continuations
    assert not compare(("cached", "full"), wrong, full).agrees


@pytest.fixture(scope="module")
def model_dir(params, tmp_path_factory):
    out = tmp_path_factory.mktemp("model") / "hf"
    hf.export(params, CONFIG, bytes_tokenizer(), out, "test")
    return out


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    rows = [
        {"activity_label": "a", "ctx": f"it is {i}", "endings": ["one.", "two, or", "three", "é"], "label": i % 4}
        for i in range(8)
    ]
    path = tmp_path_factory.mktemp("items") / "items.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def agree(*arguments) -> int:
    return front_door("python -m serve", "", COMMANDS, ["agree", *map(str, arguments)])


@pytest.mark.long
@pytest.mark.filterwarnings("default")  # of transformers and PyTorch
def test_transformers_takes_part_and_missing_vllm_is_named(model_dir, items, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("LLM_JAX_VLLM_PYTHON", raising=False)
    monkeypatch.setenv("LLM_JAX_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "agree.json"
    status = agree(model_dir, "--prompts", 4, "--tokens", 4, "--hellaswag", items, "--items", 8, "--out", out)
    said = " ".join(capsys.readouterr().out.split())
    assert status == 0, said
    assert "left out: vllm: there is no vLLM here" in said
    assert "left out: http: there is no vLLM here" in said
    record = json.loads(out.read_text())
    assert record["agrees"] is True
    assert [(pair["a"], pair["b"]) for pair in record["continuations"]] == [
        ("jax cached", "jax full"), ("jax cached", "transformers"), ("jax full", "transformers")
    ]  # fmt: skip
    assert all(0 < pair["largest"] < 1e-4 and pair["n_equal"] == 16 for pair in record["continuations"])
    assert record["hellaswag"][0]["n_items"] == 8


@pytest.mark.filterwarnings("default")
def test_another_model_s_weights_are_found_out(model_dir, params, tmp_path, capsys, monkeypatch):
    """The export is of other parameters than the ones JAX runs: one gain is off by a thousandth."""
    import serve.models

    load_model = serve.models.load_model

    def load_changed(source, step=None, whole=False):
        model = load_model(source, step, whole)
        norm = model.params.norm.replace(gain=model.params.norm.gain * 1.001)
        return dataclasses.replace(model, params=model.params.replace(norm=norm))

    monkeypatch.setattr(serve.models, "load_model", load_changed)
    assert agree(model_dir, "--prompts", 4, "--tokens", 4, "--sides", "transformers") == 1
    assert "not all within 0.001 nats" in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.filterwarnings("default")
def test_a_padded_vocabulary_takes_part_whole(tmp_path, items):
    """Its ids without a token have their share of every probability, here a third, in transformers as well."""
    config = dataclasses.replace(CONFIG, vocab_size=400)
    hf.export(opinionated(config, 4), config, bytes_tokenizer(), tmp_path / "padded", "test")
    flags = ("--prompts", 4, "--tokens", 4, "--hellaswag", items, "--items", 4, "--sides", "transformers")
    assert agree(tmp_path / "padded", *flags) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prompts", "0"], "prompts must be at least 1; got 0"),
        (["--tokens", "64"], "64 new tokens do not fit: the model's context is 64; give --tokens 32"),
        (["--prompt-file", "nowhere.txt"], "file of prompts nowhere.txt does not exist"),
        (["--sides", "vllm", "--python", "/nowhere/python", "--prompts", "2", "--tokens", "2"], "/nowhere/python"),
    ],
)
def test_a_mistake_gets_one_line(model_dir, capsys, arguments, message):
    try:
        status = agree(model_dir, *arguments)
    except SystemExit as leaving:  # tyro's own way out
        status = int(leaving.code or 0)
    assert status == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.vllm
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("default")
def test_five_sides_agree_on_a_real_model(tmp_path, shared_data):
    """On a real quickstart's export (LLM_JAX_SERVED, or one made here): 200 prompts, 32 tokens, 200 HellaSwag items."""
    from train.__main__ import COMMANDS as TRAIN

    model = os.environ.get("LLM_JAX_SERVED")
    if model is None:
        assert front_door("python -m train", "", TRAIN, ["quickstart", "--minutes", "1", "--runs", str(tmp_path)]) == 0
        model = str(tmp_path / "quickstart")
    out, items = tmp_path / "agree.json", shared_data / "hellaswag" / "validation.parquet"
    sides = ("--sides", "transformers", "vllm", "http")
    status = agree(model, "--hellaswag", items, "--out", out, *sides)
    record = json.loads(out.read_text())
    assert status == 0, record
    assert len(record["continuations"]) == 10
    assert len(record["hellaswag"]) == 6
    assert all(pair["n_items"] == 200 and pair["agrees"] for pair in record["hellaswag"])
    assert all(pair["n_tokens"] == 6400 and pair["agrees"] for pair in record["continuations"])
