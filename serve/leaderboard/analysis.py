"""Files of choices → everything that the terminal, the JSON file and the page show."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from llm_jax.scoring.choices import rules
from llm_jax.scoring.choices.values import Choices
from serve.leaderboard import answers, noise, resampling
from serve.leaderboard.boards import CONFIDENCES, Board, Key, flips
from serve.leaderboard.config import Settings
from serve.leaderboard.subsets import ALL, aligned, groups, subsets

FORMAT = 1
TEXT, LETTERS = "answers as text", "answers as letters"
SIZES = (100, 200, 1000)  # items, for the probability that a smaller test finds the order


def analyse(entries: Sequence[Choices], settings: Settings) -> dict[str, Any]:
    """The record of all tasks. Raises ValueError where the files of a task hold other items."""
    tasks = list(dict.fromkeys(one.task for one in entries))
    return finite(
        {
            "format": FORMAT,
            "settings": {
                "bootstraps": settings.bootstraps,
                "by_group": settings.by_group,
                "confidence": settings.confidence,
                "seed": settings.seed,
            },
            "tasks": [_task([one for one in entries if one.task == task], settings) for task in tasks],
        }
    )


def _task(entries: Sequence[Choices], settings: Settings) -> dict[str, Any]:
    entries = aligned(entries, settings.common_items)
    boards = _boards(entries, settings)
    main = _main(boards)
    whole = [board for key, board in boards.items() if key.subset == ALL]
    confidences = sorted({*CONFIDENCES, settings.confidence})
    group_N = groups(entries)
    return {
        "task": entries[0].task,
        "items": len(entries[0].items),
        "groups": None if group_N is None else int(group_N.max()) + 1,
        "main": main.key._asdict(),
        "prompts": list(dict.fromkeys(key.prompt for key in boards)),
        "rules": [rule for rule in rules.RULES if any(key.rule == rule for key in boards)],
        "subsets": list(dict.fromkeys(key.subset for key in boards)),
        "lacking": _lacking(entries),
        "boards": [board.record(confidences) for board in boards.values()],
        "pairs": [{**board.key._asdict(), "pairs": board.pairs(settings.confidence)} for board in whole],
        "flips": [found for board in boards.values() if board is not main and (found := _flips(main, board))],
        "order_by_items": [_order_by_items(board, settings) for board in whole if len(board.models) > 1],
        "calibration": _calibration(entries),
        "answers": {"task": answers.positions(entries[0]), "models": _chosen(entries)},
        "best_of": _best_of(main, settings),
    }


def _boards(entries: Sequence[Choices], settings: Settings) -> dict[Key, Board]:
    """Every prompt, rule and subset; the boards of a subset share the drawn items."""
    found: dict[Key, Board] = {}
    all_groups = groups(entries)
    labelled: dict[tuple[str, str], list[tuple[str, np.ndarray]]] = {}
    for entry in entries:
        for rule in rules.RULES:
            values_N = rules.values(entry, rule)
            if not isinstance(values_N, rules.Lacking):
                rows = labelled.setdefault((entry.prompt, rule), [])
                is_there = any(model == entry.model for model, _ in rows)  # p(gold) of the text, and of the letters
                rows.append(
                    (f"{entry.model} ({LETTERS if entry.is_letters else TEXT})" if is_there else entry.model, values_N)
                )
    everything_RN = np.stack([values_N for rows in labelled.values() for _, values_N in rows])
    for subset, places in subsets(entries).items():
        group_N = None if all_groups is None else np.unique(all_groups[places], return_inverse=True)[1]
        drawn_BR = resampling.means(
            everything_RN[:, places], settings.bootstraps, settings.seed, group_N if settings.by_group else None
        )
        start = 0
        for (prompt, rule), rows in labelled.items():
            end = start + len(rows)
            key = Key(prompt, rule, subset)
            models = tuple(model for model, _ in rows)
            found[key] = Board(key, models, everything_RN[start:end, places], group_N, drawn_BR[:, start:end])
            start = end
    return found


def _main(boards: dict[Key, Board]) -> Board:
    """The board with the most models; of equals the one of the first prompt and the preferred rule."""
    whole = [board for key, board in boards.items() if key.subset == ALL and key.rule in rules.PREFERRED]
    most = max(len(board.models) for board in whole)
    largest = [board for board in whole if len(board.models) == most]
    return min(largest, key=lambda board: (board.key.prompt != largest[0].key.prompt, _preference(board)))


def _preference(board: Board) -> int:
    return rules.PREFERRED.index(board.key.rule)


def _flips(main: Board, other: Board) -> dict[str, Any] | None:
    """Where one thing is different from the main board: the prompt, the rule or the subset."""
    changes = sum(a != b for a, b in zip(main.key, other.key, strict=True))
    return flips(main, other) if changes == 1 else None


def _order_by_items(board: Board, settings: Settings) -> dict[str, Any]:
    """The probability that a test of so many items ranks the models as all items do."""
    order, n = board.order, board.values_MN.shape[1]
    found = [
        [
            size,
            resampling.probability_of_order(
                resampling.means(board.values_MN, settings.bootstraps, settings.seed, n=size),
                order,
                board.is_lower_better,
            ),
        ]
        for size in SIZES
        if size < n
    ]
    found.append([n, resampling.probability_of_order(board.means_BM, order, board.is_lower_better)])
    return {**board.key._asdict(), "probability": found}


def _lacking(entries: Sequence[Choices]) -> list[dict[str, str]]:
    """Which rule needs what that which file has not."""
    found = []
    for entry in entries:
        for rule in rules.RULES:
            if isinstance(value := rules.values(entry, rule), rules.Lacking):
                found.append({"model": entry.model, "prompt": entry.prompt, "rule": rule, "missing": value.missing})
    return found


def _scored(entries: Sequence[Choices]):
    for entry in entries:
        for rule in rules.CHOOSING:
            if not isinstance(scores_NK := rules.scores(entry, rule), rules.Lacking):
                yield entry, {"model": entry.model, "prompt": entry.prompt, "rule": rule}, scores_NK


def _calibration(entries: Sequence[Choices]) -> list[dict[str, Any]]:
    return [{**label, **answers.calibration(scores_NK, entry.gold)} for entry, label, scores_NK in _scored(entries)]


def _chosen(entries: Sequence[Choices]) -> list[dict[str, Any]]:
    return [{**label, **answers.chosen(entry, scores_NK)} for entry, label, scores_NK in _scored(entries)]


def _best_of(board: Board, settings: Settings) -> dict[str, Any]:
    """For each model: what the best of N equally good variants shows, and the places it gains."""
    means, n = board.values_MN.mean(1), board.values_MN.shape[1]
    rows = []
    for i in board.order:
        steps = sorted({*noise.STEPS, settings.variants})
        best = {str(step): noise.best_of(float(means[i]), n, step) for step in steps}
        shown = best[str(settings.variants)]
        passed = [board.models[j] for j in board.order if means[i] < means[j] < shown]
        rows.append({"model": board.models[i], "accuracy": float(means[i]), "best": best, "passes": passed})
    return {**board.key._asdict(), "variants": settings.variants, "items": n, "rows": rows}


def finite(value: Any) -> Any:
    """The value with null in place of numbers that are not finite: JSON has none."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
