"""What a run reads: its base, and its examples as batches on the devices."""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from llm_jax import hf, sharding
from llm_jax.config import DecoderConfig
from llm_jax.runs import CONFIG
from llm_jax.tokenizer import Tokenizer
from llm_jax.tokenizer.derived import with_stops, with_template
from train.finetune import record
from train.finetune.config import FinetuneConfig
from train.finetune.data.batches import Batch as TokenBatch
from train.finetune.data.batches import FinetuneBatches, LabelBatch
from train.finetune.data.example import Example, Pair
from train.finetune.data.prepare import prepare
from train.finetune.data.prepared import Prepared
from train.finetune.data.show import show
from train.finetune.objectives import Batch

TASKS = {"preferences": "dpo", "labelled": "classify"}  # by the kind of the data; others are text to learn: sft
DATA = "data"  # the folder of the prepared examples, in the run's folder


class Inputs(NamedTuple):
    """What a base is, and the examples for it. Its parameters are opened when the processes have joined each other."""

    source: str
    model: DecoderConfig
    data: Prepared
    tokenizer: Tokenizer  # the base's, with the chat template and the ends of turns that the examples are written by


def open_base(source: str, run: Path | None = None) -> hf.Opened:
    """BASE, and of a run's folder the checkpoint that `run` began from, where it has begun.

    Raises FileNotFoundError or ValueError, which names what is missing or wrong.
    """
    step = None
    if run is not None and (run / CONFIG).exists():
        was = record.read(run).base
        if was["folder"] == folder_of_base(source):
            step = was["step"]
    return hf.open_model(source, step)


def folder_of_base(source: str) -> str | None:
    """The absolute path of BASE; None for a name on the hub."""
    return str(Path(source).resolve()) if Path(source).is_dir() else None


def open_inputs(
    source: str, config: FinetuneConfig, folder: Path, run: Path | None = None, allow_changes: bool = False
) -> Inputs:
    """What the base is, and the examples prepared in `folder`, where they are found again.

    JAX is not used: the first process does this before it joins the others.

    Examples that were prepared otherwise are replaced, unless `run` has begun with them. With `allow_changes` others
    are then prepared beside them: `adopt` replaces them once the run has accepted the change.

    Raises what `hf.describe` and `prepare` raise for models and files that cannot be used.
    """
    base = hf.describe(source)
    has_begun = run is not None and (run / CONFIG).exists()
    is_kept = has_begun and not allow_changes
    try:
        changed = "refuse" if is_kept else "beside" if has_begun else "replace"
        data = prepare(config.data, base.tokenizer, folder, base.config.context_length, changed)
    except ValueError as error:
        if not (is_kept and str(error).startswith(f"{folder}: ")):
            raise
        cure = "Here: give the data and settings that the run was begun with, or say --allow-changes"
        raise ValueError(f"{error}. {cure}") from error
    template = data.chat_template
    tokenizer = with_template(base.tokenizer, template) if template else base.tokenizer
    return Inputs(source, base.config, data, with_stops(tokenizer, data.ends))


