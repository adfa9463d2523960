"""Copy, reversal and words → phonemes: an encoder–decoder learns pairs and is measured by what it writes.

A word is right if every symbol of it is. After training, the best parameters seen and the mean of the last five are
compared on the dev pairs (Vaswani et al. 2017, §6.1, average checkpoints), and the better ones are measured on the test
pairs, once by greedy search and once by beam search.
"""

import dataclasses
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from llm_jax.config import Execution
from llm_jax.decode.transduce import Search, transduce
from llm_jax.files import write
from llm_jax.kernels.plan import Plan, make_plan
from llm_jax.layers.dropout import Dropout
from llm_jax.models.encoder_decoder import forward as model
from llm_jax.models.encoder_decoder.config import EncoderDecoderConfig
from llm_jax.models.encoder_decoder.parameters import EncoderDecoder, dimension_letters, init
from llm_jax.runs import LOSS_PLOT, SAMPLES
from train.architectures import pairs as data
from train.architectures.batches import Ids, batches, encoded, padded
from train.architectures.config import ArchitecturesConfig
from train.architectures.pairs import BEGIN, END, Pair, Splits, Vocabulary
from train.architectures.recipes import Recipe, recipe_of
from train.architectures.training import average, train
from train.record import metrics, plots

ROWS = 256  # sources written at once
MEASURED = 500  # dev pairs, while training
AVERAGED = 5  # last measurements
WITHOUT_ERROR = 3  # measurements in a row without a mistake, after which copy and reversal end
SHOWN = 20  # mistakes
MORE = 8  # symbols that a target may have beyond the longest of training


class Writer(NamedTuple):
    """A model that writes targets."""

    config: EncoderDecoderConfig
    plan: Plan
    vocabulary: Vocabulary
    n_new: int


def run(options: ArchitecturesConfig, folder: Path) -> dict[str, Any]:
    """Trains and measures; writes metrics, loss.png and samples.txt to `folder`. Returns the summary."""
    splits, recipe, started = splits_of(options), recipe_of(options), time.monotonic()
    vocabulary = Vocabulary.of(splits.train)
    writer = writer_for(splits.train, vocabulary, recipe)
    params: Any = init(jax.random.key(options.seed), writer.config)
    n_parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    print(
        f"{splits.name}: {len(splits.train):,} / {len(splits.dev):,} / {len(splits.test):,} pairs, {vocabulary.size} "
        f"symbols; encoder–decoder of {n_parameters:,} parameters, {recipe.steps:,} steps of {recipe.batch} pairs",
        flush=True,
    )
    params = _follow(writer, recipe, params, splits, options, folder)
    searches = {"greedy": (1, 0.0), f"beam {options.beams or 5}": (options.beams or 5, _alpha(options))}
    found, errors = {}, {}
    for name, (n_beams, alpha) in searches.items():
        found[name] = written(writer, params, splits.test, n_beams, alpha)
        errors[name] = error_of(found[name], splits.test)
    write(folder / SAMPLES, _mistakes(splits.test, found))
    return {
        "data": splits.name,
        "pairs": {name: len(getattr(splits, name)) for name in ("train", "dev", "test")},
        "parameters": n_parameters,
        "recipe": dataclasses.asdict(recipe),
        "word_error_of_test": errors,
        "targets_with_unseen_symbols": data.unseen(splits.test, vocabulary),
        "sources_trained_on": data.known_sources(splits.test, splits.train),
        "seconds": round(time.monotonic() - started, 1),
    }


def _alpha(options: ArchitecturesConfig) -> float:
    return 0.6 if options.alpha is None else options.alpha


def splits_of(options: ArchitecturesConfig) -> Splits:
    """The pairs of the options. Raises OSError or ValueError as `pairs.read_splits`."""
    if options.data is not None:
        return data.read_splits(options.data, options.dev, options.test, options.seed)
    sizes = {"n_train": 200, "n_dev": 20, "n_test": 40} if options.quick else {}
    return data.made(options.task, options.seed, **sizes)


def writer_for(pairs: list[Pair], vocabulary: Vocabulary, recipe: Recipe) -> Writer:
    """The model of a recipe, for targets somewhat longer than those of the pairs."""
    config = EncoderDecoderConfig(
        vocab_size=vocabulary.size,
        context_length=data.LONGEST + MORE,
        d_model=recipe.d_model,
        n_heads=recipe.n_heads,
        n_encoder_layers=recipe.n_layers,
        n_decoder_layers=recipe.n_layers,
        mlp_width=4 * recipe.d_model,
        norm=recipe.norm,
    )
    longest = max(len(target) for _, target in pairs)
    return Writer(config, make_plan(Execution(dtype="float32")), vocabulary, longest + MORE)


