"""Several devices, several processes, and a start after a kill give the figures of one process, to the last bit."""

import json
import os
import subprocess
import sys

import pytest
from lm_eval.api.instance import Instance
from small_models import bytes_tokenizer, opinionated

from llm_jax import hf
from llm_jax.config import DecoderConfig, Execution
from llm_jax.models import decoder
from serve.evaluation.jax_lm import JaxLM

pytestmark = pytest.mark.filterwarnings("default")  # of the harness and what it imports: not ours to mend

CONFIG = DecoderConfig(vocab_size=257, context_length=128, d_model=32, n_heads=2, n_layers=2)
HELLASWAG = [
    {
        "activity_label": "Baking",
        "ctx": f"How to bake number {i}." + " Mix it well." * (i % 3),
        "endings": [f"He eats {i}.", "sleeps well and long" * (1 + i % 2), "café au lait", "runs"],
        "label": str(i % 4),
    }
    for i in range(30)
]
GSM8K = [{"question": f"What is {i} + 1?", "answer": f"{i} + 1 = {i + 1}\n#### {i + 1}"} for i in range(20)]
PAGES = [{"page": f"{i} " + "One more sentence . " * (3 * i)} for i in range(9)]

KILLED_AT = """
import os, sys
from serve.evaluation.answers.journal import Journal
add, left = Journal.add, [int(sys.argv.pop(1))]
def add_and_die(self, *arguments):
    add(self, *arguments)
    left[0] -= 1
    if not left[0]:
        os._exit(9)
Journal.add = add_and_die
"""
MAIN = """
import sys
from llm_jax.command_line import run
from serve.commands import COMMANDS
sys.exit(run("python -m serve", "", COMMANDS))
"""


def test_every_device_gives_the_same_answers():
    model = JaxLM(opinionated(CONFIG, 4), CONFIG, bytes_tokenizer(), decoder.make_plan(Execution(dtype="float32")))
    assert model.n_devices > 1
    pairs = [(f"question {i}", f" answer {'x' * (i % 4)}") for i in range(6)]
    (unit, *others) = model.units("loglikelihood", pairs)
    assert unit.run(0) == unit.run(1)
    assert sorted(number for one in (unit, *others) for number in one.numbers) == list(range(6))
    asked = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
    answers = model.loglikelihood(asked)
    assert [answers[number] for number in unit.numbers] == unit.run(1)


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """The command line without --out; small batches, so that there are many of them."""
    folder = tmp_path_factory.mktemp("evaluation")
    hf.export(opinionated(CONFIG, 4), CONFIG, bytes_tokenizer(), folder / "hf", "test")
    flags = []
    for task, rows in (("hellaswag", HELLASWAG), ("gsm8k", GSM8K), ("wikitext", PAGES)):
        (folder / f"{task}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        flags += ["--data", f"{task}={folder / task}.jsonl"]
    flags += ["--data", f"gsm8k:train={folder / 'gsm8k'}.jsonl"]
    return ["evaluate", str(folder / "hf"), "--tasks", "hellaswag", "gsm8k", "wikitext", *flags, "--log-choices"]


SMALL_BATCHES = """
from llm_jax.scoring import likelihood
likelihood.BATCH_TOKENS["cpu"] = 512
"""


def start(command, out, code="", arguments=(), **variables):
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "1", "LLM_JAX_CACHE": str(out.parent / "cache")} | variables
    return subprocess.Popen(
        [sys.executable, "-c", SMALL_BATCHES + code + MAIN, *arguments, *command, "--out", str(out)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, status=0):
    output, errors = process.communicate(timeout=240)
    assert process.returncode == status, output + errors
    return output + errors


def figures(out):
    record = json.loads((out / "results.json").read_text())
    for model in record["models"]:
        del model["seconds"]
    choices = {path.name: path.read_text().splitlines()[1:] for path in (out / "choices").iterdir()}
    return record["models"], choices


@pytest.mark.long
def test_two_processes_of_two_devices_and_a_killed_one_give_the_figures_of_one(command, tmp_path):
    finish(start(command, tmp_path / "alone"))
    expected = figures(tmp_path / "alone")
    assert 0 < expected[0][0]["tasks"]["hellaswag"]["acc"]["value"] < 1
    assert not (tmp_path / "alone" / "answers").exists()

    # Before it is killed, the only process of a start has answered a part; then two go on, of two devices each.
    out = tmp_path / "together"
    finish(start(command, out, KILLED_AT, ["5"]), 9)
    lines = (out / "answers" / "0.jsonl").read_text().splitlines()
    assert len(lines) == 6
    two = {"JAX_NUM_PROCESSES": "2", "JAX_NUM_CPU_DEVICES": "2"}
    workers = [start(command, out, JAX_PROCESS_ID=str(number), **two) for number in range(2)]
    for worker in workers:
        finish(worker)
    assert figures(out) == expected
    assert not (out / "answers").exists()

    # Another setting is refused, by its name, while answers are there.
    finish(start(command, tmp_path / "killed", KILLED_AT, ["3"]), 9)
    refusal = finish(start([*command, "--limit", "3"], tmp_path / "killed"), 2)
    assert "limit: there nothing, here 3" in refusal
    assert not (tmp_path / "killed" / "results.json").exists()
    finish(start(command, tmp_path / "killed"))
    assert figures(tmp_path / "killed") == expected
