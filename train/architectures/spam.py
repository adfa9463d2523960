"""A classifier of texts on top of an encoder that was trained on masked words, beside the same one from scratch.

Both have the same tokenizer, sizes, steps and labelled texts; only the first parameters differ. Few labels and many are
tried, because what reading text without labels gives is largest where labels are few. A fifth of the texts is the test.
A text that is there twice counts once, or the test would hold texts that were trained on.
"""

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from llm_jax.config import Execution
from llm_jax.hf import encoder as hf_encoder
from llm_jax.hf.encoder import SentenceModel
from llm_jax.hf.sentences import ids_of, padded
from llm_jax.kernels.plan import make_plan
from llm_jax.layers.dropout import Dropout, split
from llm_jax.layers.linear import Linear
from llm_jax.models.encoder.classifier import PooledHead, class_logits, init_head
from llm_jax.models.encoder.forward import forward
from llm_jax.models.encoder.parameters import dimension_letters, init
from train.architectures.config import ArchitecturesConfig
from train.architectures.recipes import Recipe, recipe_of
from train.architectures.start import as_encoder_decoder
from train.architectures.training import train
from train.finetune.data.config import DataConfig
from train.finetune.data.reading.read import Reader, tables
from train.finetune.data.reading.records import LabelledText
from train.record.intervals import interval

LENGTH = 64  # tokens of a text; longer ones are cut
LABELS = (50, 200, 1000)  # labelled texts in training
TEST_SHARE = 5  # one text of so many
STARTS = ("from scratch", "masked words first")
ROWS = 256  # texts classified at once


class Texts(NamedTuple):
    """Labelled texts, as ids."""

    tokens_NT: np.ndarray
    is_token_NT: np.ndarray
    label_N: np.ndarray


