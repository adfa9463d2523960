"""How a process of ours is started: with an allocator that keeps its memory."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from llm_jax import backend


@pytest.fixture
def started(monkeypatch):
    """Commands that would have taken this process's place, on a machine with glibc and without a GPU."""
    commands = []
    monkeypatch.setattr(os, "execv", lambda path, arguments: commands.append((path, arguments)))
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "train", "digits"])
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(backend, "_has_nvidia_gpu", lambda: False)
    monkeypatch.setenv("GLIBC_TUNABLES", "")  # put back afterwards
    monkeypatch.delenv("GLIBC_TUNABLES")
    return commands


def test_the_same_command_starts_anew_once(started):
    backend.keep_memory()
    assert started == [(sys.executable, [sys.executable, "-m", "train", "digits"])]
    backend.keep_memory()  # as the new process does
    assert len(started) == 1


def test_a_users_own_setting_stays(started, monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0")
    backend.keep_memory()
    assert not started
    assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=0"


@pytest.mark.parametrize(("libc", "gpu"), [("musl", False), ("", False), ("glibc", True)])
def test_nothing_starts_anew_where_it_would_change_nothing(libc, gpu, started, monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: (libc, ""))
    monkeypatch.setattr(backend, "_has_nvidia_gpu", lambda: gpu)
    backend.keep_memory()
    assert not started


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ("~/models", "/caches", "/home/me/models"),
        ("/models", None, "/models"),
        ("", "/caches", "/caches/llm-jax"),
        (None, "", "/home/me/.cache/llm-jax"),
        (None, None, "/home/me/.cache/llm-jax"),
    ],
)
def test_an_empty_variable_is_as_one_not_set_and_a_tilde_is_home(ours, theirs, expected, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    for name, value in (("LLM_JAX_CACHE", ours), ("XDG_CACHE_HOME", theirs)):
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    assert backend.cache_folder() == Path(expected)


CHILD = """
import resource, sys, threading
from llm_jax import backend
if sys.argv[1] == "keeping": backend.keep_memory()
backend.configure()
import jax, jax.numpy as jnp
step = jax.jit(lambda x: jnp.dot(x + 1, x.T))  # 64 MB of scratch, however it is compiled
x = jnp.ones((8, 2 * 2**20))
def steps():  # in a thread of its own, as XLA's are: glibc gives those arenas of their own, if it may
    for _ in range(2): step(x).block_until_ready()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3): step(x).block_until_ready()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
thread = threading.Thread(target=steps)
thread.start()
thread.join()
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or backend._has_nvidia_gpu(), reason="glibc on a CPU is asked for"
)
def test_a_step_fetches_no_memory_from_the_system():
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    faults = {
        kind: int(subprocess.check_output([sys.executable, "-c", CHILD, kind], env=environment, text=True))
        for kind in ("keeping", "plain")
    }
    assert faults["plain"] >= 3 * 64 / 2  # pages of 2 MB at most, else the test shows nothing
    assert faults["keeping"] < min(faults["plain"], 1000)  # at most 4 MB in small pages, of the 192 that passed through


def test_freed_memory_is_given_back_after_growth_and_not_before(monkeypatch):
    """A process of 100 bytes that lives on, with what is freed and kept; every release leaves the 100."""
    size, released = [100], []

    def release() -> None:
        released.append(size[0])
        size[0] = 100

    monkeypatch.setattr(backend, "resident", lambda: size[0])
    monkeypatch.setattr(backend, "release_memory", release)
    kept = backend.KeptMemory()
    kept.hold(50)
    for grown in (120, 150, 151, 149, 150, 400):
        size[0] = grown
        kept.hold(50)
    assert released == [100, 151, 400]
    size[0] = 60  # something that lived on is gone
    kept.hold(50)
    size[0] = 111
    kept.hold(50)
    assert released == [100, 151, 400, 111]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not say")
def test_what_is_resident_is_what_the_system_counts():
    before = backend.resident()
    held = bytearray(64 * 2**20)
    held[:: 2**10] = b"x" * (64 * 2**10)
    assert 0.9 < (backend.resident() - before) / 2**26 < 1.3
