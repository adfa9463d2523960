"""Neighbours and analogies, for the terminal and report.json."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from llm_jax.files.content import read_text
from llm_jax.models.embeddings import nearest
from llm_jax.models.embeddings.vectors import Vectors

BEGINS = ("Ġ", "▁")  # how tokenizers spell a word with the space before it
BATCH = 512


def spelled(vectors: Vectors, words: Sequence[str]) -> list[str]:
    """The words as the vocabulary spells them: of tokens, with the space before. Raises ValueError for one without."""
    found = []
    for word in words:
        forms = [begin + word for begin in ("", *BEGINS) if begin + word in vectors.number]
        found.append(vectors.words[vectors.rows([forms[-1] if forms else word])[0]])
    return found


def typical(vectors: Vectors) -> list[str]:
    """Five words to show where the user named none: neither the commonest nor the rarest."""
    count = len(vectors.words)
    return [vectors.words[place] for place in sorted({int(count * share) for share in (0.02, 0.05, 0.1, 0.2, 0.4)})]


def answered(vectors: Vectors, path: Path, k: int = 1) -> dict[str, dict[str, int]]:
    """Section → how many questions, how many with all four words, how many of those right.

    Raises:
        OSError, ValueError: the file is no list of questions; names the line.
    """
    sections: dict[str, list[tuple[str, ...]]] = {}
    name = ""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        words = line.split()
        if line.startswith(":"):
            name = line[1:].strip()
        elif words:
            if len(words) != 4:
                raise ValueError(
                    f"{path}, line {number:,}: expected four words, or a colon and a section; got {line!r}"
                )
            sections.setdefault(name, []).append(tuple(words))
    if not sections:
        raise ValueError(f"{path} holds no question: expected lines of four words, a b c and the answer")
    is_lower = not any(word != word.lower() for word in vectors.words[:5000])
    result = {}
    for section, questions in sections.items():
        questions = [tuple(map(str.lower, one)) for one in questions] if is_lower else questions
        known = [one for one in questions if all(word in vectors.number for word in one)]
        right = 0
        for start in range(0, len(known), BATCH):
            part = known[start : start + BATCH]
            found = nearest.analogies(vectors, [(a, b, c) for a, b, c, _ in part], k)
            right += sum(answer in [word for word, _ in best] for best, (*_, answer) in zip(found, part, strict=True))
        result[section] = {"questions": len(questions), "known": len(known), "right": right}
    return result


def show(console: Console, record: dict[str, Any]) -> None:
    """Prints the record."""
    table = Table(
        title=f"nearest by cosine, {record['words']:,} words of {record['width']} numbers", title_justify="left"
    )
    table.add_column("word")
    table.add_column("neighbours")
    for word, found in record["neighbours"].items():
        table.add_row(_plain(word), ", ".join(f"{_plain(other)} {score:.2f}" for other, score in found))
    console.print(table, markup=False)
    for question, found in record["analogies"].items():
        console.print(
            f"{question}: {', '.join(f'{_plain(w)} {s:.2f}' for w, s in found)}", markup=False, soft_wrap=True
        )
    if record["questions"]:
        table = Table(title="analogies answered, the question's words left out", title_justify="left")
        for column in ("section", "questions", "all words known", "right", "accuracy"):
            table.add_column(column, justify="left" if column == "section" else "right")
        for section, counts in record["questions"].items():
            share = f"{counts['right'] / counts['known']:.1%}" if counts["known"] else "–"
            table.add_row(section, *(f"{counts[key]:,}" for key in ("questions", "known", "right")), share)
        console.print(table)


def _plain(word: str) -> str:
    """Without control characters, which could move a terminal's cursor, and without markup."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in word).replace("[", "\\[")
