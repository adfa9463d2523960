"""What the benchmarks of speed share: taking turns, the machine's description, a table, a JSON file.

Standard library and JAX alone, so that a machine with nothing else can run them.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from llm_jax.files.json_files import write_json

PAUSE = 0.3  # seconds before each turn: threads that spin after the work of another side have gone to sleep


def in_turns(
    sides: Mapping[str, Callable[[], Any]], repeats: int, warm_up: int = 1, burst: float = 0.0
) -> dict[str, list[float]]:
    """Seconds of each call, all sides taking turns: what slows the machine down for a while slows down all of them.

    A side must return only when its work is done. With a `burst`, a turn is a first call that does not count, for
    threads and caches are cold after the wait, and then calls for at least so many seconds: work that is repeated
    without a pause is measured without one.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(warm_up + repeats):
        for name, call in sides.items():
            time.sleep(PAUSE)
            if burst:
                call()
            until = time.perf_counter() + burst
            while True:
                begun = time.perf_counter()
                call()
                ended = time.perf_counter()
                if repeat >= warm_up:
                    seconds[name].append(ended - begun)
                if ended >= until:
                    break
    return seconds


def medians(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in seconds.items()}


def machine() -> dict[str, Any]:
    """Where and with what the figures came about."""
    import jax

    packages = ("jax", "jaxlib", "flax", "optax", "numpy", "torch", "transformers", "vllm")
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "python": platform.python_version(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "versions": {name: version for name in packages if (version := _version(name))},
        "date": time.strftime("%Y-%m-%d"),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    found = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return found or platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table, the first column to the left and the others to the right."""
    table = [("", *columns), *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    print(f"\n{title}")
    for row in table:
        cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        print("  ".join((row[0].ljust(widths[0]), *cells)).rstrip(), flush=True)


def save(out: Path | None, result: Mapping[str, Any]) -> None:
    """Writes the JSON file beside its place and renames it: an interrupt leaves the older one whole."""
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, result)
