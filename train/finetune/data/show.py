"""Examples printed: the text that the model reads, with what is trained marked.

In colour the trained part is green and bold. Where there is no colour (NO_COLOR, a file, a pipe) it stands in double
brackets.
"""

from typing import TYPE_CHECKING

import numpy as np

from llm_jax.tokenizer.protocol import Tokenizer
from train.finetune.data.example import Example, Labelled, Pair
from train.finetune.data.prepared import Prepared

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

TRAINED = "bold green"
READ = "dim"


def show(
    prepared: Prepared, tokenizer: Tokenizer, count: int = 1, split: str = "train", console: "Console | None" = None
) -> None:
    """Prints the first `count` examples of a split."""
    from rich.console import Console

    console = console or Console(highlight=False, soft_wrap=True)
    template = prepared.template["name"] if prepared.template else "none"
    there = prepared.count(split)
    for number in range(min(count, there)):
        row = prepared.row(split, number)
        console.print(f"example {number + 1:,} of {there:,} ({split}, row {row:,}), template {template}:", markup=False)
        example = prepared.example(split, number)
        for name, text in _texts(example, tokenizer, prepared.labels, not _has_colour(console)):
            if name:
                console.print(name, markup=False)
            console.print(text, markup=False)
    shown = "in double brackets" if not _has_colour(console) else "green"
    if prepared.kind != "labelled":
        console.print(f"What is trained is {shown}.", markup=False)


def rendered(example: Example, tokenizer: Tokenizer, is_plain: bool) -> "Text":
    """The text of the ids, with the trained ones marked."""
    from rich.text import Text

    text = Text()
    edges = np.flatnonzero(np.diff(example.trained)) + 1
    for start, stop in zip([0, *edges.tolist()], [*edges.tolist(), len(example.ids)], strict=True):
        words, trained = tokenizer.decode(example.ids[start:stop].tolist()), bool(example.trained[start])
        if is_plain:
            text.append(f"[[{words}]]" if trained else words)
        else:
            text.append(words, style=TRAINED if trained else READ)
    return text


def _texts(
    example: Example | Pair | Labelled, tokenizer: Tokenizer, labels: tuple[str, ...], is_plain: bool
) -> list[tuple[str, "Text"]]:
    if isinstance(example, Pair):
        return [
            (f"{name} ({len(one.ids):,} tokens)", rendered(one, tokenizer, is_plain))
            for name, one in (("chosen", example.chosen), ("rejected", example.rejected))
        ]
    if isinstance(example, Labelled):
        nothing = np.zeros(len(example.ids), bool)
        return [(f"label {labels[example.label]}", rendered(Example(example.ids, nothing), tokenizer, is_plain))]
    return [
        (f"{len(example.ids):,} tokens, {int(example.trained.sum()):,} trained", rendered(example, tokenizer, is_plain))
    ]


def _has_colour(console: "Console") -> bool:
    return console.is_terminal and not console.no_color and console.color_system is not None
