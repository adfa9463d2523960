"""Seconds from the command to the first training step of the quickstart, with a cold and a warm compilation cache.

The text is prepared beforehand; `python -m train quickstart --data FOLDER` then starts anew each time, and is stopped
when its first step is recorded. Cold: the cache folder is new. Warm: it is the one the run before has filled.

    python benchmarks/startup.py --out benchmarks/results/startup.json
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro
from measuring import machine, save, show

# The command itself, but for its end: the process leaves when the first step's numbers are written.
CHILD = """
import os, sys
from llm_jax import backend
backend.keep_memory()
backend.configure()
from train import __main__ as front
from train.pretrain import loop
def leave(run, values):
    os._exit(0)
loop._write = leave
sys.exit(front.run("python -m train", "", front.COMMANDS, sys.argv[1:]) or 1)
"""


@dataclass(frozen=True)
class Options:
    repeats: int = 3
    """How often each start is timed."""

    out: Path | None = None
    """JSON file for the results."""


def main(options: Options) -> None:
    where = machine()
    seconds: dict[str, list[float]] = {"cold": [], "warm": []}
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "data"
        prepare = ["prepare", "--source", "stdlib", "--tokenizer", "train:4096", "--out", str(data)]
        subprocess.run([sys.executable, "-m", "train", *prepare], check=True, stdout=subprocess.DEVNULL)
        for repeat in range(options.repeats):
            cache = Path(name) / f"cache-{repeat}"
            for kind in seconds:
                seconds[kind].append(start(data, Path(name) / f"runs-{repeat}-{kind}", cache))
    median = {kind: statistics.median(values) for kind, values in seconds.items()}
    rows = [(kind, f"{median[kind]:.1f}", ", ".join(f"{s:.1f}" for s in seconds[kind])) for kind in seconds]
    show("seconds from the command to the first step of the quickstart", ("median", "each"), rows)
    save(options.out, {"seconds": seconds, "median": median, "machine": where})


def start(data: Path, runs: Path, cache: Path) -> float:
    """Starts the quickstart, waits for its first step."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION")}
    child = data.parent / "child.py"
    child.write_text(CHILD)
    command = [sys.executable, str(child), "quickstart", "--data", str(data), "--runs", str(runs)]
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**environment, "LLM_JAX_CACHE": str(cache)})
    return time.perf_counter() - begun


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
