"""Answers are kept as they come, asked once, and shared out; with a model whose answers are hashes of the text."""

import io
import json
import os
import threading

import pytest
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from serve.evaluation.answers import journal, processes, settings
from serve.evaluation.answers.asked import Asked, Unit
from serve.evaluation.answers.journal import Journal
from serve.evaluation.answers.processes import Others, Place
from serve.evaluation.answers.progress import Progress
from serve.evaluation.results import Candidate

ALONE = Place()
SETTINGS = {"tasks": ["piqa"], "limit": 100}
REQUESTS = [Instance("loglikelihood", {}, (f"question {i % 7}", f" {'x' * (i % 5)}{i}"), i) for i in range(23)]
EXPECTED = [(-float(sum(map(ord, "".join(one.args))) % 97), len(one.args[1]) > 4) for one in REQUESTS]


class Killed(BaseException):
    pass


class Model(LM):
    """Answers one request after the other, reports each as the harness's models do, and is killed after `lives`."""

    generate_until = loglikelihood_rolling = None

    def __init__(self, lives=10**9):
        super().__init__()
        self.lives, self.asked = lives, []

    def loglikelihood(self, requests):
        answers = []
        for one in requests:
            if len(self.asked) == self.lives:
                raise Killed
            self.asked.append(one.args)
            answers.append(EXPECTED[next(i for i, known in enumerate(REQUESTS) if known.args == one.args)])
            self.cache_hook.add_partial("loglikelihood", one.args, answers[-1])
        return answers


class InUnits(Model):
    """Answers units of three, on any of two devices."""

    n_devices = 2

    def units(self, kind, arguments):
        def run(numbers, device):
            if len(self.asked) >= self.lives:
                raise Killed
            self.asked += [arguments[number] for number in numbers]
            return [EXPECTED[number] for number in numbers]

        cut = [list(range(start, min(start + 3, len(arguments)))) for start in range(0, len(arguments), 3)]
        return [Unit(numbers, 1.0, lambda device, numbers=numbers: run(numbers, device)) for numbers in cut]


def ask(model, folder, place=ALONE, settings=SETTINGS, requests=REQUESTS, restart=False):
    journal = Journal(folder, settings, place.process, restart)
    with Others(folder, place) as others:
        try:
            return Asked(model, "1 (tiny)", journal, place, others).loglikelihood(requests)
        finally:
            journal.close()


@pytest.mark.parametrize("kind", [Model, InUnits])
@pytest.mark.parametrize("lives", [1, 10, 20])
def test_after_a_kill_only_what_has_no_answer_is_asked(tmp_path, kind, lives):
    first, second = kind(lives), kind()
    with pytest.raises(Killed):
        ask(first, tmp_path / "answers")
    assert ask(second, tmp_path / "answers") == EXPECTED
    assert sorted(first.asked + second.asked) == sorted(one.args for one in REQUESTS)
    third = kind()
    assert ask(third, tmp_path / "answers") == EXPECTED
    assert third.asked == []


@pytest.mark.parametrize("bytes_lost", [1, 5, 30])
def test_a_torn_last_line_is_asked_again_and_nothing_else(tmp_path, bytes_lost):
    ask(Model(), tmp_path / "answers")
    path = tmp_path / "answers" / "0.jsonl"
    os.truncate(path, path.stat().st_size - bytes_lost)
    again = Model()
    assert ask(again, tmp_path / "answers") == EXPECTED
    assert len(again.asked) == 1
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_file_of_which_only_a_part_of_the_first_line_was_written_is_begun_anew(tmp_path):
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "0.jsonl").write_bytes(b'{"format": "llm-')
    assert ask(Model(), tmp_path / "answers") == EXPECTED
    assert ask(nothing := Model(), tmp_path / "answers") == EXPECTED
    assert nothing.asked == []


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"tasks": ["piqa"], "limit": 200}, r"limit: there 100, here 200\. Finish that one.*--out.*--restart"),
        ({"tasks": ["arc_easy"], "limit": 100}, r'tasks: there \["piqa"\], here \["arc_easy"\]'),
        ({"tasks": ["piqa"], "limit": 100, "model 1 (b)": {}}, r"model 1 \(b\): there nothing, here \{\}"),
        ({"tasks": ["piqa"]}, "limit: there 100, here nothing"),
    ],
)
def test_answers_of_another_evaluation_are_refused_by_name_and_removed_by_restart(tmp_path, other, message):
    ask(Model(), tmp_path / "answers")
    with pytest.raises(ValueError, match=message):
        ask(Model(), tmp_path / "answers", settings=other)
    assert ask(model := Model(), tmp_path / "answers", settings=other, restart=True) == EXPECTED
    assert len(model.asked) == len(REQUESTS)


