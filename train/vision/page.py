"""The mistakes of a run as one HTML page (`llm_jax.files.page`), pictures inside; `page.js` fills it."""

import base64
import io
from pathlib import Path
from typing import Any

import jax
import numpy as np

from llm_jax.files.page import document
from train.vision import measure
from train.vision.data.world import Sample, World
from train.vision.drawing import said

SCRIPT = Path(__file__).with_name("page.js")
MOST = 60  # mistakes of a way
Record = dict[str, Any]


def mistakes(kept: dict[str, Any], test: Sample) -> Record:
    """Wrong answers of every way (first seed), with the pictures they are about."""
    pictures: dict[bytes, int] = {}
    found: list[Record] = []
    world: World = next(iter(kept.values())).way.task.world
    counts = {}
    for name, trained in kept.items():
        way = trained.way
        right_BM, token_BM = measure.ask(jax.jit(way.answer), trained.params, test)
        wrong = np.argwhere(~right_BM)
        counts[name] = {"wrong": len(wrong), "asked": right_BM.size}
        chosen = wrong[np.sort(np.random.default_rng(0).permutation(len(wrong))[:MOST])]
        named = _named(trained, test, chosen[:, 0])
        for (row, number), words in zip(chosen.tolist(), named, strict=True):
            picture = pictures.setdefault(png(np.asarray(test.pixels_BYXC[row])), len(pictures))
            question, token = int(test.question_BM[row, number]), int(token_BM[row, number])
            found.append(
                {
                    "way": name,
                    "kind": world.kinds[question],
                    "question": world.questions[question],
                    "right": world.answers[int(test.answer_BM[row, number])],
                    "answer": way.task.words.tokenizer.decode([token]).strip()
                    if token < way.task.words.vocab_size
                    else "(a patch)",
                    "seen": said(world, np.asarray(test.labels_BK[row])),
                    "named": words,
                    "picture": picture,
                }
            )
    links = [f"data:image/png;base64,{base64.b64encode(content).decode()}" for content in pictures]
    return {
        "data": world.name,
        "ways": counts,
        "kinds": list(dict.fromkeys(world.kinds)),
        "mistakes": found,
        "pictures": links,
    }


def _named(trained: Any, test: Sample, rows: np.ndarray) -> list[list[str] | None]:
    """What a pipeline's tower has named in these pictures; nothing for other ways."""
    seeing = getattr(trained.way, "seeing", None)
    if trained.way.name != "pipeline" or seeing is None or not len(rows):
        return [None] * len(rows)
    names = np.asarray(jax.jit(seeing.names)(trained.params.namer, np.asarray(test.pixels_BYXC)[rows]))
    return [said(trained.way.task.world, labels) for labels in names]


def png(pixels_YXC: np.ndarray) -> bytes:
    """A picture from 0 to 1 as a PNG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray((np.clip(pixels_YXC, 0, 1) * 255).round().astype(np.uint8)).save(file, "PNG", optimize=True)
    return file.getvalue()


def write(path: Path, record: Record) -> None:
    """Writes the page, whole or not at all."""
    document.write(path, "What the models got wrong", record, SCRIPT)
