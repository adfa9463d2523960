"""Text and pairs in the form that each model reads. A byte has the id `SPECIAL` + its value.

continuation   encoder: windows; encoder–decoder: first half → second half; decoder: begin + window
cloze          encoder: windows; encoder–decoder: text with holes → missing bytes; decoder: the same in one row
transduction   encoder: source, begin, as many masks as a target may have; the others: source → target
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from train.architectures.batches import Ids, PairBatch, encoded
from train.architectures.comparison.models import Rows, Windows
from train.architectures.comparison.setting import ModelKind, Setting, TaskKind
from train.architectures.pairs import BEGIN, END, MASK, PAD, SPECIAL, Pair, Splits, Vocabulary

BYTES = 256 + SPECIAL
HELD_OUT = 10  # a part of the text in so many


class Data(NamedTuple):
    """Everything that is read, as ids."""

    text: np.ndarray  # trained on
    held: np.ndarray
    pairs: list[Ids]
    test_pairs: list[Pair]
    vocabulary: Vocabulary

    def vocab_size(self, task: TaskKind) -> int:
        return self.vocabulary.size if task == "transduction" else BYTES


def data_of(text: str, splits: Splits, setting: Setting) -> Data:
    """Ids of the text's bytes and of the pairs that are not too long. Raises ValueError where too little is left."""
    ids = np.frombuffer(text.encode(), np.uint8).astype(np.int32) + SPECIAL
    held = len(ids) // HELD_OUT
    if held < setting.window * setting.measured:
        raise ValueError(
            f"the text has {len(ids):,} bytes; the test alone needs {setting.window * setting.measured * HELD_OUT:,}"
        )
    short = [[pair for pair in part if max(map(len, pair)) <= setting.longest] for part in (splits.train, splits.test)]
    if min(map(len, short)) < 10:
        raise ValueError(
            f"{splits.name}: {len(short[0])} and {len(short[1])} pairs of at most {setting.longest} symbols are left; "
            "expected 10"
        )
    vocabulary = Vocabulary.of(short[0])
    test = short[1][: setting.measured_pairs]
    return Data(ids[:-held], ids[-held:], encoded(short[0], vocabulary), test, vocabulary)


def test_windows(data: Data, setting: Setting) -> np.ndarray:
    """Windows of the held-out text, at equal distances."""
    starts = np.linspace(0, len(data.held) - setting.window, setting.measured).astype(int)
    return data.held[starts[:, None] + np.arange(setting.window)]


def holes(rng: np.random.Generator, windows_BT: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The windows with `count` bytes of each replaced by masks, and where, in order."""
    places = np.sort(np.argsort(rng.random(windows_BT.shape), axis=1)[:, :count], axis=1)
    with_holes = windows_BT.copy()
    np.put_along_axis(with_holes, places, MASK, axis=1)
    return with_holes, places


def batches(kind: ModelKind, task: TaskKind, data: Data, setting: Setting, seed: int) -> Iterator[Any]:
    """Batches without end, the same examples for every model of a task and seed."""
    rng = np.random.default_rng(seed)
    while True:
        if task == "transduction":
            chosen = [data.pairs[i] for i in rng.integers(0, len(data.pairs), setting.batch_pairs)]
            yield pair_batch(kind, [source for source, _ in chosen], [target[1:] for _, target in chosen], setting)
            continue
        starts = rng.integers(0, len(data.text) - setting.window, setting.batch)
        windows_BT = data.text[starts[:, None] + np.arange(setting.window)]
        if kind == "encoder":
            yield Windows(windows_BT)
        elif task == "continuation":
            yield continuation_batch(kind, windows_BT, setting)
        else:
            with_holes_BT, places = holes(rng, windows_BT, setting.holes)
            yield cloze_batch(kind, with_holes_BT, np.take_along_axis(windows_BT, places, axis=1))


def continuation_batch(kind: ModelKind, windows_BT: np.ndarray, setting: Setting) -> Any:
    """A decoder learns every byte, an encoder–decoder those of the second half."""
    if kind == "decoder":
        tokens_BT = np.pad(windows_BT, ((0, 0), (1, 0)), constant_values=BEGIN)[:, :-1]
        return Rows(tokens_BT, windows_BT, np.ones(windows_BT.shape, np.float32))
    first, second = windows_BT[:, : setting.prefix], windows_BT[:, setting.prefix :]
    return _read_and_write(first, second)


def cloze_batch(kind: ModelKind, with_holes_BT: np.ndarray, missing_BH: np.ndarray) -> Any:
    """Text with holes → the missing bytes in order."""
    if kind == "encoder–decoder":
        return _read_and_write(with_holes_BT, missing_BH)
    return _one_row(list(with_holes_BT), list(missing_BH), with_holes_BT.shape[1] + missing_BH.shape[1])


def pair_batch(kind: ModelKind, sources: list[np.ndarray], targets: list[np.ndarray], setting: Setting) -> Any:
    """Sources → targets with their end, padded to the setting's longest."""
    if kind == "decoder":
        return _one_row(sources, targets, setting.longest + setting.n_new)
    if kind == "encoder–decoder":
        source_BS = _padded(sources, setting.longest)
        return _read_and_write(source_BS, _padded(targets, setting.n_new))
    inputs_BT = slots(sources, setting)
    targets_BT = np.full(inputs_BT.shape, PAD, np.int32)
    for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
        targets_BT[row, len(source) + 1 : len(source) + 1 + len(target)] = target
    return Rows(inputs_BT, targets_BT, (targets_BT != PAD).astype(np.float32))


def slots(sources: list[np.ndarray], setting: Setting) -> np.ndarray:
    """What the encoder reads: source, begin, a mask for every symbol that a target may have, padding."""
    masks = np.full(setting.n_new, MASK, np.int32)
    rows = [np.concatenate([source, [BEGIN], masks]).astype(np.int32) for source in sources]
    return _padded(rows, setting.longest + 1 + setting.n_new)


def _read_and_write(source_BS: np.ndarray, target_BT: np.ndarray) -> PairBatch:
    target_BU = np.pad(target_BT, ((0, 0), (1, 0)), constant_values=BEGIN)
    return PairBatch(source_BS, source_BS != PAD, target_BU, (target_BT != PAD).astype(np.float32))


def _one_row(sources: list[np.ndarray], targets: list[np.ndarray], width: int) -> Rows:
    """Source, begin, target in one row; weights on the target alone."""
    tokens_BT = np.full((len(sources), width + 1), PAD, np.int32)
    weights_BT = np.zeros((len(sources), width), np.float32)
    for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
        end = len(source) + 1 + len(target)
        tokens_BT[row, :end] = np.concatenate([source, [BEGIN], target])
        weights_BT[row, len(source) : end - 1] = 1
    return Rows(tokens_BT[:, :-1], tokens_BT[:, 1:], weights_BT)


def _padded(rows: list[np.ndarray], width: int) -> np.ndarray:
    found = np.full((len(rows), width), PAD, np.int32)
    for row, ids in enumerate(rows):
        found[row, : len(ids)] = ids
    return found


def symbols(ids: Any, vocabulary: Vocabulary) -> tuple[str, ...]:
    """What was written, up to the end."""
    return vocabulary.decode(np.asarray([int(one) for one in ids] + [END]))
