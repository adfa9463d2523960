"""Killed at any instant, the same command goes on and ends with the same bytes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from llm_jax.tokenizer import CharacterTokenizer
from train.data.integrity import NOTES, open_data
from train.prepare.preparation import prepare

ROOT = Path(__file__).resolve().parents[2]


def files_of(folder: Path) -> dict[str, bytes]:
    """All but the notes, which a look at a finished folder leaves."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != NOTES)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


class Stopped(BaseException):
    """Not an Exception, so that nothing on the way may take it for a failure that it can mend."""


def test_stopped_between_any_two_writes_it_ends_with_the_same_bytes(options, monkeypatch):
    expected = files_of(prepare(options("whole")).folder)
    monkeypatch.setattr("train.prepare.plan.abandon", lambda _: None)  # a process that is killed tidies nothing
    replace = os.replace

    def stop_after(n_writes: int, folder: Path) -> bool:
        """Whether the run was stopped, after exactly so many renames."""
        done, one_at_a_time = 0, threading.Lock()

        def counting_replace(source, target):
            nonlocal done
            with one_at_a_time:  # the tokenizer is saved by a thread of its own
                if done == n_writes:
                    raise Stopped
                replace(source, target)
                done += 1

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", counting_replace)
            try:
                prepare(options(folder.name))
            except Stopped:
                return True
        return False

    n_writes = 0
    while stop_after(n_writes, folder := options(f"stopped-{n_writes}").out):
        for path in folder.glob("*.bin"):
            assert path.read_bytes() == expected[path.name]
        assert files_of(prepare(options(folder.name)).folder) == expected
        n_writes += 1
    assert n_writes == 1 + 4 + 14 + 6 + 2 + 1  # plan, tokenizer (made, saved), parts, shards, tokenizer, manifest


def test_a_half_written_shard_never_has_its_final_name(options, monkeypatch):
    from train.prepare import assemble

    def half(*_):
        yield next(tokens)[:100]
        raise Stopped

    tokens = iter([])
    original = assemble._tokens

    def stop_in_the_middle(plan, part_starts, stretch):
        nonlocal tokens
        tokens = original(plan, part_starts, stretch)
        return half()

    monkeypatch.setattr(assemble, "_tokens", stop_in_the_middle)
    with pytest.raises(Stopped):
        prepare(options("half"))
    assert not list(options("half").out.glob("*.bin"))
    with pytest.raises(ValueError, match="interrupted; run the same"):
        open_data(options("half").out)


DRIVER = """
import os, random, signal, sys, time, json
from pathlib import Path
from train.prepare.config import PrepareConfig
from train.prepare.preparation import prepare

fields = json.loads(sys.argv[1])
options = PrepareConfig(**fields | {"source": tuple(fields["source"]), "out": Path(fields["out"])})
random.seed(0)
kills, longest = 0, float(sys.argv[2])
while True:
    child = os.fork()
    if child == 0:
        prepare(options)
        os._exit(0)
    time.sleep(random.uniform(0, longest))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        break
    kills += 1
    longest *= 1.1
print(kills)
"""


def test_sigkill_at_random_instants_again_and_again(options, tmp_path):
    """Real kills of real processes, from 0 to some hundredths of a second after the start, until one gets through."""
    begun = time.monotonic()
    expected = files_of(prepare(options("whole")).folder)
    seconds = time.monotonic() - begun
    killed = options("killed")
    fields = {**vars(killed), "out": str(killed.out)}
    driver = [sys.executable, "-c", DRIVER, json.dumps(fields), str(seconds / 8)]
    result = subprocess.run(driver, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) >= 3
    assert files_of(killed.out) == expected


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers in Linux's /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("presses", "said"), [(1, "interrupted\n"), (2, "interrupted twice: ended at once\n")])
def test_ctrl_c_and_sigterm_for_the_parent_alone_while_it_starts_workers_leave_no_traceback(
    json_lines, tmp_path, number, presses, said
):
    """The first worker is stopped before it has read what to do, so the press arrives in the midst of the writing."""
    alphabet = [chr(number) for number in range(30_000)]
    CharacterTokenizer(alphabet).save(tmp_path / "large")  # more than a pipe holds
    command = [sys.executable, "-m", "train", "prepare", "--source", str(json_lines), "--out", str(tmp_path / "out")]
    command += ["--tokenizer", str(tmp_path / "large"), "--border", "none", "--processes", "2"]
    process = subprocess.Popen(
        [*command, "--unit-megabytes", "0.002"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    worker = None
    while worker is None and process.poll() is None:
        worker = next((child for child in children_of(process.pid) if b"spawn_main" in command_of(child)), None)
    assert worker is not None, process.communicate()
    os.kill(worker, signal.SIGSTOP)
    for _ in range(presses):
        process.send_signal(number)
        time.sleep(0.2)
    with contextlib.suppress(ProcessLookupError):  # the second press ends it
        os.kill(worker, signal.SIGCONT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, said)


def test_sigterm_says_what_is_kept_and_the_same_command_goes_on(options, tmp_path):
    expected = files_of(prepare(options("whole")).folder)
    asked = options("ended")
    program = """
import os, signal, sys
from llm_jax.command_line.front_door import run
from train.__main__ import COMMANDS
from train.prepare import tokenise
make = tokenise.Work.make_part
def ending(work, number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGTERM)
    return make(work, number)
tokenise.Work.make_part = ending
sys.exit(run("", "", COMMANDS, sys.argv[1:]))
"""
    flags = ["prepare", "--source", *asked.source, "--out", str(asked.out), "--tokenizer", "train:280"]
    flags += ["--shard-tokens", "2500", "--processes", "1", "--unit-megabytes", "0.002"]
    done = subprocess.run([sys.executable, "-c", program, *flags], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
    assert "the parts that are tokenized are kept: the same command continues from there" in done.stdout
    assert files_of(prepare(asked).folder) == expected


def children_of(pid: int) -> list[int]:
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for children in lists for child in children.read_text().split()]


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers in Linux's /proc")
def test_workers_of_a_killed_run_die_and_the_next_run_finishes(options, tmp_path):
    """The command as users start it, with two processes."""
    expected = files_of(prepare(options("whole")).folder)
    flags = vars(options("killed")) | {"processes": 2}
    command = [
        sys.executable,
        "-m",
        "train",
        "prepare",
        "--source",
        *flags["source"],
        "--tokenizer",
        flags["tokenizer"],
    ]
    for name in ("out", "shard_tokens", "processes", "unit_megabytes"):
        command += [f"--{name.replace('_', '-')}", str(flags[name])]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    workers: list[str] = []
    while process.poll() is None and len(workers) < 3:  # two workers and multiprocessing's resource tracker
        workers = children.read_text().split()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 30
    while any(Path("/proc", worker).exists() for worker in workers):
        assert time.monotonic() < deadline, "a worker outlives its parent"
        time.sleep(0.05)
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    assert files_of(flags["out"]) == expected
