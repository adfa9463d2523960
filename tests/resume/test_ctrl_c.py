"""Ctrl-C at any instant of a real run: one press saves and leaves with status 75, and nothing is lost."""

import random
import signal
import time

import pytest


@pytest.mark.long
def test_ctrl_c_at_any_instant_leaves_with_75_and_loses_nothing(new_run):
    run = new_run("pressed", "--steps", "100000", "--checkpoint-every", "50", "--eval-every", "50")
    draw, reached = random.Random(7), []
    for attempt in range(6):
        process = run.start()
        time.sleep(draw.uniform(0.4, 1.5) if attempt % 2 else draw.uniform(2, 6))
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 75, run.log.read_text()
        assert "Traceback" not in run.log.read_text()
        if committed := run.committed():
            reached.append(committed[-1])
            assert [line["step"] for line in run.record()] == list(range(1, len(run.record()) + 1))
    assert reached, "no attempt came to a step"
    assert reached == sorted(reached)
