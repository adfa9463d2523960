"""Every task × model × seed: trains, measures, and says what came out beside what was expected."""

import dataclasses
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from llm_jax.files import write
from llm_jax.runs import SAMPLES
from train.architectures import pairs as pair_files
from train.architectures.cloze import text_of
from train.architectures.comparison import arithmetic, figure, flops
from train.architectures.comparison.examples import Data, batches, data_of
from train.architectures.comparison.measures import left_accuracy, measure
from train.architectures.comparison.models import Model, count, model_of
from train.architectures.comparison.setting import (
    EXPECTED,
    HOW,
    LOWER_IS_BETTER,
    MINUTES,
    MODELS,
    TASKS,
    UNITS,
    ModelKind,
    Setting,
    TaskKind,
    setting_of,
)
from train.architectures.config import ArchitecturesConfig
from train.architectures.training import train
from train.optim.config import OptimizerConfig, ScheduleConfig
from train.record.intervals import interval

MOST_TEXT = 4_000_000  # characters
Results = dict[TaskKind, dict[ModelKind, dict[str, Any]]]


def run(options: ArchitecturesConfig, folder: Path) -> dict[str, Any]:
    """Trains and measures everything; writes comparison.png and samples.txt (the table). Returns the summary."""
    started = time.monotonic()
    setting = setting_of(options.minutes or MINUTES, options.seeds or (1 if options.quick else 3), options.quick)
    name, text = text_of(options, 60_000 if options.quick else MOST_TEXT)
    if options.data is not None:
        splits = pair_files.read_splits(options.data, options.dev, options.test, options.seed)
    else:
        splits = pair_files.numbers(options.seed)
    data = data_of(text, splits, setting)
    print(
        f"text: {name}; pairs: {splits.name}; {setting.flops:.2e} FLOPs a training, {setting.seeds} seeds", flush=True
    )
    for task in TASKS:
        print(f"expected, {task}: {' before '.join(EXPECTED[task])}", flush=True)
    results, left = _every(data, setting, options.seed)
    summary = {
        "text": name,
        "pairs": splits.name,
        "setting": dataclasses.asdict(setting),
        "expected": {task: list(order) for task, order in EXPECTED.items()},
        "results": results,
        "conclusions": {task: conclusion(task, results[task]) for task in TASKS},
        "decoder_with_left_context_alone": left._asdict(),
        "conversation": {
            "turns": arithmetic.EXAMPLE[0],
            "question": arithmetic.EXAMPLE[1],
            "answer": arithmetic.EXAMPLE[2],
            **arithmetic.conversation(*arithmetic.EXAMPLE)._asdict(),
        },
        "seconds": round(time.monotonic() - started, 1),
    }
    figure.draw(folder / figure.FILE, results, name, splits.name)
    write(folder / SAMPLES, table(results))
    return summary


def _every(data: Data, setting: Setting, first_seed: int) -> tuple[Results, Any]:
    """All results, and the accuracy of holes of the decoder that was trained to continue."""
    values: dict[tuple[TaskKind, ModelKind], list[float]] = {}
    left, facts = [], {}
    for seed in range(first_seed, first_seed + setting.seeds):
        for kind in MODELS:
            params: Any = None
            for task in TASKS:
                model = model_of(kind, setting, data.vocab_size(task))
                began = time.monotonic()
                if not (kind == "encoder" and task == "cloze"):  # the masked model of the task before
                    params, facts[task, kind] = _trained(model, task, data, setting, seed)
                facts.setdefault((task, kind), facts.get(("continuation", kind)))
                value = measure(model, params, task, data, setting)
                values.setdefault((task, kind), []).append(value)
                print(
                    f"seed {seed}  {kind:<15}  {task:<12}  {value:.3f} {UNITS[task]}  {time.monotonic() - began:.0f} s",
                    flush=True,
                )
                if kind == "decoder" and task == "continuation":
                    left.append(left_accuracy(model, params, data, setting))
    results: Results = {}
    for (task, kind), found in values.items():
        results.setdefault(task, {})[kind] = {
            "how": HOW[task][kind],
            "values": found,
            **interval(found)._asdict(),
            **facts[task, kind],
            "share_of_positions_with_a_loss": arithmetic.share_with_loss(kind, task, setting),
        }
    return results, interval(left)


def _trained(model: Model, task: TaskKind, data: Data, setting: Setting, seed: int) -> tuple[Any, dict[str, Any]]:
    """Parameters after the setting's FLOPs, and how many parameters, steps and FLOPs those were."""
    rows = batches(model.kind, task, data, setting, seed)
    first = next(rows)
    a_step = flops.step(model.kind, setting, data.vocab_size(task), *lengths_of(first))
    steps = max(2, round(setting.flops / a_step))
    params = model.init(seed)
    facts = {"parameters": count(params, model), "steps": steps, "flops": steps * a_step}
    optimizer = OptimizerConfig(learning_rate=setting.rate, weight_decay=0.01)
    schedule = ScheduleConfig(schedule="cosine", warmup_steps=max(1, steps // 20), final_fraction=0.0)
    for now, _ in train(model.loss, params, model.letters, rows, optimizer, schedule, steps, max(1, steps // 4), seed):
        params = now
    return params, facts


def lengths_of(batch: Any) -> tuple[int, int, int]:
    """Rows, and tokens of a row that are read and, by an encoder–decoder, written."""
    if hasattr(batch, "source_BS"):
        return *batch.source_BS.shape, batch.weights_BT.shape[1]
    return *batch.tokens_BT.shape, 0


def conclusion(task: TaskKind, found: dict[ModelKind, dict[str, Any]]) -> str:
    """The order that came out, where two neighbours cannot be told apart, and whether it was the expected one.

    Without intervals (one seed) no two can be told apart.
    """
    sign = 1 if LOWER_IS_BETTER[task] else -1
    order = sorted(found, key=lambda kind: sign * found[kind]["mean"])
    parts, has_intervals = [order[0]], all(row["half"] is not None for row in found.values())
    for better, worse in pairwise(order):
        gap = abs(found[better]["mean"] - found[worse]["mean"])
        is_clear = has_intervals and gap > found[better]["half"] + found[worse]["half"]
        parts.append(f"{'before' if is_clear else 'not clearly before'} {worse}")
    said = "as expected" if tuple(order) == EXPECTED[task] else f"expected was {' before '.join(EXPECTED[task])}"
    return f"{' '.join(parts)}{'' if has_intervals else ' (one seed: no interval)'}: {said}"


def table(results: Results) -> str:
    """One table: a line for each model, a column for each task."""
    lines = ["| model | parameters | " + " | ".join(f"{task}, {UNITS[task]}" for task in TASKS) + " |"]
    lines.append("|---" * (2 + len(TASKS)) + "|")
    for kind in MODELS:
        cells = [f"{interval(results[task][kind]['values'])}" for task in TASKS]
        lines.append(f"| {kind} | {results['continuation'][kind]['parameters']:,} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
