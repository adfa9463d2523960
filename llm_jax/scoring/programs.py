"""Runs a program that a model wrote, with limits and without network, and says whether it ran to its end.

The program runs in a process of its own: a limit of time, of memory and of written bytes; an empty environment; an
empty folder that is deleted afterwards. On Linux the process gets an empty network of its own (unshare(2));
everywhere, Python refuses to open sockets. A program that ends early has not passed: models do write `exit(0)` before
the tests.

This limits the harm of a model's mistakes. It is not a sandbox against attacks: the program may read your files. Run
what you do not trust at all in a container or a virtual machine.
"""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from typing import NamedTuple

WRITTEN = 1 << 20  # bytes that a file may have

# Runs before the program. The last line is written only if the program ran to its end.
BOOT = """
import ctypes, os, sys
token, text = sys.stdin.readline(), sys.stdin.read()
out = os.dup(1)
sys.stdout = sys.stderr = open(os.devnull, "w")
try:
    library = ctypes.CDLL(None)
    # A network of its own; where one is no administrator, in user rights of its own.
    library.unshare(0x40000000) == 0 or library.unshare(0x50000000)
except (OSError, AttributeError):
    pass
def refuse(event, arguments):
    if event.startswith("socket."):
        raise PermissionError("this program has no network")
sys.addaudithook(refuse)
exec(compile(text, "program", "exec"), {"__name__": "__main__"})
os.write(out, token.encode())
"""


class Outcome(NamedTuple):
    """How a program ended."""

    passed: bool
    reason: str  # passed, failed, or too long


def run(program: str, seconds: int | float = 3, megabytes: int = 512) -> Outcome:
    """Runs the program; it passes if it raises nothing, ends in time, and reaches its last line.

    >>> run("assert 1 + 1 == 2"), run("assert 1 + 1 == 3")
    (Outcome(passed=True, reason='passed'), Outcome(passed=False, reason='failed'))
    """
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", BOOT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={},
            start_new_session=True,
        )
        _limit(process.pid, seconds, megabytes)
        try:
            said, _ = process.communicate(f"{token}\n{program}".encode(errors="replace"), timeout=seconds)
        except subprocess.TimeoutExpired:
            return Outcome(False, "too long")
        finally:
            _end(process)
    passed = process.returncode == 0 and said.strip() == token.encode()
    return Outcome(passed, "passed" if passed else "failed")


def _limit(pid: int, seconds: int | float, megabytes: int) -> None:
    """Sets limits of the process while it waits for its program. Only Linux can set them from outside."""
    import resource

    limits = {
        resource.RLIMIT_AS: megabytes << 20,
        resource.RLIMIT_CPU: int(seconds) + 1,
        resource.RLIMIT_FSIZE: WRITTEN,
        resource.RLIMIT_CORE: 0,
    }
    if hasattr(resource, "prlimit"):
        for kind, most in limits.items():
            resource.prlimit(pid, kind, (most, most))


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ends the process and all that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.communicate()
