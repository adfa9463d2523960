"""Records → examples: encoded, cut to the longest length, labels numbered; and counts of what happened to the rows."""

import re
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from llm_jax.tokenizer.protocol import Tokenizer
from train.finetune.data.config import DataConfig, Kind
from train.finetune.data.example import Example, Labelled, Pair
from train.finetune.data.reading.read import Reader
from train.finetune.data.reading.records import Answers, Conversation, LabelledText, Record
from train.finetune.data.reading.tables import Tables
from train.finetune.data.templates.encode import Encoder
from train.finetune.data.templates.template import Template, choose

Made = Example | Pair | Labelled
COUNTS = ("read", "skipped", "dropped", "truncated", "unanswered", "equal_pairs", "duplicates", "shared_with_val")
OnRow = Callable[[int], None]  # called with the number of rows just read


class Maker:
    """Makes the examples of one preparation. `counts` as `Prepared.counts`; `template` once the first was encoded."""

    def __init__(self, config: DataConfig, tokenizer: Tokenizer, max_length: int, on_row: OnRow | None = None):
        self._config, self._tokenizer, self._max_length = config, tokenizer, max_length
        self._on_row = on_row or (lambda _: None)
        self._reader = Reader(config)
        self._encoder: Encoder | None = None
        self._labels: dict[str, int] = {}  # numbered as they come
        self.template: Template | None = None
        self.counts: Counter[str] = Counter(dict.fromkeys(COUNTS, 0))
        self.first_dropped = ""  # its place and its tokens
        self._tokens = 0  # of the row at hand, before it is cut

    @property
    def kind(self) -> Kind:
        assert self._reader.kind is not None
        return self._reader.kind

    def make(self, source: Tables) -> Iterator[tuple[int, Made]]:
        """(number of the row, example) of every row that can be used.

        Raises ValueError that names the place of a row that cannot, once more than allowed were left out.
        """
        for place, record in self._reader.records(source):
            row = self.counts["read"]
            self.counts["read"] += 1
            self._on_row(1)
            self._prepare_for(record)
            self._tokens = 0
            try:
                made = self._of(record)
            except ValueError as error:
                self._reader.skip(f"{place}: {error}")
                continue
            if made is not None:
                yield row, made
            elif self._config.strict:
                raise ValueError(
                    f"{place}: nothing to train on is left of its {self._tokens:,} tokens within {self._max_length:,}; "
                    "raise --max-length, shorten the prompt, or leave out --strict to drop such rows"
                )
            else:
                self.counts["dropped"] += 1
                self.first_dropped = self.first_dropped or f"{place} with {self._tokens:,} tokens"

    def end(self) -> None:
        """After the last row. Raises ValueError for a --fill that filled nothing."""
        self._reader.end()
        self.counts["skipped"] = len(self._reader.skipped)

    @property
    def ends(self) -> tuple[int, ...]:
        """The ids that end an answer: what a model trained on these examples stops with."""
        return tuple(sorted(self._encoder.ends)) if self._encoder else ()

    @property
    def skipped(self) -> list[str]:
        """What is wrong with each row that was left out."""
        return self._reader.skipped

    def numbered_labels(self) -> tuple[tuple[str, ...], np.ndarray]:
        """The names of the classes in order, and the final number of each preliminary one."""
        known = list(self._labels)
        order = sorted(known, key=int) if all(map(_is_number, known)) else sorted(known)
        final = {label: number for number, label in enumerate(order)}
        return tuple(order), np.array([final[label] for label in known], np.int32)

    def _prepare_for(self, record: Record) -> None:
        """Chooses the template by the first record. Raises ValueError where none can write such."""
        name = self._config.template
        if self._config.train_on == "all" and not isinstance(record, Conversation):
            raise ValueError(f"--train-on all is for texts that are learned as such; got {self.kind}: leave it out")
        if isinstance(record, LabelledText):
            if name not in ("auto", "plain"):
                raise ValueError(f"--template {name}: labelled texts are read as they stand; leave it out")
        elif self._encoder is None:
            first = record.chosen if isinstance(record, Answers) else record
            self.template = choose(name, self._tokenizer, first.form)
            self._encoder = Encoder(self.template, self._tokenizer)

    def _of(self, record: Record) -> Made | None:
        """The record as ids; None where truncation leaves no target, or two answers that are equal."""
        if isinstance(record, LabelledText):
            return self._labelled(record)
        if isinstance(record, Answers):
            return self._pair(record)
        self.counts["unanswered"] += record.unanswered
        return self._cut(self._encode(record))

    def _pair(self, record: Answers) -> Pair | None:
        whole = [self._encode(answer) for answer in (record.chosen, record.rejected)]
        chosen, rejected = (self._cut(one) for one in whole)
        are_equal = np.array_equal(whole[0].ids, whole[1].ids)
        self.counts["equal_pairs"] += int(are_equal)
        if chosen is None or rejected is None or (np.array_equal(chosen.ids, rejected.ids) and not are_equal):
            return None
        return Pair(chosen, rejected)

    def _labelled(self, record: LabelledText) -> Labelled:
        ids = [*self._tokenizer.borders.prefix, *self._tokenizer.encode(record.text)]
        self.counts["truncated"] += int(len(ids) > self._max_length)
        label = str(record.label)
        number = self._labels.setdefault(label, len(self._labels))
        return Labelled(np.array(ids[: self._max_length], np.int32), number)

    def _encode(self, conversation: Conversation) -> Example:
        assert self._encoder is not None
        example = self._encoder(conversation)
        if self._config.train_on == "all":
            return Example(example.ids, np.ones_like(example.trained))
        return example

    def _cut(self, example: Example) -> Example | None:
        self._tokens = max(self._tokens, len(example.ids))
        self.counts["truncated"] += int(len(example.ids) > self._max_length)
        cut = Example(example.ids[: self._max_length], example.trained[: self._max_length])
        return cut if cut.has_target else None


def _is_number(label: str) -> bool:
    return re.fullmatch(r"-?[0-9]+", label) is not None
