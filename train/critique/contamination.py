"""Contamination: n-grams of words that a benchmark shares with the documents, for context and right answer separately.

The lengths in use: 8 to 13 words (GPT-3, Brown et al. 2020, appendix C), 12 (datatrove's default), 13 (EleutherAI's
lm-evaluation-harness). Texts are simplified, cut into words and hashed by datatrove's functions, as its decontamination
filter does; that filter drops documents, this counts items. An answer shorter than n words has no n-gram and is not
found.
Accuracy on clean and dirty items: Li et al. 2023 (arXiv 2310.17589), Singh et al. 2024 (arXiv 2411.03923).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from datatrove.utils.hashing import HashConfig, create_hash_func
from datatrove.utils.text import ngrams, simplify_text

from llm_jax.scoring.choices import reading, rules
from llm_jax.scoring.choices.values import Choices
from llm_jax.scoring.rows import read_rows
from train.critique.documents import Document
from train.critique.removal import wilson

LENGTHS = (8, 12, 13)
SHOWN = 5  # hits that are shown
PARTS = ("context", "answer")
Record = dict[str, Any]


class Item(NamedTuple):
    context: str
    answer: str  # the right one


def read(path: Path) -> list[Item]:
    """The items of a benchmark file. Raises OSError or ValueError that names the file, and what is wrong."""
    if path.is_file() and not path.stat().st_size:
        raise ValueError(f"{path} is empty; expected a benchmark's rows. Copy it again")
    return [_item(f"{path}, row {number:,}", row) for number, row in enumerate(read_rows(path), 1)]


def _item(where: str, row: Mapping[str, Any]) -> Item:
    try:
        if "endings" in row:  # HellaSwag
            context = row["ctx"] if "ctx" in row else f"{row['ctx_a']} {row['ctx_b']}"
            return Item(str(context), str(row["endings"][_number(row["label"])]))
        if "goal" in row:  # PIQA
            return Item(str(row["goal"]), str(row[f"sol{_number(row['label']) + 1}"]))
        if "question" in row and isinstance(row.get("choices"), Mapping):  # ARC
            choices = row["choices"]
            return Item(str(row["question"]), str(choices["text"][list(choices["label"]).index(row["answerKey"])]))
        if "question" in row and isinstance(row.get("choices"), list):  # MMLU
            return Item(str(row["question"]), str(row["choices"][_number(row["answer"])]))
        if "question" in row and "answer" in row:  # GSM8K
            return Item(str(row["question"]), str(row["answer"]))
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise ValueError(
            f"{where}: damaged ({type(error).__name__}: {error}); expected the context and the right answer as "
            "HellaSwag, PIQA, ARC, MMLU or GSM8K have them"
        ) from None
    raise ValueError(
        f"{where} has the columns {', '.join(map(str, row))}; expected those of HellaSwag (ctx, endings, label), PIQA "
        "(goal, sol1, sol2, label), ARC or MMLU (question, choices, answerKey or answer) or GSM8K (question, answer)"
    )


def _number(value: Any) -> int:
    number = int(value)
    if number < 0:
        raise ValueError(f"the number of the right answer is {number}")
    return number


def contamination(
    documents: Sequence[Document], path: Path, items: Sequence[Item], tokenizer: Any, names: Sequence[str] = ()
) -> Record:
    """Items with an n-gram in the documents, by length and part; accuracy on clean and dirty ones for `names`."""
    hashed: Callable[[Any], int] = create_hash_func(HashConfig(precision=64))

    def grams_of(text: str) -> dict[int, list[int]]:
        words = tokenizer.word_tokenize(simplify_text(text))
        return {n: [hashed(" ".join(gram)) for gram in ngrams(words, n)] for n in LENGTHS}

    owners: dict[int, dict[int, set[tuple[int, int]]]] = {n: {} for n in LENGTHS}
    long_enough = {n: [0, 0] for n in LENGTHS}
    for number, item in enumerate(items):
        for part, text in enumerate(item):
            for n, grams in grams_of(text).items():
                long_enough[n][part] += bool(grams)
                for gram in grams:
                    owners[n].setdefault(gram, set()).add((number, part))
    dirty = {n: np.zeros((len(items), len(PARTS)), bool) for n in LENGTHS}
    where: dict[int, str] = {}
    hit_documents: dict[int, int] = dict.fromkeys(LENGTHS, 0)
    for document in documents:
        for n, grams in grams_of(document.text).items():
            found = {owner for gram in grams for owner in owners[n].get(gram, ())}
            hit_documents[n] += bool(found)
            for number, part in found:
                dirty[n][number, part] = True
                where.setdefault(number, document.place)
    models = [_accuracies(choices, path, dirty) for choices in _choices(names, path)]
    longest = dirty[LENGTHS[-1]].any(1)
    shown = np.flatnonzero(longest if longest.any() else dirty[LENGTHS[0]].any(1))[:SHOWN]
    return {
        "benchmark": path.name,
        "items": len(items),
        "lengths": [
            {
                "words": n,
                "documents": hit_documents[n],
                **{
                    part: {"items": int(dirty[n][:, at].sum()), "long_enough": long_enough[n][at]}
                    for at, part in enumerate(PARTS)
                },
                "both": int(dirty[n].all(1).sum()),
            }
            for n in LENGTHS
        ],
        "examples": [
            {
                "item": int(i) + 1,
                "context": items[i].context[:300],
                "answer": items[i].answer[:200],
                "place": where[int(i)],
            }
            for i in shown
        ],
        "models": models,
    }


def _choices(names: Sequence[str], path: Path) -> list[Choices]:
    if not names:
        return []
    has_endings = "endings" in read_rows(path, 1)[0]
    return reading.read_all(names, path if has_endings else None)


def _accuracies(choices: Choices, path: Path, dirty: Mapping[int, np.ndarray]) -> Record:
    """Accuracy on clean and dirty items under the first rule that the file has enough for."""
    count = len(next(iter(dirty.values())))
    if len(choices.items) != count:
        raise ValueError(
            f"{choices.source} has {len(choices.items):,} items, {path} has {count:,}: these are other items"
        )
    for rule in rules.PREFERRED:
        if not isinstance(right := rules.values(choices, rule), rules.Lacking):
            break
    else:
        raise ValueError(f"{choices.source} has no log-probabilities from which an accuracy follows")
    rows = []
    for n, table in dirty.items():
        for name, chosen in (*((part, table[:, at]) for at, part in enumerate(PARTS)), ("either", table.any(1))):
            rows.append({"words": n, "part": name, **_difference(right, np.asarray(chosen))})
    return {"model": choices.model, "prompt": choices.prompt, "rule": rule, "splits": rows}


def _difference(right: np.ndarray, dirty: np.ndarray) -> Record:
    """Both accuracies, and their difference, with 95 % intervals; the difference's is Newcombe's (1998, method 10).

    Often a handful of items is dirty. Their standard error would be 0 where all are right; these intervals are not.
    """
    sides = {"dirty": right[dirty], "clean": right[~dirty]}
    found: Record = {}
    for side, values in sides.items():
        n, k = len(values), int(values.sum())
        found[side] = {"items": n, "accuracy": k / n if n else None, "interval": wilson(k, n)}
    if not all(map(len, sides.values())):
        return {**found, "difference": None, "interval": None}
    p, q = found["dirty"]["accuracy"], found["clean"]["accuracy"]
    (p_low, p_high), (q_low, q_high) = found["dirty"]["interval"], found["clean"]["interval"]
    interval = [p - q - math.hypot(p - p_low, q_high - q), p - q + math.hypot(p_high - p, q - q_low)]
    return {**found, "difference": p - q, "interval": interval}