def test_a_changed_model_is_another_one(tmp_path):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"a")
    candidate = Candidate("m", str(tmp_path), "jax")
    before = settings.of([candidate], {}, None)
    assert settings.of([candidate], {}, None) == before
    weights.write_bytes(b"ab")
    assert settings.of([candidate], {}, None) != before


def test_equal_requests_are_asked_as_often_as_they_occur_and_keep_their_order(tmp_path):
    repeated = [REQUESTS[0], REQUESTS[1], REQUESTS[0], REQUESTS[0]]
    model = Model()
    assert ask(model, tmp_path / "answers", requests=repeated) == [EXPECTED[0], EXPECTED[1], EXPECTED[0], EXPECTED[0]]
    assert len(model.asked) == 4


@pytest.mark.parametrize("kind", [Model, InUnits])
@pytest.mark.parametrize("n", [2, 3])
def test_several_processes_ask_each_request_once_and_the_first_has_all_answers(tmp_path, kind, n):
    models, answers = [kind() for _ in range(n)], {}

    def run(number):
        answers[number] = ask(models[number], tmp_path / "answers", Place(number, n))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert answers[0] == EXPECTED
    assert sorted(one for model in models for one in model.asked) == sorted(one.args for one in REQUESTS)
    shares = [len(model.asked) for model in models]
    assert max(shares) - min(shares) <= 3


def test_one_process_goes_on_with_what_three_began(tmp_path):
    begun = []
    for number in range(3):
        model, kept = InUnits(3), Journal(tmp_path / "answers", SETTINGS, number)
        asked = Asked(model, "1 (tiny)", kept, Place(number, 3), Others(tmp_path / "answers", Place(number, 3)))
        with pytest.raises(Killed):
            asked.compute_share("loglikelihood", REQUESTS)
        kept.close()
        begun += model.asked
    last = InUnits()
    assert ask(last, tmp_path / "answers") == EXPECTED
    assert sorted(begun + last.asked) == sorted(one.args for one in REQUESTS)


def test_two_commands_do_not_write_the_same_answers(tmp_path):
    kept = Journal(tmp_path / "answers", SETTINGS)
    kept.add(["a"], [1.0])
    with pytest.raises(RuntimeError, match="is being written by another process"):
        ask(Model(), tmp_path / "answers")
    kept.close()


def test_a_process_that_fails_ends_the_first_with_its_message(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "POLL_SECONDS", 0.01)
    with Others(tmp_path, Place(0, 2)) as first:
        with pytest.raises(ValueError, match="no such shard"), Others(tmp_path, Place(1, 2)):
            raise ValueError("no such shard")
        with pytest.raises(RuntimeError, match="process 1 failed: no such shard"):
            first.wait(lambda: False, "answers")


