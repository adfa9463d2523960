"""The items that all models of a task have, and their subsets."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from llm_jax.scoring.choices.values import Choices

ALL = "all"
FIRST = (200, 1000)  # people save time by the first items of a file
LEAST_ITEMS = 30  # of a subset
MOST_VALUES = 12  # of a property


def aligned(entries: Sequence[Choices], common_items: bool) -> list[Choices]:
    """The entries with equal items in equal order. Raises ValueError where they have other items."""
    first = entries[0]
    shared = set(first.items).intersection(*(one.items for one in entries[1:]))
    for other in entries[1:]:
        if not common_items and set(other.items) != set(first.items):
            missing = len(set(first.items) - set(other.items))
            raise ValueError(
                f"{other.source} has {len(other.items):,} items of {other.task} and {first.source} has "
                f"{len(first.items):,}, of which {missing:,} are not in the other: evaluate both on the same items, or "
                "compare those that all have with --common-items"
            )
    if len(shared) < 2:
        raise ValueError(f"the files about {first.task} share {len(shared)} items: they hold other questions")
    order = [item for item in first.items if item in shared]
    found = [_taken(one, order) for one in entries]
    for one in found[1:]:
        if (one.gold != found[0].gold).any():
            at = int(np.flatnonzero(one.gold != found[0].gold)[0])
            raise ValueError(
                f"{one.source} and {first.source} name other right answers for item {order[at][:60]}: the files are "
                "about other versions of the task"
            )
    return found


def _taken(choices: Choices, order: Sequence[str]) -> Choices:
    if choices.items == tuple(order):
        return choices
    place = {item: number for number, item in enumerate(choices.items)}
    index = np.array([place[item] for item in order])
    return replace(
        choices,
        items=tuple(order),
        gold=choices.gold[index],
        columns={name: values[index] for name, values in choices.columns.items()},
        group=None if choices.group is None else tuple(choices.group[i] for i in index),
        subsets={name: tuple(values[i] for i in index) for name, values in choices.subsets.items()},
        lengths=None if choices.lengths is None else choices.lengths[index],
    )


def groups(entries: Sequence[Choices]) -> np.ndarray | None:
    """The number of each item's group; None where no file says, or where each item is a group of its own."""
    labels = next((one.group for one in entries if one.group is not None), None)
    if labels is None:
        return None
    names, numbers = np.unique(np.array(labels), return_inverse=True)
    return numbers if 1 < len(names) < len(numbers) else None


def subsets(entries: Sequence[Choices]) -> dict[str, np.ndarray]:
    """Name → places of its items; first all of them."""
    n = len(entries[0].items)
    found = {ALL: np.arange(n)}
    properties = next((one.subsets for one in entries if one.subsets), {})
    for name, labels in properties.items():
        values = np.array(labels)
        distinct = np.unique(values)
        if 1 < len(distinct) <= MOST_VALUES:
            for value in distinct:
                found[f"{name}: {value}"] = np.flatnonzero(values == value)
    found |= {f"first {size:,}": np.arange(size) for size in FIRST if n >= 2 * size}
    return {name: places for name, places in found.items() if name == ALL or len(places) >= LEAST_ITEMS}
