"""What a filter does to bits per byte: small models on all documents and on those it keeps, at equal tokens.

Each model reads the same number of bytes (its tokens are bytes, so that no tokenizer favours a side), with the same
steps and several seeds. Both sides are measured on held-out documents of both kinds: on all of them, and on those that
the filter keeps. A filter that helps only on the kind of text that it keeps did not select better text, only text
like that test. The smaller side repeats its text sooner; how often is part of the result.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from llm_jax.config import DecoderConfig, Execution
from llm_jax.models import decoder
from train.critique.documents import Document
from train.optim.config import OptimizerConfig, ScheduleConfig
from train.optim.optimizer import learning_rate, make_optimizer
from train.pretrain.step import init_state, make_eval_step, make_train_step

MODEL = DecoderConfig(vocab_size=257, context_length=128, d_model=128, n_heads=4, n_layers=2)
BORDER = 256  # before every document
ROWS = 16  # of a batch
PEAK = 2e-3
HELD_OUT = 0.1
MOST_WINDOWS = 256  # of a held-out set
Record = dict[str, Any]


def compare(documents: Sequence[Document], kept: np.ndarray, name: str, tokens: int, seeds: int, seed: int) -> Record:
    """Bits per byte of both sides on both held-out sets, for each seed, and the difference with its standard error.

    Raises:
        ValueError: one side has too little text.
    """
    order = np.random.default_rng(seed).permutation(len(documents))
    held, train = np.split(order, [max(2, round(HELD_OUT * len(order)))])
    texts = {
        "all documents": (_bytes(documents, train), _bytes(documents, held)),
        f"kept by {name}": (_bytes(documents, train[kept[train]]), _bytes(documents, held[kept[held]])),
    }
    for side, parts in texts.items():
        for text, of in zip(parts, ("training", "held-out"), strict=True):
            if len(text) < 4 * MODEL.context_length:
                raise ValueError(
                    f"--train {name}: {side} has {len(text):,} bytes of {of} text; a comparison needs at least "
                    f"{4 * MODEL.context_length:,}: give more documents, or choose another filter"
                )
    steps = max(1, tokens // (ROWS * MODEL.context_length))
    run = _trainer(steps)
    rows = []
    for number in range(seeds):
        for side, (text, _) in texts.items():
            params = run(text, seed + number)
            bits = {of: _bits(params, held_out) for of, (_, held_out) in texts.items()}
            rows.append({"seed": seed + number, "trained_on": side, "bits_per_byte": bits})
    used = steps * ROWS * MODEL.context_length
    return {
        "filter": name,
        "tokens": used,
        "steps": steps,
        "parameters": MODEL.n_parameters,
        "sides": [
            {"side": side, "bytes": len(text), "held_out_bytes": len(held_out), "epochs": used / len(text)}
            for side, (text, held_out) in texts.items()
        ],
        "runs": rows,
        "differences": [_difference(rows, of, *texts) for of in texts],
    }


def _bytes(documents: Sequence[Document], chosen: np.ndarray) -> np.ndarray:
    """The documents' bytes, a border before each."""
    parts = [np.frombuffer(documents[i].text.encode(), np.uint8).astype(np.int32) for i in chosen.tolist()]
    return np.concatenate([np.concatenate([[BORDER], part]) for part in parts]) if parts else np.zeros(0, np.int32)


def _trainer(steps: int) -> Any:
    plan = decoder.make_plan(Execution(dtype="float32"))
    optimizer = make_optimizer(OptimizerConfig(), decoder.dimension_letters(MODEL))
    step = jax.jit(make_train_step(MODEL, plan, optimizer, 1), donate_argnums=0)
    start = jax.jit(lambda key: init_state(key, MODEL, optimizer))
    schedule = ScheduleConfig(warmup_steps=min(20, steps // 5))

    def run(text: np.ndarray, seed: int) -> decoder.Decoder:
        rng = np.random.default_rng(seed)
        state = start(jax.random.key(seed))
        for number in range(steps):
            at = rng.integers(0, len(text) - MODEL.context_length - 1, ROWS)
            rows = text[at[:, None] + np.arange(MODEL.context_length + 1)]
            state, _ = step(state, rows, jnp.float32(learning_rate(schedule, PEAK, steps, number)))
        return state.params

    return run


def _bits(params: decoder.Decoder, text: np.ndarray) -> float:
    """Bits per byte of windows that lie evenly over the text, and are the same for every model."""
    length = MODEL.context_length
    count = min(MOST_WINDOWS, (len(text) - 1) // length)
    at = np.linspace(0, len(text) - length - 1, count).astype(int)
    evaluate = _evaluator()
    total = weight = 0.0
    for first in range(0, count, ROWS):
        rows = at[first : first + ROWS]
        weights = np.zeros(ROWS, np.float32)
        weights[: len(rows)] = 1
        padded = np.concatenate([rows, np.zeros(ROWS - len(rows), int)])
        loss, n = evaluate(params, text[padded[:, None] + np.arange(length + 1)], weights)
        total, weight = total + float(loss), weight + float(n)
    return total / weight / math.log(2)


@cache
def _evaluator() -> Any:
    return jax.jit(make_eval_step(MODEL, decoder.make_plan(Execution(dtype="float32"))))


def _difference(rows: Sequence[Record], of: str, before: str, after: str) -> Record:
    """Filtered − unfiltered on one held-out set, paired by seed."""
    by = {(row["seed"], row["trained_on"]): row["bits_per_byte"][of] for row in rows}
    differences = np.array([by[seed, after] - by[seed, before] for seed in dict.fromkeys(row["seed"] for row in rows)])
    return {
        "held_out": of,
        "difference": float(differences.mean()),
        "stderr": float(differences.std(ddof=1) / math.sqrt(len(differences))),
    }
