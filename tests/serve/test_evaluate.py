"""Evaluation with the real lm-evaluation-harness: our decoder against transformers, files in place of downloads."""

import json
import socket
import threading
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import numpy as np
import pytest
from small_models import bytes_tokenizer, opinionated

from llm_jax import hf
from llm_jax.command_line import run as front_door
from llm_jax.config import DecoderConfig
from llm_jax.scoring import hellaswag
from llm_jax.scoring.choices import reading, rules
from llm_jax.scoring.likelihood import scorer
from serve.__main__ import COMMANDS

pytestmark = [
    pytest.mark.filterwarnings("default"),  # of the harness and what it imports: not ours to mend
    pytest.mark.usefixtures("one_torch_thread"),
]

HELLASWAG = [
    {
        "ind": i,
        "activity_label": "Baking",
        "ctx_a": f"How to bake number {i}. [header] Mix [title] it.",
        "ctx_b": "then he",
        "ctx": f"How to bake number {i}. [header] Mix [title] it. then he",
        "endings": [f"eats {i}.", "sleeps well and long", "café au lait [step] now", "runs"],
        "label": str(i % 4),
    }
    for i in range(12)
]
ARC = [
    {
        "id": str(i),
        "question": f"What is {i} + 1?",
        "choices": {"text": [str(i), str(i + 1), "many"], "label": ["A", "B", "C"]},
        "answerKey": "B",
    }
    for i in range(5)
]
PIQA = [
    {"goal": f"open jar {i}", "sol1": "twist the lid", "sol2": "eat the lid, then sing", "label": i % 2}
    for i in range(5)
]
LAMBADA = [{"text": f"The {i} cats sat on the mat, and the mat was under the cats"} for i in range(5)]
PAGES = [{"page": " = A title = \n A page , of @-@ words . " + "One more sentence . " * 20}, {"page": "short"}]
ROWS = {"hellaswag": HELLASWAG, "arc_easy": ARC, "piqa": PIQA, "lambada_openai": LAMBADA, "wikitext": PAGES}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    """A tiny model whose token is a byte, exported; large weights, so that it has opinions."""
    config = DecoderConfig(vocab_size=257, context_length=128, d_model=32, n_heads=2, n_layers=2)
    out = tmp_path_factory.mktemp("model") / "hf"
    hf.export(opinionated(config, 4), config, bytes_tokenizer(), out, "test")
    return out


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A JSONL file for every task."""
    folder = tmp_path_factory.mktemp("rows")
    for task, rows in ROWS.items():
        (folder / f"{task}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {task: folder / f"{task}.jsonl" for task in ROWS}


def evaluate(*arguments) -> int:
    try:
        return front_door("python -m serve", "", COMMANDS, ["evaluate", *map(str, arguments)])
    except SystemExit as leaving:  # tyro's own way out
        return int(leaving.code or 0)


def data_flags(files):
    return [part for task, path in files.items() for part in ("--data", f"{task}={path}")]


@pytest.fixture(scope="module")
def measured(model_dir, files, tmp_path_factory):
    """results.json of all five tasks, by backend."""
    found = {}
    for backend in ("jax", "hf"):
        out = tmp_path_factory.mktemp(backend)
        assert (
            evaluate(
                model_dir, "--tasks", *ROWS, *data_flags(files), "--backend", backend, "--log-choices", "--out", out
            )
            == 0
        )
        found[backend] = json.loads((out / "results.json").read_text()) | {"folder": out}
    return found


@pytest.mark.long
def test_our_decoder_and_transformers_get_the_same_figures_on_every_task(measured):
    ours, theirs = (measured[backend]["models"][0]["tasks"] for backend in ("jax", "hf"))
    assert set(ours) == set(theirs) == set(ROWS)
    for task, metrics in theirs.items():
        assert set(ours[task]) == set(metrics)
        for metric, expected in metrics.items():
            assert ours[task][metric]["value"] == pytest.approx(expected["value"], rel=1e-4), (task, metric)
            if expected["stderr"] is None:
                assert ours[task][metric]["stderr"] is None
            else:
                assert ours[task][metric]["stderr"] == pytest.approx(expected["stderr"], rel=1e-3, abs=1e-6)
            assert ours[task][metric]["n_items"] == len(ROWS[task])
    assert 0 < ours["hellaswag"]["acc"]["value"] < 1  # else the comparison would prove little
    assert ours["hellaswag"]["acc"]["stderr"] > 0


def test_logged_choices_give_the_same_figures_and_are_the_same_from_both_backends(measured):
    kept = {}
    for backend, record in measured.items():
        folder = record["folder"] / "choices"
        assert len(list(folder.iterdir())) == 3  # the multiple choices
        for task in ("hellaswag", "arc_easy", "piqa"):
            one = kept[backend, task] = reading.read(next(folder.glob(f"*.{task}.0-shot.jsonl")))
            for rule, metric in (("sum", "acc"), ("character", "acc_norm")):
                assert rules.values(one, rule).mean() == record["models"][0]["tasks"][task][metric]["value"]
    ours, theirs = kept["jax", "hellaswag"], kept["hf", "hellaswag"]
    assert ours.items == theirs.items
    for name in ("sum", "unconditional", "tokens", "characters", "bytes", "greedy"):
        np.testing.assert_allclose(ours.columns[name], theirs.columns[name], rtol=1e-4)
    # A token of this model is a byte, and the space before the answer is one more.
    assert (ours.columns["tokens"] - ours.columns["bytes"] == 1).all()


def test_a_task_whose_choices_cannot_be_kept_is_named_and_costs_nothing(tmp_path):
    from serve.evaluation.choices_log import Log
    from serve.evaluation.results import Candidate

    log = Log(tmp_path, "Answer:")
    tasks = {
        name: SimpleNamespace(OUTPUT_TYPE=kind) for name, kind in [("a", "generate_until"), ("b", "multiple_choice")]
    }
    sample = {
        "doc_id": 0,
        "doc": {},
        "target": "x",
        "arguments": [("q",)],
        "filtered_resps": ["text"],
        "filter": "none",
    }
    log.write(Candidate("m", "m", "jax"), hashing_model(), tasks, {"a": [sample], "b": [sample]})
    assert log.lines()[0] == "no choices of a: it is no multiple choice"
    assert log.lines()[1].startswith("no choices of b: it cannot be kept (b, item 0 is no multiple choice")
    assert list(tmp_path.iterdir()) == []


def test_no_bar_of_the_harness_s_models_comes_into_a_log(model_dir, files, tmp_path, capsys):
    rows = data_flags({"hellaswag": files["hellaswag"], "wikitext": files["wikitext"]})
    flags = ("--tasks", "hellaswag", "wikitext", *rows, "--backend", "hf", "--limit", "1", "--out", tmp_path)
    assert evaluate(model_dir, *flags) == 0
    shown = capsys.readouterr().err
    assert "Tokenizing inputs" not in shown
    assert "Running loglikelihood" not in shown


def test_ctrl_c_keeps_the_models_that_are_evaluated(model_dir, files, tmp_path, monkeypatch, capsys):
    from serve.evaluation import command

    evaluate_one, done = command.evaluate, []

    def second_is_interrupted(*arguments):
        if done:
            raise KeyboardInterrupt
        done.append(evaluate_one(*arguments))
        return done[0]

    monkeypatch.setattr(command, "evaluate", second_is_interrupted)
    rows = data_flags({"wikitext": files["wikitext"]})
    flags = ("--tasks", "wikitext", *rows, "--backend", "hf", "--limit", "1", "--out", tmp_path)
    assert evaluate(model_dir, model_dir, *flags) == 130
    assert len(json.loads((tmp_path / "results.json").read_text())["models"]) == 1
    assert "1 of 2 models" in capsys.readouterr().out


def test_our_hellaswag_equals_the_harness_on_the_same_convention(measured, model_dir, files, plan):
    loaded = hf.load(model_dir)
    items = hellaswag.read_items(files["hellaswag"])
    call = scorer(loaded.params, loaded.config, plan)
    found = hellaswag.evaluate(items, loaded.tokenizer, call, loaded.config.context_length)
    theirs = measured["hf"]["models"][0]["tasks"]["hellaswag"]
    for convention, metric in (("sum", "acc"), ("character", "acc_norm")):
        assert found[convention].value == theirs[metric]["value"]
        assert found[convention].stderr == pytest.approx(theirs[metric]["stderr"])


def test_our_preparation_of_real_items_is_the_harness_s(shared_data):
    from lm_eval.tasks.hellaswag.utils import preprocess

    path = shared_data / "hellaswag" / "validation.parquet"
    plain, prepared = hellaswag.read_items(path, "plain"), hellaswag.read_items(path)
    assert [item.endings for item in prepared] == [tuple(map(preprocess, item.endings)) for item in plain]
    assert all(item.query.endswith(preprocess(raw.query)) for item, raw in zip(prepared, plain, strict=True))


@pytest.mark.long
def test_log_likelihoods_windows_and_continuations_equal_those_of_the_harness_s_hf_model(model_dir, plan):
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from serve.evaluation.jax_lm import JaxLM

    def ask(kind, arguments):
        return [Instance(kind, {}, argument, i) for i, argument in enumerate(arguments)]

    loaded = hf.load(model_dir)
    ours = JaxLM(loaded.params, loaded.config, loaded.tokenizer, plan)
    theirs = HFLM(str(model_dir), dtype="float32", device="cpu", batch_size=4)
    pairs = [("a cat", " sat"), ("trailing  ", "space"), ("", "from nothing"), ("x" * 300, " cut"), ("é", "é" * 60)]
    for mine, its in zip(
        ours.loglikelihood(ask("loglikelihood", pairs)), theirs.loglikelihood(ask("loglikelihood", pairs)), strict=True
    ):
        assert mine == (pytest.approx(its[0], rel=1e-4), its[1])
    documents = [("short",), ("a long document, read in windows. " * 15,), ("z" * 128,), ("z" * 129,)]
    assert ours.loglikelihood_rolling(ask("loglikelihood_rolling", documents)) == pytest.approx(
        theirs.loglikelihood_rolling(ask("loglikelihood_rolling", documents)), rel=1e-4
    )
    free = ours.generate_until(ask("generate_until", [("a cat", {"max_gen_toks": 24})]))[0]
    stop = free[10:12]
    asked = [
        ("a cat", {"max_gen_toks": 24, "until": [stop]}),
        ("a cat", {"max_gen_toks": 24}),
        ("another, longer context", {"max_gen_toks": 24}),
        ("w" * 200, {"max_gen_toks": 20, "until": "\n"}),
    ]
    mine = ours.generate_until(ask("generate_until", asked))
    assert mine == theirs.generate_until(ask("generate_until", asked))
    assert mine[0] == free[: free.index(stop)]
    assert mine[1] == free


def test_a_run_s_checkpoints_are_compared_and_drawn_against_tokens(tmp_path, capsys):
    from serve.evaluation.report import draw, table
    from serve.evaluation.results import Evaluated, Measurement

    def checkpoint(tokens, value):
        tasks = {"hellaswag": {"acc": Measurement(value, 0.01, True, 100)}, "wikitext": {}}
        return Evaluated(f"run@{tokens}", "run", "jax", tokens, tokens, seconds=1.0, tasks=tasks)

    models = [checkpoint(2000, 0.3), checkpoint(1000, 0.25), Evaluated("hub", "hub", "jax", tasks={})]
    assert draw(tmp_path / "a.png", models)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert not draw(tmp_path / "b.png", models[1:])
    assert not draw(tmp_path / "b.png", [replace(one, tasks={}) for one in models[:2]])
    from rich.console import Console

    lines = {}
    for width in (120, 80, 60):
        Console(width=width).print(table(models, width))
        lines[width] = capsys.readouterr().out.splitlines()
    assert lines[120][0].split() == ["task", "metric", "items", "run@2000", "run@1000", "hub"]
    assert "acc (sum) ↑" in lines[120][1]
    assert lines[120][1].split()[-7:] == ["0.3000", "±", "0.0100", "0.2500", "±", "0.0100", "—"]
    # Where the models do not fit side by side, they stand one below the other, and no figure is cut.
    assert [line.split()[-3:] for line in lines[60][1:3]] == [["0.3000", "±", "0.0100"], ["0.2500", "±", "0.0100"]]
    assert lines[60][2].split()[0] == "run@1000"
    assert all("…" not in line for width in lines for line in lines[width])


def hashing_model():
    """A model of the harness: log-probabilities that depend on the text alone; a token is a character."""
    from lm_eval.api.model import LM

    class Hashing(LM):
        loglikelihood_rolling = generate_until = None

        def loglikelihood(self, requests):
            return [(-float(sum(map(ord, "".join(one.args))) % 97), "sleeps" in one.args[1]) for one in requests]

        def answer_tokens(self, pairs):
            return [len(answer) for _, answer in pairs]

    return Hashing()


@pytest.fixture(scope="module")
def both_files(tmp_path_factory):
    """The harness's own samples of a task, and the file that we write from them."""
    from lm_eval import evaluator
    from lm_eval.loggers import EvaluationTracker

    from serve.evaluation.choices_log import Log
    from serve.evaluation.results import Candidate
    from serve.evaluation.tasks import load_tasks

    folder = tmp_path_factory.mktemp("choices")
    rows = [
        {
            "activity_label": "Baking",
            "ctx": f"How to bake {i}. then he" if i % 3 else f"A man bakes {i}. then he",
            "endings": [f"eats {i}.", "sleeps", "café au lait", "runs"],
            "label": str(i % 4),
        }
        for i in range(8)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tasks = load_tasks(["hellaswag"], {"hellaswag": {"test": folder / "rows.jsonl"}})
    model = hashing_model()
    found = evaluator.evaluate(model, tasks, log_samples=True, bootstrap_iters=0)
    log = Log(folder / "ours", "Answer:")
    log.write(Candidate("tiny", "x", "jax"), model, tasks["tasks"], found["samples"])
    tracker = EvaluationTracker(output_path=str(folder))
    tracker.general_config_tracker.model_name_sanitized, tracker.date_id = "owner__tiny", "2026-01-01T00-00-00.000000"
    tracker.save_results_samples("hellaswag", found["samples"]["hellaswag"])
    return SimpleNamespace(
        theirs=reading.read(next((folder / "owner__tiny").glob("*.jsonl"))),
        ours=reading.read(next((folder / "ours").glob("*.jsonl"))),
        results=found["results"]["hellaswag"],
        lines=log.lines(),
    )


def test_the_harness_s_samples_and_our_file_hold_the_same(both_files):
    assert (both_files.theirs.model, both_files.ours.model) == ("owner/tiny", "tiny")
    assert both_files.theirs.task == both_files.ours.task == "hellaswag"
    assert both_files.theirs.items == both_files.ours.items
    assert both_files.theirs.gold.tolist() == both_files.ours.gold.tolist() == [i % 4 for i in range(8)]
    for name in ("sum", "characters", "bytes", "greedy"):
        np.testing.assert_array_equal(both_files.theirs.columns[name], both_files.ours.columns[name])
    assert both_files.ours.group == both_files.theirs.group == ("Baking",) * 8
    assert both_files.ours.subsets == both_files.theirs.subsets
    assert both_files.ours.subsets["context"][:2] == ("other", "How …")
    assert both_files.ours.prompt == "0-shot"
    assert "1 files" in both_files.lines[0]


def test_our_file_keeps_tokens_lengths_and_what_an_answer_is_worth_alone(both_files):
    columns = both_files.ours.columns
    assert columns["characters"][0].tolist() == [7, 6, 12, 4]
    assert columns["bytes"][0].tolist() == [7, 6, 13, 4]
    assert columns["tokens"][0].tolist() == [8, 7, 13, 5]  # with the space before the answer
    assert columns["greedy"][0].tolist() == [0, 1, 0, 0]
    expected = [-float(sum(map(ord, f"Answer: {text}")) % 97) for text in ("eats 0.", "sleeps", "café au lait", "runs")]
    assert columns["unconditional"][0].tolist() == expected


def test_rules_on_both_files_give_the_harness_s_figures(both_files):
    for one in (both_files.theirs, both_files.ours):
        assert rules.values(one, "sum").mean() == both_files.results["acc,none"]
        assert rules.values(one, "character").mean() == both_files.results["acc_norm,none"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "hellaswag", "--data", "hellaswag=nowhere.parquet"], "data file nowhere.parquet does not exist"),
        (["--tasks", "hellaswag", "--data", "hellaswag"], "--data takes TASK=FILE"),
        (
            ["--tasks", "hellaswag", "--data", "piqa=x.jsonl"],
            "--data names task 'piqa', which --tasks does not ask for",
        ),
        (
            ["--tasks", "hellaswag", "--data", "hellaswag:train={hellaswag}"],
            "add hellaswag=FILE with the rows to score",
        ),
        (["--tasks", "hellaswag", "--data", "hellaswag={piqa}"], "needs activity_label, ctx_a, ctx_b, endings too"),
        (["--tasks", "arc_easy", "--data", "arc_easy={piqa}"], "has the columns goal, sol1, sol2, label; arc_easy"),
        (["--tasks", "piqa", "--data", "piqa={arc_easy}"], "needs goal, label, sol1, sol2 too"),
        (["--tasks", "wikitext", "--data", "wikitext={piqa}"], "wikitext (row 1) needs page too"),
        (["--tasks", "hellaswag", "--limit", "0"], "limit must be at least 1 item; got 0"),
        (
            ["--tasks", "hellaswag", "--step", "3", "--data", "hellaswag={hellaswag}"],
            "is not a run, so it has no step 3",
        ),
    ],
)
def test_a_mistake_gets_one_line_that_names_it(model_dir, files, tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status = evaluate(model_dir, *(argument.format(**files) for argument in arguments))
    assert status == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("folders", [["hellaswag", "piqa"], pytest.param([], marks=pytest.mark.long, id="all")])
def test_an_unknown_task_is_answered_with_near_matches(model_dir, monkeypatch, capsys, folders):
    from serve.evaluation import tasks

    if folders:  # reading all descriptions of the harness takes 12 seconds
        paths = [tasks.HARNESS_FOLDER / folder for folder in folders]
        few = partial(tasks.TaskManager, include_defaults=False, include_path=paths)
        monkeypatch.setattr(tasks, "TaskManager", few)
    assert evaluate(model_dir, "--tasks", "helaswag") == 2
    assert "unknown task 'helaswag'; near matches: hellaswag" in " ".join(capsys.readouterr().err.split())


def test_an_endpoint_that_is_down_is_named(files, capsys, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    flags = ["--tasks", "hellaswag", "--data", f"hellaswag={files['hellaswag']}", "--out", tmp_path]
    assert evaluate(url, *flags) == 2
    error = capsys.readouterr().err
    assert f"no server answers at {url}" in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, b"{}", "answers 401 Unauthorized: give its key with"),
        (200, b"<html>", "not as an OpenAI-style server does"),
    ],
)
def test_a_server_that_refuses_or_is_another_is_named(files, capsys, tmp_path, status, body, message):
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        flags = ["--tasks", "hellaswag", "--data", f"hellaswag={files['hellaswag']}", "--out", tmp_path]
        assert evaluate(f"http://127.0.0.1:{server.server_port}", *flags) == 2
        server.shutdown()
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("status", [None, 400, 503])
def test_a_server_that_ends_or_refuses_in_the_middle_is_named_in_one_line(model_dir, files, capsys, tmp_path, status):
    """`None` hangs up. The first request is answered, as is the question which model it serves."""
    asked = []

    class Failing(BaseHTTPRequestHandler):
        def do_GET(self):
            self._say(200, {"data": [{"id": "tiny", "root": str(model_dir), "max_model_len": 128}]})

        def do_POST(self):
            asked.append(self.path)
            fields = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if len(asked) == 1:
                one = {"token_logprobs": [None] + [-1.0] * 200, "top_logprobs": [None] + [{"a": -1.0}] * 200}
                self._say(200, {"choices": [{"index": i, "logprobs": one} for i in range(len(fields["prompt"]))]})
            elif status:
                self._say(status, {"error": {"message": "enough"}})

        def _say(self, code, content):
            self.send_response(code)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Failing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        flags = ["--tasks", "hellaswag", "--data", f"hellaswag={files['hellaswag']}", "--out", tmp_path]
        assert evaluate(url, *flags) == 2
        server.shutdown()
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"error: {url} stopped answering, or refused a request (" in error
    assert str(status or "Connection") in error
    assert 1 < len(asked) <= 4  # tried again, but not for ever
    assert not (tmp_path / "results.json").exists()


def test_rows_that_cannot_be_downloaded_ask_for_a_file(monkeypatch):
    import datasets

    from serve.evaluation.tasks import load_tasks

    def refuse(*_, **__):
        raise ConnectionError("the hub is not reachable")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(ConnectionError, match=r"rows of task 'piqa' .* cannot be downloaded .* --data piqa=FILE"):
        load_tasks(["piqa"], {})


def test_examples_come_from_the_train_file_alone(files, tmp_path):
    from serve.evaluation.tasks import load_tasks

    example = {**PIQA[0], "goal": "the only example"}
    (tmp_path / "train.jsonl").write_text(json.dumps(example) + "\n")
    loaded = load_tasks(["piqa"], {"piqa": {"test": files["piqa"], "train": tmp_path / "train.jsonl"}}, num_fewshot=1)
    task = loaded["tasks"]["piqa"]
    task.build_all_requests(limit=2)
    assert all("the only example" in instance.args[0] for instance in task.instances)
