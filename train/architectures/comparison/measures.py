"""What each model reaches on each task, on text and pairs that it was not trained on."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from llm_jax.decode.loop import generate, prepare
from llm_jax.decode.options import Sampling
from llm_jax.decode.transduce import Search, transduce
from llm_jax.models import decoder
from train.architectures.comparison.examples import (
    Data,
    cloze_batch,
    continuation_batch,
    holes,
    pair_batch,
    slots,
    symbols,
    test_windows,
)
from train.architectures.comparison.models import Model, encoder_logits
from train.architectures.comparison.setting import Setting, TaskKind
from train.architectures.pairs import BEGIN, END, MASK

ROWS = 64  # at once
NEVER = -1  # no token ends: as many are written as there are holes


def measure(model: Model, params: Any, task: TaskKind, data: Data, setting: Setting) -> float:
    """The task's figure."""
    return {"continuation": bits_per_byte, "cloze": accuracy, "transduction": word_error}[task](
        model, params, data, setting
    )


def bits_per_byte(model: Model, params: Any, data: Data, setting: Setting) -> float:
    """−log₂ p of the bytes of the windows' second halves, given all bytes before."""
    windows_BT = test_windows(data, setting)
    if model.kind == "encoder":
        return _bits_by_masks(model, params, windows_BT, setting.prefix)
    total, loss = 0.0, jax.jit(partial(_continuation_loss, model, setting.prefix))
    for part in _parts(windows_BT):
        total += float(loss(params, continuation_batch(model.kind, part, setting)))
    return total / math.log(2) / (len(windows_BT) * (setting.window - setting.prefix))


def _continuation_loss(model: Model, prefix: int, params: Any, batch: Any) -> Any:
    if model.kind == "decoder":
        second = jnp.broadcast_to(jnp.arange(batch.tokens_BT.shape[1]) >= prefix, batch.tokens_BT.shape)
        batch = batch._replace(weights_BT=second.astype(jnp.float32))
    return model.loss(params, batch, jax.random.key(0))[0]


def _bits_by_masks(model: Model, params: Any, windows_BT: np.ndarray, prefix: int) -> float:
    """One pass for every byte that is scored: what comes before it, and [MASK] in its place. Its successors are cut."""

    @jax.jit
    def log_p_of(params: Any, tokens_BT: Any, at: Any, byte_B: Any) -> Any:
        place_T = jnp.arange(tokens_BT.shape[1])
        seen_BT = jnp.where(place_T < at, tokens_BT, jnp.where(place_T == at, MASK, 0))
        log_p_BV = jax.nn.log_softmax(encoder_logits(model, params, seen_BT)[:, at])
        return jnp.take_along_axis(log_p_BV, byte_B[:, None], axis=-1).sum()

    total = 0.0
    for part in _parts(windows_BT):
        for at in range(prefix, part.shape[1]):
            total -= float(log_p_of(params, part, jnp.int32(at), part[:, at]))
    return total / math.log(2) / (len(windows_BT) * (windows_BT.shape[1] - prefix))


def accuracy(model: Model, params: Any, data: Data, setting: Setting) -> float:
    """The share of holes that are filled rightly. Encoder–decoder and decoder write them in order, greedily."""
    windows_BT = test_windows(data, setting)
    with_holes_BT, places = holes(np.random.default_rng(0), windows_BT, setting.holes)
    missing = np.take_along_axis(windows_BT, places, axis=1)
    found, run = [], jax.jit(partial(encoder_logits, model))
    for part, where in zip(_parts(with_holes_BT), _parts(places), strict=True):
        if model.kind == "encoder":
            best_BT = np.asarray(run(params, part).argmax(axis=-1))
            found.append(np.take_along_axis(best_BT, where, axis=1))
        elif model.kind == "decoder":
            found.append(np.array(_continued(model, params, [[*row, BEGIN] for row in part], setting.holes)))
        else:
            batch = cloze_batch(model.kind, part, where)
            search = Search(BEGIN, NEVER, setting.holes)
            result = transduce(params, batch.source_BS, batch.is_source_BS, model.config, model.plan, search)
            found.append(np.asarray(result.tokens_BKG[:, 0]))
    return float((np.concatenate(found) == missing).mean())


def left_accuracy(model: Model, params: Any, data: Data, setting: Setting) -> float:
    """The same holes filled by a decoder of running text from the bytes before each, all of them true."""
    windows_BT = test_windows(data, setting)
    _, places = holes(np.random.default_rng(0), windows_BT, setting.holes)

    @jax.jit
    def best(params: Any, tokens_BT: Any) -> Any:
        hidden_BTD, _ = decoder.forward(params, tokens_BT, model.config, model.plan)
        return decoder.logits(params, hidden_BTD, model.config, model.plan).argmax(axis=-1)

    rows = [continuation_batch("decoder", part, setting).tokens_BT for part in _parts(windows_BT)]
    best_BT = np.concatenate([np.asarray(best(params, jnp.asarray(part))) for part in rows])
    return float((np.take_along_axis(best_BT, places, 1) == np.take_along_axis(windows_BT, places, 1)).mean())


def word_error(model: Model, params: Any, data: Data, setting: Setting) -> float:
    """The share of targets that are not written exactly."""
    sources = [data.vocabulary.encode(source) for source, _ in data.test_pairs]
    empty = [np.zeros(0, np.int32)] * len(sources)
    written: list[Any] = []
    run = jax.jit(partial(encoder_logits, model))
    for start in range(0, len(sources), ROWS):
        some = sources[start : start + ROWS]
        some += [some[0]] * (min(ROWS, len(sources)) - len(some))
        if model.kind == "encoder":
            best_BT = np.asarray(run(params, slots(some, setting)).argmax(axis=-1))
            written += [row[len(source) + 1 :][: setting.n_new] for row, source in zip(best_BT, some, strict=True)]
        elif model.kind == "decoder":
            written += _continued(model, params, [[*source, BEGIN] for source in some], setting.n_new, (END,))
        else:
            batch = pair_batch(model.kind, some, empty[: len(some)], setting)
            search = Search(BEGIN, END, setting.n_new)
            result = transduce(params, batch.source_BS, batch.is_source_BS, model.config, model.plan, search)
            written += list(np.asarray(result.tokens_BKG[:, 0]))
    pairs = zip(written, data.test_pairs, strict=False)
    wrong = sum(symbols(ids, data.vocabulary) != target for ids, (_, target) in pairs)
    return wrong / len(data.test_pairs)


def _continued(model: Model, params: Any, prompts: list[list[int]], n_new: int, stop: tuple[int, ...] = ()) -> Any:
    prompts = [[int(token) for token in prompt] for prompt in prompts]
    ready = prepare(params, model.plan, n_rows=len(prompts))
    return generate(ready, prompts, model.config, model.plan, Sampling(temperature=0.0), n_new, stop)


def _parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), ROWS):
        yield rows[start : start + ROWS]
