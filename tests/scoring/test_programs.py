"""A program that a model wrote: it passes only if it reaches its end, within its limits, and without network."""

import socket
import subprocess
import sys
import time

import pytest

from llm_jax.scoring import programs


def test_a_program_passes_if_it_reaches_its_end():
    assert programs.run("def f(x):\n    return x + 1\nassert f(1) == 2\nprint('text')\n") == (True, "passed")


@pytest.mark.parametrize(
    "program",
    [
        "assert 1 == 2",
        "def f(:",
        "import sys; sys.exit(0)",
        "import os; os._exit(0)",
        "raise KeyboardInterrupt",
        "print('0' * 40); exit()",
        "x = bytearray(4 << 30)",
        "open('file', 'wb').write(bytes(8 << 20))",
        "import os; os.kill(os.getpid(), 9)",
    ],
)
def test_a_program_that_fails_leaves_early_or_takes_too_much_does_not_pass(program):
    assert programs.run(program) == (False, "failed")


def test_an_endless_program_is_ended_with_what_it_started():
    started = time.monotonic()
    program = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'while True: pass'])\nwhile True: pass"
    assert programs.run(program, seconds=1) == (False, "too long")
    assert time.monotonic() - started < 10


def own_network() -> bool:
    """Whether this machine lets a process have a network of its own; some containers do not."""
    code = "import ctypes; u = ctypes.CDLL(None).unshare; raise SystemExit(bool(u(0x40000000) and u(0x50000000)))"
    return subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize(
    "connect",
    [
        "import socket; socket.create_connection(('127.0.0.1', {port}), 1)",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:{port}', timeout=1)",
        # Another program knows nothing of Python's hook: only the kernel keeps it from the network.
        pytest.param(
            "import subprocess, sys\nassert not subprocess.run([sys.executable, '-c', "
            "'import socket; socket.create_connection((\"127.0.0.1\", {port}), 1)']).returncode",
            marks=pytest.mark.skipif(not own_network(), reason="no namespaces here"),
        ),
    ],
)
def test_a_program_has_no_network(connect):
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert programs.run(connect.format(port=server.getsockname()[1])) == (False, "failed")
