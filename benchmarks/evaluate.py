"""HellaSwag on a real model: `serve evaluate` with our decoder beside lm-evaluation-harness's own `hf` model.

Both sides run the same command in a process of its own, one after the other: load the model, read the rows, score,
aggregate. Timed are the whole command and, from results.json, the evaluation without the start of Python. Our programs
may be in the compilation cache or not: `--cold` gives an empty one, as at the very first evaluation. Both must say the
same accuracies.

    python benchmarks/evaluate.py --model HF_DIR --data validation.parquet --out benchmarks/results/evaluate.json
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from measuring import machine, save, show

ROOT = Path(__file__).resolve().parent.parent
SIDES = ("jax", "hf")


@dataclass(frozen=True)
class Options:
    model: Path
    """Hugging Face directory."""
    data: Path
    """HellaSwag's validation rows, parquet or JSONL."""
    items: int = 1000
    sides: tuple[str, ...] = SIDES
    batch_sizes: tuple[int, ...] = (8,)
    """Of the hf model; the fastest counts."""
    cold: bool = False
    """Begin with an empty compilation cache."""
    out: Path | None = None
    """JSON file for the results."""


def main(options: Options) -> None:
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        cache = {"LLM_JAX_CACHE": folder, "JAX_COMPILATION_CACHE_DIR": f"{folder}/xla"} if options.cold else {}
        for side in options.sides:
            for batch_size in options.batch_sizes if side == "hf" else (8,):
                name = f"hf, batches of {batch_size}" if side == "hf" else "ours"
                found[name] = evaluate(options, side, batch_size, Path(folder) / f"{side}-{batch_size}", cache)
                show_line(name, found[name])
    title = f"HellaSwag, {options.items:,} items, {options.model.name}, float32"
    rows = [
        [
            name,
            f"{one['command']:.1f}",
            f"{one['evaluation']:.1f}",
            f"{one['processor']:.1f}",
            *map(str, one["figures"].values()),
        ]
        for name, one in found.items()
    ]
    show(title, ["command, s", "evaluation, s", "processor, s", "acc", "acc_norm"], rows)
    result = {"what": title, "cold": options.cold, "sides": found, "machine": machine()}
    theirs = [one["command"] for name, one in found.items() if name != "ours"]
    if "ours" in found and theirs:
        result["ratio"] = round(min(theirs) / found["ours"]["command"], 2)
        result["equal accuracies"] = len({tuple(one["figures"].values()) for one in found.values()}) == 1
        print(f"the fastest hf / ours: {result['ratio']}; equal accuracies: {result['equal accuracies']}")
    save(options.out, result)


def show_line(name: str, one: dict[str, Any]) -> None:
    print(f"{name}: {one['command']:.1f} s, {one['figures']}", flush=True)


def evaluate(options: Options, side: str, batch_size: int, out: Path, cache: dict[str, str]) -> dict[str, Any]:
    """Seconds of one side, and its figures."""
    command = [sys.executable, "-m", "serve", "evaluate", str(options.model), "--tasks", "hellaswag"]
    command += ["--data", f"hellaswag={options.data}", "--limit", str(options.items), "--backend", side]
    command += ["--batch-size", str(batch_size), "--dtype", "float32", "--out", str(out)]
    before, begun = os.times(), time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT, env=os.environ | cache, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - begun, os.times()
    (model,) = json.loads((out / "results.json").read_text())["models"]
    return {
        "command": round(seconds, 1),
        "evaluation": model["seconds"],
        "processor": round(
            after.children_user + after.children_system - before.children_user - before.children_system, 1
        ),
        "figures": {metric: model["tasks"]["hellaswag"][metric]["value"] for metric in ("acc", "acc_norm")},
    }


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
