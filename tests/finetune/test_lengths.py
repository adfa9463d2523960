"""Programs for batches of a few lengths: compiled once each, waited for where memory asks for it and nowhere else."""

from types import SimpleNamespace

import numpy as np
import pytest

from train.finetune.lengths import OfEveryLength


class Results:
    """What a program returns at once, while it is still computed."""

    def __init__(self) -> None:
        self.is_waited_for = False

    def block_until_ready(self) -> None:
        self.is_waited_for = True


class Jitted:
    """Counts what is compiled."""

    def __init__(self) -> None:
        self.compiled: list[tuple[int, ...]] = []

    def lower(self, *args):
        self.compiled.append(args[2].tokens_BT.shape)
        return self

    def compile(self):
        return Program()

    def clear_cache(self) -> None:
        pass


class Program:
    def __call__(self, *args) -> Results:
        return Results()

    def memory_analysis(self):
        return SimpleNamespace(temp_size_in_bytes=1)


def batch(length: int):
    return SimpleNamespace(tokens_BT=np.zeros((2, length), np.int32))


def test_each_length_is_compiled_once():
    jitted = Jitted()
    programs = OfEveryLength(jitted, "cpu")
    for length in (8, 16, 8, 16, 8):
        programs(None, None, batch(length))
    assert jitted.compiled == [(2, 8), (2, 16)]


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_a_step_is_begun_and_not_waited_for_so_that_its_own_time_is_measured(platform):
    """The loop measures a step after it has begun the next one: a step that waited would give its time to another."""
    programs = OfEveryLength(Jitted(), platform)
    assert not programs.begun(None, None, batch(8)).is_waited_for
    assert programs(None, None, batch(8)).is_waited_for == (platform == "cpu")
