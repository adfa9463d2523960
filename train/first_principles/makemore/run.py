"""One run of makemore: read, count or train, measure, make new lines, leave everything in the run's folder."""

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from llm_jax.files import write
from llm_jax.files.json_files import write_json
from llm_jax.runs import LOSS_PLOT, SAMPLES, SUMMARY
from train.first_principles.makemore import by_hand, counting, diagnostics, models, pictures, sampling, training
from train.first_principles.makemore.config import MakemoreConfig
from train.first_principles.makemore.dataset import lines
from train.first_principles.makemore.dataset.examples import Examples
from train.first_principles.makemore.dataset.lines import Lines
from train.first_principles.makemore.diagnostics import Inside
from train.first_principles.makemore.recipes import adjusted
from train.first_principles.makemore.sampling import Predictor
from train.record import metrics, plots
from train.record.progress import print_table
from train.record.replace import replace_run

MEASUREMENTS = 40  # of the dev loss in a run
CURVE_EXAMPLES = 8192  # of the dev split, for the curve; the losses at the end are over all of it
LOOKED_AT = 1024  # examples
SURPRISE = 0.5  # nats above guessing, from which on an initialisation is called wrong
DIAGNOSTICS = "diagnostics.png"


def run(options: MakemoreConfig) -> int:
    started = time.monotonic()
    console = Console(highlight=False, soft_wrap=True)
    data = lines.read(options.data, options.split)
    prompt = sampling.encode_prompt(data.alphabet, options.prompt, data.longest)
    name = options.run or f"makemore-{options.model}"
    with replace_run(options.runs, name, "makemore") as folder:
        summary, predict = _count(options, data) if options.is_counted else _train(options, data, folder)
        made = sampling.sample(predict, prompt, options.samples, data.longest, options.temperature, options.seed)
        texts = [data.alphabet.decode(ids) for ids in made]
        write(folder / SAMPLES, "".join(f"{text}\n" for text in texts))
        summary = {
            "command": "makemore",
            "model": options.model,
            "data": data.source,
            "split": options.split,
            **summary,
            "seconds": round(time.monotonic() - started, 1),
        }
        write_json(folder / SUMMARY, summary)
    known = {line.tobytes() for line in data.splits["train"]}
    is_new = [np.array(ids, np.int32).tobytes() not in known for ids in made]
    _show(console, options.runs / name, summary, texts, is_new)
    return 0


def _count(options: MakemoreConfig, data: Lines) -> tuple[dict[str, Any], Predictor]:
    order = 2 if options.model == "bigram" else options.order or counting.ORDER
    smoothing = counting.SMOOTHING if options.smoothing is None else options.smoothing
    counted = counting.fit(data, order, smoothing)
    rows = [("model", f"{order}-gram counts, {smoothing:g} added to each"), ("data", _describe(data))]
    print_table("makemore", rows)
    # JSON has no infinity: a loss that is infinite, for want of smoothing, is null.
    losses = {name: loss if math.isfinite(loss) else None for name, loss in counted.losses.items()}
    return {"order": order, "smoothing": smoothing, "losses": losses}, counted.log_probabilities


def _train(options: MakemoreConfig, data: Lines, folder: Path) -> tuple[dict[str, Any], Predictor]:
    recipe, config = adjusted(options, data)
    model = models.build(config, data.longest)
    examples = {name: model.examples(part) for name, part in data.splits.items()}
    params = model.init(jax.random.key(options.seed))
    n_parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    batch = Examples(*(array[:LOOKED_AT] for array in examples["train"]))
    looks = [("at initialisation", diagnostics.look(model, params, batch))]
    _announce(model, recipe, data, n_parameters, looks[0][1])
    params, record = _follow(model, recipe, params, examples, folder, options)
    looks.append((f"after {recipe.steps:,} steps", diagnostics.look(model, params, batch)))
    params = training.calibrated(model, params, examples["train"])
    losses = {name: training.evaluate(model, params, part) for name, part in examples.items()}
    steps, train_losses, ratios = record
    pictures.draw_inside(folder / DIAGNOSTICS, looks, ratios, steps, train_losses, data.vocab_size)
    plots.draw_loss(
        folder / LOSS_PLOT,
        list(metrics.read(folder)),
        f"{options.model} on {data.source}",
        x_label="characters seen",
        unit="nats per character",
    )
    summary = {
        "parameters": n_parameters,
        "steps": recipe.steps,
        "batch_size": recipe.batch_size,
        "optimizer": dataclasses.asdict(recipe.optimizer),
        "dropout": recipe.dropout,
        "gradients": options.gradients,
        "loss_at_initialisation": looks[0][1].loss,
        "loss_of_guessing": math.log(data.vocab_size),
        "losses": losses,
        "dead_units": {name: diagnostics.dead_units(a) for name, a in diagnostics.squashed(looks[-1][1]).items()},
    }
    return summary, sampling.neural(model, params)


