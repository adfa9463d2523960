"""Train a network of two layers on handwritten digits; you choose the engine that computes its gradients.

The engines are derivatives by hand in NumPy, our own autodiff, JAX with optax, and PyTorch. From the same initial
weights and the same batches, all four take the same steps. Plots and metrics are written to RUNS/RUN.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from llm_jax.runs import LOSS_PLOT, SUMMARY, TENSORBOARD
from train.first_principles.digits.config import DigitsConfig

if TYPE_CHECKING:
    from train.first_principles.digits.data import Digits
    from train.first_principles.digits.network import Parameters


@dataclass(frozen=True)
class Options:
    engine: Literal["numpy", "autodiff", "jax", "torch", "all"] = "numpy"
    """The engine that computes the gradients. all: trains with each, and prints by how much their losses differ."""
    data: str = "embedded"
    """embedded (8×8 digits), mnist (downloaded once), or a folder of idx files."""
    config: Annotated[DigitsConfig, tyro.conf.arg(name="")] = field(default_factory=DigitsConfig)
    run: str = "digits"
    """Name of the run; its folder is RUNS/RUN. A finished run replaces an older one of that name."""
    runs: Path = Path("runs")
    """Folder of all runs."""


def main(options: Options) -> int:
    from llm_jax import backend

    backend.configure()
    import numpy as np

    from llm_jax.files.json_files import write_json
    from train.first_principles.digits import data as digits_data
    from train.first_principles.digits.engines import ENGINES, require
    from train.record.replace import replace_run

    require(options.engine)
    digits = digits_data.load(options.data)
    print(
        f"{digits.source}: {len(digits.train_BD):,} images for training, {len(digits.validation_BD):,} for "
        f"validation, {len(digits.test_BD):,} for the test"
    )
    with replace_run(options.runs, options.run, "digits") as folder:
        if options.engine != "all":
            parameters, _ = train(options.engine, options.config, digits, folder)
        else:
            trained = {engine: train(engine, options.config, digits, folder) for engine in ENGINES}
            parameters, reference = trained["numpy"]
            for engine, (_, losses) in trained.items():
                apart = np.abs(np.subtract(losses, reference))
                print(f"{engine:<8}  losses differ from numpy's by at most {apart.max():.1e} over {len(apart):,} steps")
        tested = test(folder, options.run, parameters, digits)
        summary = {"command": "digits", "engine": options.engine, "data": digits.source, **asdict(options.config)}
        write_json(folder / SUMMARY, summary | tested)
    names = ", ".join(sorted(path.name for path in (options.runs / options.run).iterdir() if path.is_file()))
    print(f"{options.runs / options.run}: {names}")
    return 0


def train(engine: str, config: DigitsConfig, digits: "Digits", folder: Path) -> tuple["Parameters", list[float]]:
    """Trains with one engine, validates after every epoch and writes the metrics.

    Returns:
        The parameters, and the loss of every step.

    Raises:
        ValueError: the training diverges; names the step and the learning rate.
    """
    import shutil
    import time

    import numpy as np

    from train.first_principles.digits import network
    from train.first_principles.digits.engines import ENGINES
    from train.record.metrics import Metrics

    steps_per_epoch = config.steps_per_epoch(len(digits.train_BD))
    total = config.epochs * steps_per_epoch
    rate = network.falling_rate(config, total)
    start = network.initial_parameters(config, digits.train_BD.shape[1])
    updates = ENGINES[engine](start, network.batches(config, digits), rate, config.weight_decay)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / TENSORBOARD, ignore_errors=True)
    losses: list[float] = []
    parameters, begun = start, time.monotonic()
    # `refuse_divergence` reports an overflow with its step; NumPy's warnings would come first and name none.
    with Metrics(folder) as metrics, np.errstate(over="ignore", invalid="ignore"):
        for step, (loss, parameters) in enumerate(updates, start=1):
            network.refuse_divergence(loss, step, config)
            losses.append(loss)
            line = {"step": step, "seconds": time.monotonic() - begun, "train_loss": loss, "lr": rate(step - 1)}
            if step % steps_per_epoch == 0:
                epoch = step // steps_per_epoch
                line["val_loss"], p_BV = network.measure(parameters, digits.validation_BD, digits.validation_labels_B)
                right = np.mean(p_BV.argmax(axis=1) == digits.validation_labels_B)
                if epoch % max(1, config.epochs // 10) == 0 or epoch == config.epochs:
                    mean = np.mean(losses[-steps_per_epoch:])
                    print(
                        f"{engine:<8}  epoch {epoch:>3}/{config.epochs}  loss {mean:.4f}  "
                        f"validation loss {line['val_loss']:.4f}  {right:.2%} right",
                        flush=True,
                    )
            metrics.write(line)
    return parameters, losses


def test(folder: Path, title: str, parameters: "Parameters", digits: "Digits") -> dict[str, float]:
    """Tests once, at the end, and draws four plots: loss, confusion matrix, worst mistakes, weights of layer 1."""
    import numpy as np

    from train.first_principles.digits import plots as digits_plots
    from train.first_principles.digits.network import measure
    from train.record import metrics, plots

    labels_B = digits.test_labels_B
    loss, p_BV = measure(parameters, digits.test_BD, labels_B)
    right = float(np.mean(p_BV.argmax(axis=1) == labels_B))
    print(f"test loss {loss:.4f}  {right:.2%} right")
    plots.draw_loss(
        folder / LOSS_PLOT, list(metrics.read(folder)), title, x="step", x_label="step", unit="nats per image"
    )
    digits_plots.draw_confusion(folder / "confusion.png", digits_plots.confusion(labels_B, p_BV))
    digits_plots.draw_mistakes(folder / "mistakes.png", digits.pictures(digits.test_BD), labels_B, p_BV)
    digits_plots.draw_weights(folder / "weights.png", parameters["w1_DF"], parameters["w2_FV"], digits.rows)
    return {"test_loss": loss, "test_right": right}
