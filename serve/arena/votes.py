"""A file of pairwise votes: a header, then a vote a line; plain or compressed, with commas, tabs or semicolons.

    left, right, winner               winner: left, right or tie (llmfao, evalica, crowdkit)
    model_a, model_b, winner          winner: model_a, model_b, tie or "tie (bothbad)" (LMArena)

Two further columns with one name, such as `left_length` and `right_length` (or `length_a`, `length_b`), hold a property
of the two answers: a covariate of style. All other columns are left alone; one may be named as the cluster of a vote.
"""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from llm_jax.files.content import open_utf8, recognise

MOST_MODELS = 1000  # every method keeps a table of model × model
SIDES = (("left", "right"), ("model_a", "model_b"), ("model_x", "model_y"))
LEFT, RIGHT = {"left", "model_a", "model_x", "a", "x"}, {"right", "model_b", "model_y", "b", "y"}
SIDE = {1.0: "the left side", 0.0: "the right side", 0.5: "a tie"}
TIE = {"tie", "draw", "tie (bothbad)", "both_bad", "bothbad"}
AFFIXES = (("left_", "right_"), ("_left", "_right"), ("_a", "_b"), ("a_", "b_"), ("_x", "_y"))
CURE = "a file of votes has the columns left, right, winner (or model_a, model_b, winner), separated by commas"


@dataclass(frozen=True)
class Votes:
    """Votes in the order of the file; models are numbers in the order in which they appear."""

    models: tuple[str, ...]
    left: np.ndarray  # number of the model on the left
    right: np.ndarray
    score: np.ndarray  # of the left one: 1 won, 0 lost, ½ tie
    style: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)  # a property of both answers
    cluster: np.ndarray | None = None  # number of the group whose votes depend on each other, such as a voter

    def __len__(self) -> int:
        return len(self.score)


def read(path: Path, cluster: str | None = None) -> Votes:
    """The votes of a file. Raises OSError, or ValueError naming the file, the line and the cure."""
    lines = _lines(path)
    header = [name.strip() for name in next(lines, (0, []))[1]]
    if repeated := sorted({name for name in header if header.count(name) > 1}):
        raise ValueError(f"{path}: the header names {repeated[0]!r} twice; name every column once")
    first, second = _sides(path, header)
    if cluster is not None and cluster not in header:
        raise ValueError(f"{path} has no column {cluster!r} for --cluster; it has {', '.join(header)}")
    names = {name for pair in SIDES for name in pair}  # of models, or their numbers: not a property of an answer
    pairs = _style_columns(header, {*names, "winner", *([cluster] if cluster else [])})
    wanted = [
        first,
        second,
        "winner",
        *(name for pair in pairs.values() for name in pair),
        *([cluster] * bool(cluster)),
    ]
    places = [header.index(name) for name in wanted]
    numbers: dict[str, int] = {}
    groups: dict[str, int] = {}
    rows: list[tuple[int, int, float]] = []
    styles: dict[str, list[list[str]]] = {name: [] for name in pairs}
    group_of: list[int] = []
    for number, row in lines:
        if len(row) != len(header):
            raise ValueError(f"{path}, line {number} has {len(row)} fields; the header has {len(header)}")
        values = [row[place] for place in places]
        rows.append(_vote(path, number, numbers, values))
        for at, name in enumerate(pairs):
            styles[name].append(values[3 + 2 * at : 5 + 2 * at])
        if cluster:
            group_of.append(groups.setdefault(values[-1], len(groups)))
    if not rows:
        raise ValueError(f"{path} has no votes: {CURE}")
    left, right, score = (np.array(column) for column in zip(*rows, strict=True))
    return Votes(tuple(numbers), left, right, score, _style(styles), np.array(group_of) if cluster else None)


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of every line that is not empty."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name one file of it")
    content = recognise(path)
    if content.kind != "text":
        raise ValueError(f"{path}: {content.refusal or f'a table ({content.kind})'}; {CURE}")
    with open_utf8(path, content.form) as file:
        file.seek(0)
        raw = file.read()
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: byte {error.start:,} is not UTF-8; convert the file") from None
    first = text.partition("\n")[0]
    delimiter = max(",\t;", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if any(field.strip() for field in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}; {CURE}") from None


def _sides(path: Path, header: Sequence[str]) -> tuple[str, str]:
    for pair in SIDES:
        if {*pair, "winner"} <= set(header):
            return pair
    raise ValueError(f"{path} has the columns {', '.join(header) or '(none)'}; {CURE}")


def _vote(path: Path, line: int, numbers: dict[str, int], values: Sequence[str]) -> tuple[int, int, float]:
    left, right, winner = (value.strip() for value in values[:3])
    if not left or not right or left == right:
        raise ValueError(f"{path}, line {line}: a vote is between two models; got {left!r} and {right!r}")
    word = winner.lower()
    by_name = {left: 1.0, right: 0.0}.get(winner)
    by_word = 1.0 if word in LEFT else 0.0 if word in RIGHT else 0.5 if word in TIE else None
    if by_name is not None and by_word is not None and by_name != by_word:
        raise ValueError(
            f"{path}, line {line}: the winner {winner!r} is the name of a model and a word for {SIDE[by_word]}: write "
            "left, right or tie, or give the model another name"
        )
    score = by_word if by_name is None else by_name
    if score is None:
        raise ValueError(f"{path}, line {line}: the winner is left, right or tie; got {winner[:40]!r}")
    vote = (numbers.setdefault(left, len(numbers)), numbers.setdefault(right, len(numbers)), score)
    if len(numbers) > MOST_MODELS:
        raise ValueError(
            f"{path} names more than {MOST_MODELS:,} models up to line {line:,}, and a rating compares each with each: "
            "give a file of fewer models, or check that left and right are models and not answers"
        )
    return vote


def _style_columns(header: Sequence[str], taken: set[str]) -> dict[str, tuple[str, str]]:
    """Property → its column for the left and for the right answer."""
    found: dict[str, tuple[str, str]] = {}
    for name in header:
        for mine, other in AFFIXES:
            bare = name.removeprefix(mine) if mine.endswith("_") else name.removesuffix(mine)
            partner = other + bare if mine.endswith("_") else bare + other
            if bare and bare != name and partner in header and not {name, partner} & taken:
                found.setdefault(bare, (name, partner))
    return found


def _style(columns: dict[str, list[list[str]]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Covariates whose values are all finite numbers; a column of words is no covariate."""
    kept = {}
    for name, pairs in columns.items():
        try:
            values = [(float(left), float(right)) for left, right in pairs]
        except ValueError:
            continue
        if all(math.isfinite(value) for pair in values for value in pair):
            table = np.array(values)
            kept[name] = (table[:, 0], table[:, 1])
    return kept