def run(options: ArchitecturesConfig, folder: Path) -> dict[str, Any]:
    """Trains every classifier and measures it. Returns the summary."""
    del folder  # summary.json holds everything
    assert options.data is not None
    assert options.encoder is not None
    started, recipe = time.monotonic(), recipe_of(options)
    model = hf_encoder.load(options.encoder)
    labels, texts, n_repeated = read(options.data)
    names = sorted(set(labels))
    tokens_NT, is_token_NT = padded(ids_of(dataclasses.replace(model, most_tokens=LENGTH), texts), LENGTH, len(texts))
    every = Texts(tokens_NT, is_token_NT, np.array([names.index(label) for label in labels], np.int32))
    rare = int(np.bincount(every.label_N).argmin())
    counts = (8, 16) if options.quick else tuple(n for n in LABELS if n < len(texts) // 2) or (len(texts) // 2,)
    n_seeds = options.seeds or (1 if options.quick else 3)
    if n_repeated:
        print(f"{options.data.name}: {n_repeated:,} texts were there before and are left out", flush=True)
    print(
        f"{options.data.name}: {len(texts):,} texts, {', '.join(f'{labels.count(n):,} {n}' for n in names)}; encoder "
        f"{options.encoder}, {n_seeds} seeds, {recipe.steps:,} steps of {recipe.batch} texts",
        flush=True,
    )
    results: dict[str, dict[str, dict[str, Any]]] = {}
    for n_labels in counts:
        for start in STARTS:
            scores = []
            for seed in range(options.seed, options.seed + n_seeds):
                scores.append(_one(model, every, len(names), rare, n_labels, start, recipe, seed))
            accuracy, f1 = (interval([score[i] for score in scores]) for i in range(2))
            results.setdefault(str(n_labels), {})[start] = {"accuracy": accuracy._asdict(), "f1": f1._asdict()}
            print(f"{n_labels:>6,} labels, {start}: accuracy {accuracy}, F1 of {names[rare]!r} {f1}", flush=True)
    return {
        "data": options.data.name,
        "texts": len(texts),
        "repeated_texts_left_out": n_repeated,
        "encoder": str(options.encoder),
        "recipe": dataclasses.asdict(recipe),
        "accuracy_of_the_commonest_class": float(np.bincount(every.label_N).max() / len(texts)),
        "rare_class": names[rare],
        "by_labels": results,
        "seeds": n_seeds,
        "seconds": round(time.monotonic() - started, 1),
    }


def read(path: Path) -> tuple[list[str], list[str], int]:
    """Labels and texts of a table `label TAB text`, or of anything that `train finetune` takes as labelled texts.

    The third value counts texts that were there before, which are left out.

    Raises:
        OSError, ValueError: the file cannot be read, a row is wrong, or there is too little of it.
    """
    config = DataConfig(files=(str(path),), kind="labelled", header=("label", "text"))
    found = [record for _, record in Reader(config).records(tables(config)) if isinstance(record, LabelledText)]
    if found and (str(found[0].label).lower(), found[0].text.lower()) == ("label", "text"):
        found = found[1:]  # the table's first line names its columns
    first = {one.text: str(one.label) for one in reversed(found)}
    distinct = list(dict.fromkeys(one.text for one in found))
    labels, texts, n_repeated = [first[text] for text in distinct], distinct, len(found) - len(distinct)
    if not 2 <= len(set(labels)) <= 100 or len(texts) < 40:
        raise ValueError(
            f"{path} has {len(texts)} different texts of {len(set(labels))} classes; expected at least 40, of 2 to 100"
        )
    return labels, texts, n_repeated


def _one(
    model: SentenceModel,
    every: Texts,
    n_classes: int,
    rare: int,
    n_labels: int,
    start: str,
    recipe: Recipe,
    seed: int,
) -> tuple[float, float]:
    """Accuracy, and F1 of the rare class, of one classifier."""
    config, plan = dataclasses.replace(model.config, has_masked_head=False), make_plan(Execution(dtype="float32"))
    order = np.random.default_rng(seed).permutation(len(every.label_N))
    n_test = len(order) // TEST_SHARE
    test, chosen = (Texts(*(x[rows] for x in every)) for rows in (order[:n_test], order[n_test : n_test + n_labels]))
    at_model, at_head = jax.random.split(jax.random.key(seed))
    fresh = as_encoder_decoder(init(at_model, config), dimension_letters(config), config)
    encoder = fresh if start == STARTS[0] else dataclasses.replace(model.params, masked_head=None)
    params: Any = (encoder, init_head(at_head, config.d_model, n_classes))

    def logits(params: Any, texts: Any, noise: Dropout | None = None) -> Any:
        inside, before_head = split(noise, 2)
        hidden_BTD = forward(params[0], texts.tokens_NT, texts.is_token_NT, config, plan, noise=inside)
        return class_logits(params[1], hidden_BTD, texts.is_token_NT, plan, "mean", before_head)

    def loss(params: Any, texts: Any, key: Any) -> Any:
        noise = Dropout(key, recipe.dropout) if recipe.dropout else None
        log_p_BC = jax.nn.log_softmax(logits(params, texts, noise))
        right_B = jnp.take_along_axis(log_p_BC, texts.label_N[:, None], axis=-1)
        return -right_B.sum(), jnp.float32(len(right_B))

    head: Any = PooledHead(dense=Linear(*_named("DD", "D")), out=Linear(*_named("DC", "C")))
    course = train(
        loss, params, (dimension_letters(config), head), _batches(chosen, recipe.batch, seed), recipe.optimizer,
        recipe.schedule, recipe.steps, recipe.measure_every, seed,
    )  # fmt: skip
    for now, _ in course:
        params = now
    predict = jax.jit(lambda params, texts: logits(params, texts).argmax(axis=-1))
    found = np.concatenate([np.asarray(predict(params, part)) for part in _whole(test)])[:n_test]
    is_found, is_rare = found == rare, test.label_N == rare
    f1 = 2 * (is_found & is_rare).sum() / max(1, is_found.sum() + is_rare.sum())
    return float((found == test.label_N).mean()), float(f1)


def _named(*letters: str) -> Any:
    return letters


def _batches(texts: Texts, batch: int, seed: int) -> Iterator[Texts]:
    rng = np.random.default_rng(seed)
    while True:
        rows = rng.choice(len(texts.label_N), batch, replace=len(texts.label_N) < batch)
        yield Texts(*(x[rows] for x in texts))


def _whole(texts: Texts) -> Iterator[Texts]:
    """Parts of ROWS texts; the last one is filled with its first text."""
    for start in range(0, len(texts.label_N), ROWS):
        part = [x[start : start + ROWS] for x in texts]
        yield Texts(*(np.concatenate([x, np.repeat(x[:1], ROWS - len(x), axis=0)]) for x in part))
