"""Fifty times SIGKILL, in start-up, in training and in the middle of saves, and not a bit is lost.

A GPT-2 fifty times, a Llama and a run of LoRA ten. The run saves every fifth step. After each kill it is started again,
and must go on from the newest committed step. At the end its state and its metrics must be those of a run that was
never killed.
"""

import random
import re
import signal
import time

import numpy as np
import pytest
from small_runs import LLAMA_FLAGS

SAVE_EVERY, STEPS_A_KILL = 5, 18
FLAGS = f"--checkpoint-every {SAVE_EVERY} --eval-every 60".split()


class Storm:
    """Starts a run again and again and kills it at instants drawn from a seeded generator."""

    def __init__(self, run, seed: int) -> None:
        self.run, self.random = run, random.Random(seed)
        self.start_up = 10.0  # seconds from start to the first step, until it has been measured
        self.killed_in_save = 0

    def strike(self, during: str) -> None:
        """One life: start, wait for the instant, kill; checks where the life began and what it left."""
        before = max(self.run.committed(), default=0)
        started = time.monotonic()
        process = self.run.start()
        try:
            if during == "start-up":
                time.sleep(self.random.uniform(0, self.start_up))
            else:
                self._wait(process, lambda: max(self.run.committed(), default=0) > before)
                self.start_up = time.monotonic() - started
                goal = before + SAVE_EVERY * self.random.randint(1, 2)
                self._wait(process, lambda: max(self.run.committed()) >= goal)
                if during == "save":
                    self._wait(process, self._is_saving)
                    time.sleep(self.random.uniform(0, 0.03))
                else:
                    time.sleep(self.random.uniform(0, 0.2))
        finally:
            process.kill()
        assert process.wait() == -signal.SIGKILL, self.run.log.read_text()
        self.killed_in_save += self._is_saving()
        self._check(before)

    def _check(self, before: int) -> None:
        assert max(self.run.committed(), default=0) >= before
        log = self.run.log.read_text()
        went_on_from = re.findall(r"resume: from step (\d+)", log)
        assert went_on_from in ([], [str(before)]), log  # none if it was killed before it came so far
        assert "damaged" not in log

    def _is_saving(self) -> bool:
        return any((self.run.folder / "checkpoints").glob(".partial-*"))

    def _wait(self, process, condition) -> None:
        while not condition():
            assert process.poll() is None, self.run.log.read_text()
            time.sleep(0.001)


@pytest.mark.storm
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("kills", "kind", "shape"),
    [(50, "new_run", ""), (10, "new_run", LLAMA_FLAGS), (10, "new_tuning", "")],
    ids=["gpt2", "llama", "lora"],
)
def test_a_run_killed_many_times_ends_bit_equal_to_one_that_was_never_killed(kills, kind, shape, request):
    steps, new = kills * STEPS_A_KILL, request.getfixturevalue(kind)
    flags = [*FLAGS, "--steps", str(steps), *shape.split()]
    whole = new("whole", *flags)
    whole.finish()
    killed = new("killed", *flags)
    storm = Storm(killed, seed=0)
    for life in range(kills):
        storm.strike(("training", "save", "save", "training", "start-up")[life % 5])
    assert storm.killed_in_save >= kills // 5
    committed = max(killed.committed())
    log = killed.finish()
    assert f"resume: from step {committed}, same devices: bit-equal" in log

    assert [line["step"] for line in killed.record()] == list(range(1, steps + 1))
    assert killed.record() == whole.record()
    for found, expected in zip(killed.state(), whole.state(), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert not list((killed.folder / "checkpoints").glob(".*"))
