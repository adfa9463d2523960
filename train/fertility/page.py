"""The record and the tokens of the first lines as one HTML page (`llm_jax.files.page`); `page.js` beside this fills it.

A line is shown in units: stretches between places where both a token and a grapheme (a base character with its marks)
end. Most hold one token. One of several tokens is a character that is split between them, or a cluster of a script
whose marks are tokens of their own; the page shows its tokens as one unit, so that no cluster is broken up.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import regex

from llm_jax.files.page import document
from llm_jax.tokenizer.protocol import Tokenizer
from train.fertility.analysis import Record
from train.fertility.texts import Text

SCRIPT = Path(__file__).with_name("page.js")


def write(path: Path, record: Record, texts: Sequence[Text], tokenizers: Mapping[str, Tokenizer], most: int) -> None:
    """Writes the page, whole or not at all."""
    shown = [[line for line in text.lines if line.strip()][:most] for text in texts]
    units = [
        [[units_of(line, *tokenizer.encode_with_offsets(line)) for line in lines] for tokenizer in tokenizers.values()]
        for lines in shown
    ]
    document.write(path, "Fertility", {**record, "lines": shown, "units": units}, SCRIPT)


def units_of(line: str, ids: Sequence[int], spans: Sequence[tuple[int, int]]) -> list[list[int]]:
    """For each unit its length in UTF-16, as JavaScript counts, and the ids of its tokens.

    >>> units_of("aé!", [5, 6, 7, 8], [(0, 1), (1, 2), (1, 2), (2, 3)])
    [[1, 5], [1, 6, 7], [1, 8]]
    """
    graphemes = {match.end() for match in regex.finditer(r"\X", line)}
    inside = {place for start, stop in spans for place in range(start + 1, stop)}
    ends = {place for span in spans for place in span}
    cuts = sorted({0, len(line)} | (ends & graphemes) - inside)
    found, number = [], 0
    for start, stop in pairwise(cuts):
        unit = [len(line[start:stop].encode("utf-16-le")) // 2]
        while number < len(ids) and (spans[number][0] < stop or stop == len(line)):
            unit.append(ids[number])
            number += 1
        found.append(unit)
    return found
