"""The order of events of `train vision`: a world, then each way trained and asked with every seed."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import jax

from train.first_principles.digits import data as digits
from train.vision import measure
from train.vision.config import Fusion, VisionRunConfig
from train.vision.data import composites, easy_vqa
from train.vision.data.words import words_of
from train.vision.data.world import World
from train.vision.fusion.base import Task
from train.vision.fusion.contrastive import Contrastive
from train.vision.fusion.cross import Cross
from train.vision.fusion.early import Early
from train.vision.fusion.embedded import Embedded
from train.vision.fusion.pipeline import Pipeline
from train.vision.training import Progress

EASY_VQA = "easy-vqa"
WAYS: dict[Fusion, Callable[[Task], Any]] = {
    "pipeline": Pipeline,
    "early": Early,
    "embedded": Embedded,
    "cross": Cross,
    "contrastive": Contrastive,
}
Record = dict[str, Any]


@dataclass(frozen=True)
class Trained:
    """One way of the first seed, kept to be looked at."""

    way: Any
    params: Any


def make_world(data: str, n_test: int) -> World:
    """'embedded', 'mnist' or a folder of idx files: composites of these digits; 'easy-vqa': that set.

    Raises OSError, ValueError or ImportError with a message for the user.
    """
    return easy_vqa.world(n_test) if data == EASY_VQA else composites.world(digits.load(data), n_test)


def work(
    data: str, fusions: Sequence[Fusion], config: VisionRunConfig, progress: Progress
) -> tuple[Record, dict[str, Trained]]:
    """Trains and asks every way with every seed.

    Returns:
        What is to be said, and the trained ways of the first seed.
    """
    world = make_world(data, config.test_pictures)
    task = Task(world, words_of(world), config)
    record: Record = {
        "command": "vision",
        "data": world.name,
        **asdict(config),
        "chances": dict(world.chances),
        "tests": {
            name: {
                "questions": test.question_BM.size,
                "controls": measure.controls(world, test),
                "ways": {},
            }
            for name, test in world.tests.items()
        },
        "ways": {},
    }
    ways = {fusion: WAYS[fusion](task) for fusion in dict.fromkeys(fusions)}  # a wrong setting ends it before the work
    kept = {}
    for fusion, way in ways.items():
        first = _one_way(way, record, progress)
        if fusion != "contrastive":
            kept[fusion] = first
    return record, kept


def _one_way(way: Any, record: Record, progress: Progress) -> Trained:
    """Trains one way with every seed, and adds its figures to the record."""
    config = way.task.config
    measured = _Names(way) if way.name == "contrastive" else _Answers(way)
    stages, first, begun = [], None, time.perf_counter()
    for seed in config.all_seeds:

        def said(stage: str, step: int, steps: int, loss: float, seed: int = seed) -> None:
            progress(f"{way.name}, seed {seed}: {stage}", step, steps, loss)

        params, of_seed = way.train(seed, said)
        first = first or Trained(way, params)
        stages.append(of_seed)
        measured.add(params)
    assert first is not None
    measured.write(record)
    record["ways"][way.name] = {
        "parameters": way.sizes_of(first.params),
        "flops": sum(stage["flops"] for stage in stages[0]),
        "stages": [{key: stage[key] for key in ("stage", "steps", "flops")} for stage in stages[0]],
        "losses": [[stage["losses"] for stage in of_seed] for of_seed in stages],
        "seconds": round(time.perf_counter() - begun, 1),
    }
    return first


class _Answers:
    """Accuracy of a way that answers questions, seed by seed."""

    def __init__(self, way: Any):
        self._way, self._world = way, way.task.world
        calls = {way.name: way.answer, **getattr(way, "others", {})}
        self._compiled = {name: jax.jit(call) for name, call in calls.items()}
        self._runs: dict[str, dict[str, list[dict[str, float]]]] = {}

    def add(self, params: Any) -> None:
        for test, sample in self._world.tests.items():
            asked = {name: (answer, sample) for name, answer in self._compiled.items()}
            other = measure.shuffled(sample)
            asked[f"{self._way.name}, shuffled"] = (self._compiled[self._way.name], other)
            for name, (answer, asked_about) in asked.items():
                right_BM, _ = measure.ask(answer, params, asked_about)
                of_kind = measure.by_kind(self._world, sample, right_BM)
                self._runs.setdefault(test, {}).setdefault(name, []).append(of_kind)

    def write(self, record: Record) -> None:
        for test, found in self._runs.items():
            ways = record["tests"][test]["ways"]
            ways |= {name: {"runs": runs, "summary": measure.summarised(runs)} for name, runs in found.items()}


class _Names:
    """How often contrastive training finds the words of a place, seed by seed."""

    def __init__(self, way: Contrastive):
        self._way = way
        self._runs: dict[str, list[dict[str, float]]] = {}

    def add(self, params: Any) -> None:
        for test, sample in self._way.task.world.tests.items():
            self._runs.setdefault(test, []).append(self._way.named(params, sample))

    def write(self, record: Record) -> None:
        places = [len(place) for place in self._way.task.world.places[:2]]
        record["zero_shot"] = {
            "chance": {"word 1": 1 / places[0], "word 2": 1 / places[1], "both": 1 / len(self._way.pairs_PK)},
            **{test: {"runs": runs, "summary": measure.summarised(runs)} for test, runs in self._runs.items()},
        }
