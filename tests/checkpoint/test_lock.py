"""One job at a time holds a run, and a job that is dead, however it died, holds nothing."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llm_jax.checkpoint import lock
from llm_jax.checkpoint.lock import RunLock

HOLD = """
import runpy, sys, time
from pathlib import Path
with runpy.run_path(sys.argv[2])["RunLock"](Path(sys.argv[1])):  # the file alone: the package would bring JAX with it
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the run in `tmp_path`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path), lock.__file__]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def holder_of(run: Path) -> int | None:
    """The process that the run's folder names as the one that holds it."""
    file = run / ".lock.json"
    return json.loads(file.read_text())["pid"] if file.exists() else None


def test_second_job_is_refused_and_told_who_holds_the_run(holder, tmp_path):
    message = rf"run {tmp_path} is in use by process {holder.pid} on {os.uname().nodename} since 20.*name another run"
    with pytest.raises(RuntimeError, match=message), RunLock(tmp_path):
        pass


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_dead_job_holds_nothing(holder, tmp_path, by):
    holder.send_signal(by)
    holder.wait()
    with RunLock(tmp_path):
        assert holder_of(tmp_path) == os.getpid()
    assert holder_of(tmp_path) is None


def test_lock_is_free_again_after_success_and_after_an_error(tmp_path):
    for _ in range(2):
        with RunLock(tmp_path / "new"):
            assert holder_of(tmp_path / "new") == os.getpid()
        assert holder_of(tmp_path / "new") is None
    with pytest.raises(ZeroDivisionError), RunLock(tmp_path / "new"):
        raise ZeroDivisionError
    with RunLock(tmp_path / "new"):
        assert holder_of(tmp_path / "new") == os.getpid()


def test_holder_that_is_not_described_is_still_refused(holder, tmp_path):
    (tmp_path / ".lock.json").write_text("{")
    with pytest.raises(RuntimeError, match="in use by another process"), RunLock(tmp_path):
        pass