Record = tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]  # steps, training losses, update ratios, once a chunk


def _follow(
    model: models.Model,
    recipe: training.Recipe,
    params: Any,
    examples: dict[str, Examples],
    folder: Path,
    options: MakemoreConfig,
) -> tuple[Any, Record]:
    """Trains, and says and records every so often how it goes."""
    gradients = by_hand.gradients if options.gradients == "by-hand" else None
    chunk = max(1, recipe.steps // MEASUREMENTS)
    curve = Examples(*(array[:CURVE_EXAMPLES] for array in examples["dev"]))
    predictions = examples["train"].predictions / len(examples["train"].inputs) * recipe.batch_size  # per step
    began = time.monotonic()
    steps, losses, ratios = [], [], []
    with metrics.Metrics(folder) as record:
        for done, trained, measured in training.train(model, recipe, params, examples["train"], chunk, gradients):
            params = trained
            dev = training.evaluate(model, training.calibrated(model, params, examples["train"]), curve)
            seconds = time.monotonic() - began
            loss = float(measured.loss_S.mean())
            rate = recipe.rate(done - 1)
            record.write(
                {
                    "step": done,
                    "tokens": round(done * predictions),
                    "seconds": round(seconds, 3),
                    "train_loss": loss,
                    "val_loss": dev,
                    "lr": rate,
                    "grad_norm": float(measured.grad_norm_S.mean()),
                    "tokens_per_second": round(done * predictions / seconds, 1),
                }
            )
            steps.append(done - (len(measured.loss_S) - 1) / 2)  # the middle of what the means are over
            losses.append(loss)
            ratios.append({name: float(values.mean()) for name, values in measured.update_ratios.items()})
            if len(steps) % 4 == 0 or done == recipe.steps:
                left = seconds / done * (recipe.steps - done)
                numbers = f"loss {loss:.4f}  dev {dev:.4f}  lr {rate:.2e}  left {left:.0f} s"
                print(f"step {done:>7,}/{recipe.steps:,}  {numbers}", flush=True)
    by_name = {name: np.array([ratio[name] for ratio in ratios]) for name in ratios[0]}
    return params, (np.array(steps), np.array(losses), by_name)


def _announce(model: models.Model, recipe: training.Recipe, data: Lines, n_parameters: int, start: Inside) -> None:
    reads = f"window of {model.length} characters" if model.reads == "windows" else "whole lines"
    what = "windows" if model.reads == "windows" else "lines"
    guess = math.log(data.vocab_size)
    verdict = "as good as that" if start.loss < guess + SURPRISE else "confidently wrong: see --initialisation"
    rows = [
        ("model", f"{n_parameters:,} parameters · {reads}"),
        ("data", _describe(data)),
        ("training", f"{recipe.steps:,} steps of {recipe.batch_size} {what} · {recipe.optimizer.optimizer}"),
        ("first loss", f"{start.loss:.4f}, guessing would be ln {data.vocab_size} = {guess:.4f}: {verdict}"),
    ]
    for name, activation in diagnostics.squashed(start).items():
        dead, units = diagnostics.dead_units(activation), activation.shape[-1]
        rows.append((name, f"{diagnostics.saturation(activation):.1%} saturated, {dead} of {units} units dead"))
    print_table("makemore", rows)


def _describe(data: Lines) -> str:
    sizes = " / ".join(f"{sum(len(line) + 1 for line in part):,}" for part in data.splits.values())
    return f"{data.source} · {len(data.all):,} lines · train/dev/test {sizes} characters, {data.vocab_size} different"


def _show(console: Console, folder: Path, summary: dict[str, Any], texts: list[str], is_new: list[bool]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("lines", "nats per character", "as uncertain as"):
        table.add_column(heading, justify="left" if heading == "lines" else "right")
    for name, loss in summary["losses"].items():
        label = "all, unsmoothed, on themselves" if name == "all" else name
        shown = (f"{loss:.6f}", f"{math.exp(loss):.2f} characters") if loss is not None else ("infinite", "")
        table.add_row(label, *shown)
    console.print(table)
    if texts:
        console.print(f"\nmade ({sum(is_new)} of {len(texts)} are not in the training lines):")
        for text in texts:
            console.print(f"  {text}", markup=False)
    console.print(f"\nlook at {', '.join(str(file) for file in sorted(folder.iterdir()) if file.is_file())}")
