"""An error of the operating system, however deep, is told in two lines: path, cure, and what is safe."""

import errno
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import jax.numpy as jnp
import pytest

from llm_jax import files
from llm_jax.checkpoint import Checkpoints, integrity
from llm_jax.command_line import run
from llm_jax.files import faults

ROOT = Path(__file__).resolve().parents[2]


class Foreign(Exception):
    """As of a library that keeps only the text."""


def wrapped() -> Exception:
    try:
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/x")
        except OSError as error:
            raise Foreign("could not finish") from error
    except Foreign as error:
        return error


RAISED = [
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/x"), "/data/x: No space left on device; free some space"),
    (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "/data/x"), "/data/x: .*; free some space"),
    (OSError(errno.EROFS, os.strerror(errno.EROFS), "/data/x"), "/data/x: Read-only file system; choose a folder"),
    (OSError(errno.EMFILE, os.strerror(errno.EMFILE), "/data/x"), "/data/x: Too many open files; raise the limit"),
    (OSError(errno.EIO, os.strerror(errno.EIO), "/data/x"), "/data/x: Input/output error; check the disk"),
    (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/data/x"), "/data/x: Permission denied; choose"),
    (wrapped(), "/data/x: No space left on device; free"),
    (Foreign("Error while serializing: I/O error: No space left on device (os error 28)"), "No space left on device; "),
    (RuntimeError('UNKNOWN: writing "/data/x": [OS error 28: ENOSPC No space left on device]'), "/data/x: No space"),
    (ExceptionGroup("several", [OSError(errno.EROFS, os.strerror(errno.EROFS), "/data/x")]), "/data/x: Read-only"),
]


@pytest.fixture
def command(monkeypatch):
    """Runs a function as a command of the front door."""

    def call(work) -> int:
        module = types.ModuleType("driver")
        module.main, module.parse = lambda _: work(), lambda _: None
        monkeypatch.setitem(sys.modules, "driver", module)
        return run("driver", "", {"go": ("driver", "")}, ["go"])

    return call


@pytest.mark.parametrize(("error", "message"), RAISED)
def test_every_form_of_a_fault_is_told_with_path_cure_and_what_is_safe(error, message, command, capsys, monkeypatch):
    monkeypatch.delenv("LLM_JAX_DEBUG", raising=False)

    def work():
        with faults.safe("step 7 is safe"):
            raise error

    assert command(work) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[1] == "step 7 is safe"
    assert re.search(message, said[0])


def test_a_file_that_was_looked_for_on_the_way_does_not_hide_the_real_message(command, capsys):
    def work():
        try:
            Path("/nowhere/file").read_bytes()
        except OSError as error:
            raise ValueError("say --data") from error

    assert command(work) == 2
    assert capsys.readouterr().err == "error: say --data\n"


def test_a_full_disk_leaves_the_older_file_or_folder_and_names_its_final_path(tmp_path):
    files.write(tmp_path / "a", "old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b").write_text("old")

    def fill(*path: Path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *map(str, path))

    with pytest.raises(faults.FileFault, match=f"cannot write {tmp_path}/a: No space"), files.replacing(tmp_path / "a"):
        fill()
    with (
        pytest.raises(faults.FileFault, match=f"cannot write {tmp_path}/folder/b: No space"),
        files.replacing_folder(tmp_path / "folder") as scratch,
    ):
        fill(scratch / "b")
    assert (tmp_path / "a").read_text() == (tmp_path / "folder" / "b").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "folder"]


def test_a_full_disk_while_a_checkpoint_is_committed_leaves_the_older_one_usable(tmp_path, monkeypatch, caplog):
    state = {"w": jnp.arange(4.0)}
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state, {}, wait=True)
    with monkeypatch.context() as patch:

        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr(integrity, "seal", full)
        with pytest.raises(OSError, match=rf"step 2 was not .* {tmp_path}: No space left on device; free some space"):
            checkpoints.save(2, state, {}, wait=True)
    assert not caplog.records  # orbax's traceback
    assert checkpoints.restore(state).step == 1
    checkpoints.save(2, state, {}, wait=True)
    checkpoints.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["by-hand"]])
def test_a_full_standard_output_is_named_and_leaves_no_traceback(arguments):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "train", *arguments], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot write the standard output: No space left on device; ")
    assert done.stderr.count("\n") == 1
