"""Memory of a model that is loaded for decoding, beside the bytes of its weights, in each number format.

Each format in a process of its own, which opens the model as `serve generate` does. What counts is by how much the
memory that the process holds grew, at its highest (Linux: VmHWM), from just before; JAX is loaded by then.

    python benchmarks/load_memory.py smollm2-135m-instruct --out benchmarks/results/load_memory.json
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from llm_jax import backend

if __name__ == "__main__":
    backend.keep_memory()
backend.configure()  # before JAX is imported

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import tyro  # noqa: E402
from apart import Apart  # noqa: E402
from measuring import machine, save, show  # noqa: E402

from llm_jax.config import Weights  # noqa: E402

FORMATS: tuple[Weights, ...] = ("float32", "bf16", "int8")


@dataclass(frozen=True)
class Options:
    model: tyro.conf.Positional[Path]
    """A Hugging Face directory."""

    rows: int = 1
    """Sequences to decode at once, for which the weights are stored."""

    out: Path | None = None
    """JSON file for the results."""


def main(options: Options) -> None:
    where, found = machine(), {}
    for weights in FORMATS:
        side = Apart(partial(loading, str(options.model), options.rows, weights))
        found[weights] = side()
        side.end()
    rows = [
        (
            name,
            *(f"{f[key] / 1e6:,.1f}" for key in ("weights", "held", "highest")),
            f"{f['highest'] / f['weights']:.2f}",
        )
        for name, f in found.items()
    ]
    show(f"{Path(options.model).name}, megabytes", ("weights", "held at the end", "at the highest", "times"), rows)
    save(options.out, {"model": Path(options.model).name, "rows": options.rows, "formats": found, "machine": where})


def loading(model: str, rows: int, weights: Weights):
    return partial(load, model, rows, weights), None


def load(model: str, rows: int, weights: Weights) -> dict[str, int]:
    """Bytes of the weights, and by how much memory grew: at the end, and at the highest."""
    from llm_jax.config import Execution
    from llm_jax.decode.loop import prepare
    from llm_jax.models import decoder
    from serve.models import load_model

    jax.block_until_ready(jnp.zeros((8, 8)) @ jnp.ones((8, 8)))
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far is forgotten
    before = memory("VmRSS")
    opened = load_model(model, weights=weights)
    params = prepare(opened.params, decoder.make_plan(Execution()), rows, weights, consumes=True)
    jax.block_until_ready(params)
    size = sum(x.nbytes for x in jax.tree.leaves(params))
    return {"weights": size, "held": memory("VmRSS") - before, "highest": memory("VmHWM") - before}


def memory(name: str) -> int:
    """Bytes, from /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
