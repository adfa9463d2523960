"""The interactive page of embedding-atlas (Ren et al. 2025), where that program is installed.

It brings its own environment (`uv tool install embedding-atlas`): it is a hundred packages, so this project only calls
it. points.parquet, which it reads, is written in any case.
"""

import shutil
import subprocess
from pathlib import Path

import numpy as np

from llm_jax.files import replacing
from llm_jax.models.embeddings.vectors import Vectors

PROGRAM, POINTS, PAGE = "embedding-atlas", "points.parquet", "atlas"
SECONDS = 300


def write(folder: Path, vectors: Vectors, xy: np.ndarray) -> list[str]:
    """points.parquet, and the folder atlas/ where the program is there. Returns the lines to print."""
    if len(xy) == 0:
        return []
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"word": list(vectors.words[: len(xy)]), "x": xy[:, 0].tolist(), "y": xy[:, 1].tolist()})
    with replacing(folder / POINTS) as file:
        pq.write_table(table, file)
    flags = ["--text", "word", "--x", "x", "--y", "y", "--export-application"]
    program = shutil.which(PROGRAM)
    if program is None:
        command = f"uv tool run {PROGRAM} {POINTS} {' '.join(flags)} {PAGE}"
        return [f"no interactive page: {PROGRAM} is not installed; in the folder, `{command}` makes one"]
    try:
        done = subprocess.run(
            [program, POINTS, *flags, PAGE], cwd=folder, capture_output=True, text=True, timeout=SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"no interactive page: {PROGRAM} did not end well ({error})"]
    if done.returncode or not (folder / PAGE / "index.html").is_file():
        shutil.rmtree(folder / PAGE, ignore_errors=True)
        last = (done.stderr.strip().splitlines() or ["it wrote nothing"])[-1]
        return [f"no interactive page: {PROGRAM} failed: {last}"]
    return []
