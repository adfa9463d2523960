"""Which settings for the digits, chosen without the test images; then the test, once.

Every setting is trained on all folds but one of the images that are not for testing, and asked about that one; the
setting with the most right answers over all folds is then trained with several seeds by the rule of
`python -m train digits` and tested. Settings were looked for by such a choice alone: no test image had a say in it.

    python benchmarks/digits.py --out benchmarks/results/digits.json
    python benchmarks/digits.py --data MNIST_FOLDER --folds 10 --of 1 --weight-decays 1e-4 --shifts 0 1.75 --epochs 20 \
        --seeds 3 --out benchmarks/results/digits.json
"""

import itertools
import json
import platform
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from measuring import save
from rich.console import Console
from rich.table import Table

from train.first_principles.digits import data as digits_data
from train.first_principles.digits import network as digits_network
from train.first_principles.digits.config import DigitsConfig
from train.first_principles.digits.data import Digits
from train.first_principles.digits.engines import ENGINES


@dataclass(frozen=True)
class Options:
    data: str = "embedded"
    """embedded, mnist, or a folder of idx files."""
    learning_rates: tuple[float, ...] = (0.1, 0.3)
    weight_decays: tuple[float, ...] = (1e-4, 1e-3)
    shifts: tuple[float, ...] = (0, 0.5)
    epochs: tuple[int, ...] = (30,)
    folds: int = 5
    """Parts the images that are not for testing are cut into."""
    of: int | None = None
    """How many of the folds are asked about. Default: all."""
    seeds: int = 5
    """Of initial weights and order, for the test of the setting that was chosen."""
    out: Path | None = None
    """JSON file for the results; those of other data stay."""


def main(options: Options) -> int:
    digits = digits_data.load(options.data)
    settings = [
        DigitsConfig(learning_rate=rate, weight_decay=decay, shift=shift, epochs=epochs)
        for rate, decay, shift, epochs in itertools.product(
            options.learning_rates, options.weight_decays, options.shifts, options.epochs
        )
    ]
    begun = time.process_time()
    rows = [(setting, *validated(setting, digits, options)) for setting in settings]
    chosen, right, _ = max(rows, key=lambda row: row[1])
    tested = [accuracy(replace(chosen, seed=seed), digits, "test") for seed in range(options.seeds)]
    show(rows, chosen, tested, len(digits.test_BD))
    if options.out:
        name = Path(options.data).resolve().name  # of a folder, as of what has no folder
        result = {
            "train": len(digits.train_BD),
            "validation": len(digits.validation_BD),
            "test": len(digits.test_BD),
            "settings": [{**asdict(setting), "right": share, "images": count} for setting, share, count in rows],
            "chosen": asdict(chosen),
            "validation_right": right,
            "test_right": tested,
            "cpu_seconds": round(time.process_time() - begun, 1),
        }
        write(options.out, name, result)
    return 0


def validated(setting: DigitsConfig, digits: Digits, options: Options) -> tuple[float, int]:
    """The share of right answers over the folds, and the number of questions."""
    shares, counts = [], []
    for fold in itertools.islice(folds(digits, options.folds), options.of):
        shares.append(accuracy(setting, fold, "validation"))
        counts.append(len(fold.validation_BD))
    return float(np.average(shares, weights=counts)), sum(counts)


def folds(digits: Digits, count: int) -> Iterator[Digits]:
    """The images that are not for testing, each fold in turn the one that settings are chosen by."""
    images_BD = np.concatenate([digits.train_BD, digits.validation_BD])
    labels_B = np.concatenate([digits.train_labels_B, digits.validation_labels_B])
    parts = np.array_split(np.random.default_rng(0).permutation(len(images_BD)), count)
    for part in parts:
        rest = np.setdiff1d(np.arange(len(images_BD)), part)
        yield replace(
            digits,
            train_BD=images_BD[rest],
            train_labels_B=labels_B[rest],
            validation_BD=images_BD[part],
            validation_labels_B=labels_B[part],
        )


def accuracy(setting: DigitsConfig, digits: Digits, split: str) -> float:
    """Trains on the training images alone; the share of the split's images that is then read rightly."""
    steps = setting.epochs * setting.steps_per_epoch(len(digits.train_BD))
    start = digits_network.initial_parameters(setting, digits.train_BD.shape[1])
    rate = digits_network.falling_rate(setting, steps)
    updates = ENGINES["numpy"](start, digits_network.batches(setting, digits), rate, setting.weight_decay)
    ((_, parameters),) = deque(updates, maxlen=1)
    labels_B = getattr(digits, f"{split}_labels_B")
    _, p_BV = digits_network.measure(parameters, getattr(digits, f"{split}_BD"), labels_B)
    return float(np.mean(p_BV.argmax(axis=1) == labels_B))


def show(rows: list[tuple[DigitsConfig, float, int]], chosen: DigitsConfig, tested: list[float], images: int) -> None:
    table = Table(title="right answers", title_justify="left")
    for column in ("learning rate", "weight decay", "shift", "epochs", "validation"):
        table.add_column(column, justify="right")
    for setting, right, count in rows:
        mark = " ←" if setting == chosen else ""
        numbers = (setting.learning_rate, setting.weight_decay, setting.shift, setting.epochs)
        table.add_row(*(f"{number:g}" for number in numbers), f"{right:.2%} of {count:,}{mark}")
    Console().print(table)
    shares = ", ".join(f"{share:.2%}" for share in tested)
    print(f"test, {images:,} images, seeds 0 to {len(tested) - 1}: {shares}; mean {np.mean(tested):.2%}")


def write(out: Path, name: str, result: dict[str, Any]) -> None:
    results = json.loads(out.read_text()) if out.exists() else {}
    results["machine"] = f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}"
    results[name] = result
    save(out, results)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
