"""Is this version slower than an older one? Training steps and decoding of two checkouts, taken in turns.

Each checkout runs its own code in a process of its own, with this Python environment: the steps of
`train_step.py` and the decoding of `decode.py`. The processes are asked for a turn alternately, and the ratio is taken
turn by turn, so that what slows the machine down for a while changes both sides alike.

    git worktree add ../before 3893748
    python benchmarks/two_versions.py --before ../before --out benchmarks/results/two_versions.json
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from measuring import machine, save, show

STEPS = ("quickstart", "shakespeare-char", "124m-64", "124m-256")
BURST = 1.0  # seconds of work in a turn, at least one step

CHILD = """
import os, sys, time
from llm_jax import backend
backend.keep_memory()  # starts the process anew
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
work, number, burst = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
if work == "decode":
    import decode, numpy
    from llm_jax import config as configs
    config = getattr(configs, "DecoderConfig", None) or configs.GPTConfig
    side = decode.ours(config())
    side = side[0] if isinstance(side, tuple) else side
    prompts = numpy.random.default_rng(0).integers(0, 50257, (number, 32)).tolist()
    act = lambda: side(prompts, 64)
else:
    import train_step
    act = train_step.ours(train_step.WORK[work]()).step
act()
print("ready", file=answers, flush=True)
for _ in sys.stdin:
    started, count = time.perf_counter(), 0
    while not count or time.perf_counter() - started < burst:
        act()
        count += 1
    print((time.perf_counter() - started) / count, file=answers, flush=True)
"""


@dataclass(frozen=True)
class Options:
    before: Path
    """Checkout of the older version."""

    after: Path = Path(__file__).parents[1]
    """Checkout of the newer version. Default: this one."""

    work: tuple[str, ...] = (*STEPS, "decode-1", "decode-8", "decode-32")
    """Presets of train_step.py, and decode-ROWS (GPT-2 124M, 32 tokens of prompt, 64 new ones)."""

    repeats: int = 10
    """Turns of each version."""

    out: Path | None = None
    """JSON file for the results."""


def main(options: Options) -> None:
    where = machine()
    result: dict[str, Any] = {"machine": where, "work": {}}
    rows = []
    for work in options.work:
        with contextlib.ExitStack() as stack:
            before, after = (stack.enter_context(_version(path, work)) for path in (options.before, options.after))
            seconds: dict[str, list[float]] = {"before": [], "after": []}
            for turn in range(options.repeats):
                both = [("before", before), ("after", after)]
                for name, child in both if turn % 2 == 0 else reversed(both):
                    seconds[name].append(_turn(child))
        ratios = [old / new for old, new in zip(seconds["before"], seconds["after"], strict=True)]
        old, new = (statistics.median(seconds[name]) for name in ("before", "after"))
        result["work"][work] = {"seconds": seconds, "speed_after_to_before": statistics.median(ratios)}
        rows.append((work, f"{1e3 * old:.1f}", f"{1e3 * new:.1f}", f"{statistics.median(ratios):.3f}",
                     f"{min(ratios):.3f} to {max(ratios):.3f}"))  # fmt: skip
    show("two versions", ("before, ms", "after, ms", "speed", "turn by turn"), rows)
    save(options.out, result)


@contextlib.contextmanager
def _version(checkout: Path, work: str) -> Iterator[subprocess.Popen[str]]:
    name, _, number = work.rpartition("-") if work.startswith("decode-") else (work, "", "0")
    command = [sys.executable, "-c", CHILD, name, number, str(BURST)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(checkout), str(checkout / "benchmarks")))}
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=checkout, env=environment
    )
    try:
        assert child.stdout is not None
        if not child.stdout.readline():
            raise RuntimeError(f"{checkout}: {work} could not be run; its error is above")
        yield child
    finally:
        child.kill()
        child.wait()


def _turn(child: subprocess.Popen[str]) -> float:
    assert child.stdin is not None
    assert child.stdout is not None
    print("go", file=child.stdin, flush=True)
    return json.loads(child.stdout.readline())


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