def prompt_of(data: Prepared, split: str, number: int) -> list[int]:
    """The ids before the first trained token of an example; where all is trained, its first half."""
    example = data.example(split, number)
    text = example.chosen if isinstance(example, Pair) else example
    assert isinstance(text, Example)
    first = int(np.argmax(text.trained))
    return text.ids[: first if first > 1 else max(1, len(text.ids) // 2)].tolist()


def show_examples(source: str, config: FinetuneConfig, count: int) -> int:
    """Prints the first examples as they would be trained; returns 0. Nothing is left on the disk."""
    with tempfile.TemporaryDirectory() as folder:
        inputs = open_inputs(source, config, Path(folder) / DATA)
        show(inputs.data, inputs.tokenizer, count)
        if said := inputs.data.said():
            print(f"Of all rows: {', '.join(said)}.")
    return 0


class Batches:
    """The batches of one split as `objectives.Batch`, on the host or on the devices of a mesh."""

    def __init__(
        self,
        batches: FinetuneBatches,
        mesh: jax.sharding.Mesh,
        references: np.ndarray | None = None,
        micro_batches: int = 1,
    ) -> None:
        """`references`: of pairs, as `reference.log_probabilities` gives them.

        `micro_batches`: parts in which `once` gives a batch, so that no more rows are computed at once than in a step.
        """
        self._batches, self._mesh, self._references = batches, mesh, references
        self._micro_batches, self._groups = micro_batches, 2 if batches.prepared.kind == "preferences" else 1

    def __call__(self, step: int) -> Batch:
        """The batch of a step, spread over the devices (and hosts) of the mesh."""
        batch, _ = self.on_host(step)
        return self.place(batch)

    def on_host(self, step: int) -> tuple[Batch, np.ndarray]:
        """The batch of a step, and which example each row holds (−1: none)."""
        found = self._batches.batch(step)
        if isinstance(found, LabelBatch):
            return of_labels(found), found.index_B
        return self._with_reference(found), found.index_B

    def _with_reference(self, found: TokenBatch) -> Batch:
        reference_B = None
        if self._references is not None:
            columns = np.repeat([0, 1], len(found.index_B) // 2)
            given_B = self._references[found.index_B, columns]
            reference_B = np.where(found.index_B >= 0, given_B, 0).astype(np.float32)
        return Batch(found.tokens_BT, found.weights_BT, found.segments_BT, reference_B)

    def place(self, batch: Batch) -> Batch:
        """The same on the devices; each process gives the rows of its own."""

        def one(rows: np.ndarray) -> jax.Array:
            place = sharding.named(self._mesh, "BT"[: rows.ndim])
            return jax.make_array_from_callback(rows.shape, place, lambda where: rows[where])

        return jax.tree.map(one, batch)

    def once(self, steps: int | None = None) -> Iterator[tuple[np.ndarray, Batch]]:
        """Every example once, or those of the first `steps` steps if these are fewer: (example of each row, batch).

        The batches are micro-batches, cut as `step.cut` does; one without an example is left out.
        """
        epoch = self._batches.batches_per_epoch
        for step in range(min(epoch, steps) if steps else epoch):
            batch, index_B = self.on_host(step)
            for number in range(self._micro_batches):
                part = partial(self._part, number=number)
                if (part(index_B) >= 0).any():
                    yield part(index_B), self.place(jax.tree.map(part, batch))

    def _part(self, rows: np.ndarray, number: int) -> np.ndarray:
        """Of each group every row whose number is `number` modulo the micro-batches."""
        groups = rows.reshape(self._groups, -1, *rows.shape[1:])
        return groups[:, number :: self._micro_batches].reshape(-1, *rows.shape[1:])

    def seen(self, steps: int | None = None) -> np.ndarray:
        """Which examples `once` gives: bool [examples]."""
        seen = np.zeros(self._batches.prepared.count(self._batches.split), bool)
        epoch = self._batches.batches_per_epoch
        for step in range(min(epoch, steps) if steps else epoch):
            index_B = self._batches.batch(step).index_B
            seen[index_B[index_B >= 0]] = True
        return seen

    def longest(self) -> Batch:
        """An empty batch of the longest shape that there can be, for compiling."""
        rows, length = max(self._batches.shapes(), key=lambda shape: shape[1])
        none = np.full(rows, -1, np.int64)
        tokens_BT, weights_BT = np.zeros((rows, length + 1), np.int32), np.zeros((rows, length), np.float32)
        if self._batches.prepared.kind == "labelled":
            zeros = np.zeros(rows, np.int32)
            return self.place(of_labels(LabelBatch(tokens_BT[:, 1:], zeros, zeros, np.zeros(rows, np.float32), none)))
        segments_BT = np.zeros((rows, length), np.int32) if self._batches.packing else None
        return self.place(self._with_reference(TokenBatch(tokens_BT, weights_BT, segments_BT, none)))


class Loader:
    """`Batches` for the loop, with the number of real tokens of the steps that were loaded."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self._tokens: dict[int, int] = {}

    def __call__(self, step: int) -> Batch:
        batch, _ = self._batches.on_host(step)
        self._tokens[step] = real_tokens(batch)
        return self._batches.place(batch)

    def tokens_of(self, step: int) -> int:
        """Tokens of a step that was loaded, padding left out; asked once."""
        return self._tokens.pop(step)


def real_tokens(batch: Batch) -> int:
    """Inputs up to each row's last trained token: padding is left out."""
    has_target_B = batch.weights_BT.any(axis=1)
    last_B = batch.weights_BT.shape[1] - np.asarray(batch.weights_BT)[:, ::-1].astype(bool).argmax(axis=1)
    return int((last_B * has_target_B).sum())


def of_labels(found: LabelBatch) -> Batch:
    """Labelled texts as a batch: the weight marks the last real token."""
    tokens_BT = np.pad(found.tokens_BT, ((0, 0), (0, 1)))
    weights_BT = np.zeros(found.tokens_BT.shape, np.float32)
    weights_BT[np.arange(len(weights_BT)), found.last_B] = found.weights_B
    return Batch(tokens_BT, weights_BT, labels_B=found.label_B)