@pytest.mark.parametrize("has_started", [True, False])
def test_a_process_that_dies_or_never_starts_is_named(tmp_path, monkeypatch, has_started):
    limits = {"POLL_SECONDS": 0.01, "RENEW_SECONDS": 0.05, "SILENT_SECONDS": 0.2, "START_SECONDS": 0.2}
    for name, value in limits.items():
        monkeypatch.setattr(processes, name, value)
    message = "process 1 has not been heard of for" if has_started else "process 1 has not started for"
    with Others(tmp_path, Place(0, 2)) as first:
        if has_started:
            (tmp_path / "1.note").write_text('{"state": "working"}')
        with pytest.raises(RuntimeError, match=message):
            first.wait(lambda: False, "answers")


def test_a_process_that_ends_without_its_share_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "POLL_SECONDS", 0.01)
    with Others(tmp_path, Place(0, 2)) as first:
        with Others(tmp_path, Place(1, 2)):
            pass
        with pytest.raises(RuntimeError, match="ended without their share of answers: start all with the same command"):
            first.wait(lambda: False, "answers")
        assert first.all_done()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Place(0, 1)),
        ({"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}, Place(1, 2)),
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "4"}
         | {"SLURM_STEP_TASKS_PER_NODE": "2(x2)", "SLURM_NODEID": "1", "SLURM_LOCALID": "0"}, Place(2, 4)),
    ],
)  # fmt: skip
def test_srun_or_jax_s_variables_say_which_process_this_is(environment, expected):
    assert processes.here(environment) == expected


def test_the_tasks_of_a_node_divide_its_gpus():
    node = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "2"}
    environment = node | {"SLURM_PROCID": "1", "SLURM_LOCALID": "1", "CUDA_VISIBLE_DEVICES": "4,5,6,7"}
    processes.here(environment)
    assert environment["CUDA_VISIBLE_DEVICES"] == "6,7"


@pytest.mark.parametrize(
    "environment",
    [{"JAX_NUM_PROCESSES": "2"}, {"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "2"}, {"JAX_PROCESS_ID": "x"}],
)
def test_a_place_that_cannot_be_is_refused(environment):
    with pytest.raises(ValueError, match=r"JAX_NUM_PROCESSES"):
        processes.here(environment)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_estimates_the_time_left_from_the_work_and_says_it_now_and_then():
    times = iter(range(0, 10_000, 10))
    log = io.StringIO()
    progress = Progress("tiny, log-likelihoods", 100, 1000.0, found=20, stream=log, clock=lambda: next(times))
    for _ in range(8):
        progress.add(5, 100.0)
    lines = log.getvalue().splitlines()
    # A line for every 30 seconds. Asking for the line reads the clock once more: 8 calls and 2 lines took 100 seconds.
    assert lines[0] == "tiny, log-likelihoods: 35 of 120 (30% of the work), 0.4/s, 1 min 33 s left"
    assert len(lines) == 3
    shown = Terminal()
    times = iter(range(0, 10_000, 10))
    progress = Progress("tiny", 2, 2.0, stream=shown, clock=lambda: next(times))
    progress.add(1, 1.0)
    progress.close()
    assert shown.getvalue().startswith("\rtiny: 1 of 2 (50% of the work)")
    assert shown.getvalue().endswith("\r\x1b[K")


def test_every_answer_comes_back_from_disk_as_it_was(tmp_path):
    kept = Journal(tmp_path / "answers", SETTINGS)
    answers = [[-1.2345678901234567, True], -0.1, "a\n\u2028é\ud800", float("-inf")]
    kept.add(list("abcd"), answers)
    kept.close()
    found = Journal(tmp_path / "answers", SETTINGS)
    assert [found[name] for name in "abcd"] == answers
    assert found.found == 4
    found.remove()
    assert not (tmp_path / "answers").exists()


def test_a_key_tells_models_kinds_and_requests_apart():
    keys = [
        journal.key(model, kind, request, n)
        for model in ("a", "b")
        for kind in ("loglikelihood", "generate_until")
        for request in (("x", "y"), ("xy", ""), ("x", {"until": ["y"]}))
        for n in (0, 1)
    ]
    assert len(set(keys)) == len(keys)
