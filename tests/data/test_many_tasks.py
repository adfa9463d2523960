"""A job array in trouble: tasks that are killed, started twice, or stopped until all else is done."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from train.data.integrity import NOTES
from train.prepare import plan as plans
from train.prepare.preparation import prepare, prepare_share

ROOT = Path(__file__).resolve().parents[2]
TASKS = 4


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != NOTES}


def test_tasks_read_a_finished_plan_side_by_side(options, monkeypatch):
    """With a lock a thousand tasks would look at every input file one after the other."""
    prepare_share(options("data", task=0, tasks=TASKS))
    together, read_plan = threading.Barrier(TASKS - 1, timeout=30), plans.read_plan

    def waiting_for_the_others(*arguments, **named):
        together.wait()
        return read_plan(*arguments, **named)

    monkeypatch.setattr(plans, "read_plan", waiting_for_the_others)
    failed: list[BaseException] = []

    def run(task: int) -> None:
        try:
            prepare_share(options("data", task=task, tasks=TASKS))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(task,)) for task in range(1, TASKS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed
    monkeypatch.undo()
    prepare(options("data", assemble=True))
    assert files_of(options("data").out) == files_of(prepare(options("alone")).folder)


@pytest.mark.long
def test_a_straggler_that_goes_on_after_the_end_changes_nothing(options):
    array = options("array", tasks=TASKS)
    command = [sys.executable, "-m", "train", "prepare", "--source", *array.source, "--out", str(array.out)]
    command += ["--tokenizer", "train:280", "--shard-tokens", "2500", "--unit-megabytes", "0.002", "--processes", "1"]
    parts = array.out / ".prepare" / "parts"

    def start(task: int) -> subprocess.Popen:
        return subprocess.Popen(
            [*command, "--task", str(task), "--tasks", str(TASKS)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def until_parts(most_seconds: float = 60.0) -> None:
        deadline = time.monotonic() + most_seconds
        while not list(parts.glob("*.npz")):
            assert time.monotonic() < deadline
            time.sleep(0.001)

    killed = start(0)
    until_parts()
    killed.kill()
    killed.wait(10)
    straggler = start(1)
    time.sleep(0.5)
    os.kill(straggler.pid, signal.SIGSTOP)
    try:
        twice = [start(task) for task in (0, 1, 1, 2, 3)]
        assert [task.wait(120) for task in twice] == [0] * 5
        prepare(dataclasses.replace(array, assemble=True))
        expected = files_of(prepare(options("alone")).folder)
        assert files_of(array.out) == expected
    finally:
        os.kill(straggler.pid, signal.SIGCONT)
    straggler.wait(60)
    assert files_of(array.out) == expected
    assert prepare(dataclasses.replace(array, assemble=True)).folder == array.out
