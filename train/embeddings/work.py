"""The steps of `train embeddings`: vectors, questions, pictures, and one folder, whole or not at all."""

from typing import Any

from rich.console import Console

from llm_jax.files import replacing_folder
from llm_jax.files.json_files import write_json
from llm_jax.models.embeddings import nearest
from llm_jax.models.embeddings import vectors as files
from llm_jax.models.embeddings.vectors import Vectors
from train.embeddings import atlas, inputs, making, pictures, views
from train.embeddings.config import EmbeddingsConfig

VECTORS, REPORT = "vectors.txt", "report.json"


def work(options: EmbeddingsConfig, console: Console) -> dict[str, Any]:
    """Writes the folder and returns the report. Raises OSError or ValueError with a message for the user."""
    options.check()
    found = inputs.stored(options.source)
    if found:
        vectors, record = found[0], {"method": found[1]}
    else:
        vectors, record = making.make(options, console)
    record = {"source": str(options.source), **record, **questions(options, vectors)}
    with replacing_folder(options.folder) as folder:
        files.write(folder / VECTORS, vectors)
        xy, said = pictures.write(folder, vectors, options.points, options.source.name)
        record["left_out"] = [*said, *atlas.write(folder, vectors, xy)]
        write_json(folder / REPORT, record)
    return record


def questions(options: EmbeddingsConfig, vectors: Vectors) -> dict[str, Any]:
    """What the vectors answer: neighbours, analogies, and the file of questions."""
    near = views.spelled(vectors, options.near) if options.near else views.typical(vectors)
    asked = views.spelled(vectors, options.analogy)
    triples = list(zip(asked[::3], asked[1::3], asked[2::3], strict=True))
    answers = nearest.analogies(vectors, triples, options.k) if triples else []
    return {
        "words": len(vectors.words),
        "width": int(vectors.matrix.shape[1]),
        "neighbours": dict(zip(near, nearest.neighbours(vectors, near, options.k), strict=True)),
        "analogies": {f"{a} is to {b} as {c} is to": found for (a, b, c), found in zip(triples, answers, strict=True)},
        "questions": views.answered(vectors, options.questions) if options.questions else {},
    }
