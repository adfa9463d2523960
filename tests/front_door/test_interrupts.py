"""One Ctrl-C ends a command in good order, the second at once, wherever the first one arrives."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DRIVER = """
import gc, hashlib, sys, time, types
from llm_jax.command_line import interrupts
from llm_jax.command_line import run

def slow():
    try:
        print("begun", flush=True)
        while True:
            time.sleep(0.01)
    finally:
        time.sleep(0.3)  # longer than the time after which a press is tried again
        print("tidied", flush=True)

def swallowed():
    fired = []
    def callback(*_):
        if not fired:
            fired.append(True)
            print("begun", flush=True)
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                pass
    gc.callbacks.append(callback)
    gc.collect()
    try:
        while True:
            time.sleep(0.01)
    finally:
        print("tidied", flush=True)

def in_jax():
    inside = types.ModuleType("jax.fake")
    body = "import time\\ndef compile(say):\\n say()\\n time.sleep(0.7)\\n print('compiled', flush=True)"
    exec(body, inside.__dict__)
    inside.compile(lambda: print("begun", flush=True))
    time.sleep(60)

def in_c():
    print("begun", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2 ** 31 - 1)

def steps():
    asked = []
    with interrupts.told(lambda: asked.append(True)):
        print("begun", flush=True)
        while not asked:
            time.sleep(0.01)
        print("saved", flush=True)
    return 75

def starting():
    import multiprocessing
    context = multiprocessing.get_context("spawn")
    child = context.Process(target=len, args=(bytes(10 ** 7),))  # far more than a pipe holds
    with interrupts.held():
        print("begun", flush=True)
        child.start()
    print("lost", flush=True)

def starting_and_told():
    asked = []
    with interrupts.told(lambda: asked.append(True)):
        with interrupts.held():
            print("begun", flush=True)
            time.sleep(0.5)
            print(asked)
        print(asked)
    return 75

module = types.ModuleType("driver")
module.main = lambda _: globals()[sys.argv[1]]() or 0
module.parse = lambda _: None
sys.modules["driver"] = module
sys.exit(run("driver", "", {"go": ("driver", "")}, ["go"]))
"""


def start(kind: str, ignored: bool = False) -> subprocess.Popen[str]:
    """The driver, when it has begun; SIGINT is as a terminal would have it, or ignored."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.SIG_DFL)  # a child inherits it
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, kind],
        cwd=Path(__file__).resolve().parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGINT, before)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        ("slow", 130, "tidied\n"),
        ("swallowed", 130, "tidied\n"),
        ("in_jax", 130, "compiled\n"),
        ("steps", 75, "saved\n"),
        ("starting", 130, ""),
        ("starting_and_told", 75, "[]\n[True]\n"),
    ],
)
def test_one_press_ends_the_command_in_good_order(kind, status, said):
    process = start(kind)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output) == (status, said)
    assert "Traceback (most recent call last)" not in errors or kind == "swallowed"  # Python tells of a swallowed one
    assert status != 130 or errors.endswith("interrupted\n")


def test_a_second_press_ends_even_a_call_into_c_at_once():
    process = start("in_c")
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    pressed = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - pressed < 5
    assert "interrupted" in errors


def test_sigint_that_is_ignored_stays_so():
    process = start("steps", ignored=True)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    process.kill()
    process.communicate()