def loss_of(writer: Writer, recipe: Recipe) -> Any:
    """(parameters, PairBatch, key) → Σ loss and Σ weight."""

    def loss(params: EncoderDecoder, batch: Any, key: Any) -> Any:
        noise = Dropout(key, recipe.dropout) if recipe.dropout else None
        arrays = (jnp.asarray(one) for one in batch)
        return model.loss(
            params, *arrays, config=writer.config, plan=writer.plan, smoothing=recipe.smoothing, noise=noise
        )

    return loss


def _follow(
    writer: Writer, recipe: Recipe, params: Any, splits: Splits, options: ArchitecturesConfig, folder: Path
) -> Any:
    """Trains, says and records how it goes, and returns the parameters that are best on the dev pairs."""
    loss, letters = loss_of(writer, recipe), dimension_letters(writer.config)
    rows = batches(encoded(splits.train, writer.vocabulary), recipe.batch, options.seed)
    began, best, last, errors = time.monotonic(), (2.0, params), [], []
    with metrics.Metrics(folder) as record:
        course = train(
            loss, params, letters, rows, recipe.optimizer, recipe.schedule, recipe.steps, recipe.measure_every,
            options.seed,
        )  # fmt: skip
        for now, measured in course:
            error = error_of(written(writer, now, splits.dev[:MEASURED]), splits.dev[:MEASURED])
            best, last = min(best, (error, now), key=lambda one: one[0]), [*last[1 - AVERAGED :], now]
            errors.append(error)
            seconds = time.monotonic() - began
            record.write(
                {
                    "step": measured.step,
                    "tokens": measured.weight,
                    "seconds": round(seconds, 3),
                    "train_loss": measured.loss,
                    "val_accuracy": 1 - error,
                    "lr": measured.rate,
                    "grad_norm": measured.grad_norm,
                    "tokens_per_second": round(measured.weight / seconds, 1),
                }
            )
            left = seconds / measured.step * (recipe.steps - measured.step)
            print(
                f"step {measured.step:>6,}/{recipe.steps:,}  loss {measured.loss:.4f}  dev word error {error:.2%}  "
                f"lr {measured.rate:.2e}  left {left:.0f} s",
                flush=True,
            )
            if options.data is None and len(errors) >= WITHOUT_ERROR and not any(errors[-WITHOUT_ERROR:]):
                break  # copy and reversal: there is nothing left to learn
    plots.draw_loss(
        folder / LOSS_PLOT,
        list(metrics.read(folder)),
        splits.name,
        x_label="target symbols seen",
        unit="nats per symbol",
    )
    mean = average(last)
    of_mean, of_best = (error_of(written(writer, one, splits.dev), splits.dev) for one in (mean, best[1]))
    return mean if of_mean <= of_best else best[1]


def written(writer: Writer, params: Any, pairs: list[Pair], n_beams: int = 1, alpha: float = 0.0) -> list[Any]:
    """What the model writes for each source."""
    rows: list[Ids] = encoded([(source, ()) for source, _ in pairs], writer.vocabulary)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
    search = Search(BEGIN, END, writer.n_new, n_beams, alpha)
    found: list[Any] = [None] * len(rows)
    n_rows = min(ROWS, -(-len(rows) // 16) * 16)
    for start in range(0, len(order), n_rows):
        chosen = order[start : start + n_rows]
        width = -(-len(rows[chosen[-1]][0]) // 16) * 16  # few widths, so few programs
        some = padded([rows[i] for i in chosen] + [rows[chosen[0]]] * (n_rows - len(chosen)), width)
        result = transduce(params, some.source_BS, some.is_source_BS, writer.config, writer.plan, search)
        tokens_BG = np.asarray(result.tokens_BKG[:, 0])
        for place, row in zip(chosen, tokens_BG, strict=False):
            found[place] = writer.vocabulary.decode(row)
    return found


def error_of(found: list[Any], pairs: list[Pair]) -> float:
    """The share of pairs whose target was not written exactly."""
    return sum(one != target for one, (_, target) in zip(found, pairs, strict=True)) / len(pairs)


def _mistakes(pairs: list[Pair], found: dict[str, list[Any]]) -> str:
    lines = []
    for row, (source, target) in enumerate(pairs):
        wrong = {name: " ".join(words[row]) for name, words in found.items() if words[row] != target}
        if wrong:
            lines.append(f"{''.join(source)}: {' '.join(target)}")
            lines += [f"    {name}: {word}" for name, word in wrong.items()]
        if len(lines) > 3 * SHOWN:
            break
    return "\n".join(lines) + "\n" if lines else "no mistake among the test pairs\n"
