"""Tokens a second in training: ours, Hugging Face's model and a compact one in PyTorch, eager and compiled.

All take the same step (`step_sides.py`), in turns, each in a process of its own. The bound is what this machine could
do at best, by its own measure in the same run: the step's FLOPs at the rate of a large matrix product, and then AdamW's
bytes (28 a parameter) at the rate of a copy; each at the best of all its turns and, for the product, of both libraries.

    python benchmarks/train_step.py --preset 124m-64 --out benchmarks/results/train_step_124m-64.json
"""

import contextlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from llm_jax import backend

if __name__ == "__main__":
    backend.keep_memory()
backend.configure()  # before JAX is imported

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from apart import Apart  # noqa: E402
from measuring import in_turns, machine, medians, save, show  # noqa: E402
from step_sides import Side, Work, compact_pytorch, hugging_face, ours  # noqa: E402

from llm_jax.config import DecoderConfig, ModelName, model_preset  # noqa: E402
from train.cluster import devices  # noqa: E402
from train.pretrain import presets  # noqa: E402
from train.pretrain.config import TrainConfig  # noqa: E402

Preset = Literal["124m-64", "124m-256", "quickstart", "shakespeare-char", "llama-nano", "llama-160m-64", "toy"]
Name = Literal["ours", "muon", "hugging-face", "hugging-face-compiled", "eager", "compiled"]
PRODUCT, STREAM = 2048, 64 * 2**20  # columns of the bound's matrix product, floats of its copy
BURST = 0.5  # seconds of steps without a pause in each turn


@dataclass(frozen=True)
class Options:
    preset: Preset = "quickstart"
    """124m-64, 124m-256, llama-160m-64: 4 sequences of so many tokens; quickstart, shakespeare-char, llama-nano: as
    those runs."""

    repeats: int = 10
    """Turns of each side, of half a second or one step, whichever is longer."""

    sides: tuple[Name, ...] = ("ours", "muon", "hugging-face", "eager", "compiled")
    """muon: ours with Muon (for the presets that run it); hugging-face-compiled: by torch.compile; eager, compiled: the
    compact PyTorch (compiling 124M takes a minute or two)."""

    out: Path | None = None
    """JSON file for the results."""


def main(options: Options) -> None:
    where = machine()
    work = WORK[options.preset]()
    with contextlib.ExitStack() as stack:

        def start(make: Callable[[], tuple[Callable[[], Any], Any]]) -> Apart:
            side = Apart(make)
            stack.callback(side.end)
            return side

        sides = {TITLES[name]: start(partial(_side, name, work)) for name in _wanted(options)}
        parts = {name: start(partial(_part, name)) for name in (*BOUND, *PYTORCH_BOUND)}
        seconds = in_turns(sides | parts, options.repeats, burst=BURST)
        facts: dict[str, Side] = {name: side.facts for name, side in sides.items()}
    losses = {name: side.first_loss for name, side in facts.items()}
    for name, loss in losses.items():  # PyTorch's sides do not mask the rows that pad the vocabulary
        size = work.model.vocab_size if name.startswith("ours") else work.model.padded_vocab_size
        assert abs(loss - math.log(size)) < 0.3, (
            f"{name}: a fresh model has a loss of {loss}, not the logarithm of {size}"
        )
    median = medians(seconds)
    product = 2 * PRODUCT**3 / min(min(seconds[name]) for name in seconds if name.startswith("matrix product"))
    bandwidth = 8 * STREAM / min(seconds["copy"])
    bound = work.flops("llm.c") / product + 28 * work.model.n_parameters / bandwidth
    rivals = [median[name] for name in sides if not name.startswith("ours")]
    both = "ours" in sides and rivals
    result = {
        "preset": options.preset,
        "work": {"batch": work.batch, "length": work.length, "parameters": work.model.n_parameters},
        "bound": {"matrix_product_flops": product, "copy_bytes_per_second": bandwidth, "seconds": bound},
        "share_of_bound": bound / median["ours"] if "ours" in sides else None,
        "times_as_fast_as_best_pytorch": min(rivals) / median["ours"] if both else None,
        "sides": {
            name: {
                "tokens_per_second": work.tokens / median[name],
                "milliseconds": 1e3 * median[name],
                "flops_nanogpt": work.flops("nanogpt") / median[name],
                "flops_llm_c": work.flops("llm.c") / median[name],
                "mfu_of_measured_peak_nanogpt": work.flops("nanogpt")
                / median[name]
                / (devices.peak_flops() or product),
                "compile_seconds": side.compile_seconds,
                "peak_bytes": side.peak_bytes,
                "first_loss": losses[name],
                "seconds_of_each_step": seconds[name],
            }
            for name, side in facts.items()
        },
        "machine": where,
    }
    report(result, work)
    save(options.out, result)


def _wanted(options: Options) -> list[Name]:
    runs = options.preset in ("quickstart", "shakespeare-char", "llama-nano")
    return [name for name in options.sides if name != "muon" or runs]


def _side(name: Name, work: Work) -> tuple[Callable[[], Any], Side]:
    side = MAKE[name](work)
    return side.step, replace(side, step=_elsewhere)


def _elsewhere() -> None:
    raise AssertionError("a step is taken where its side was made")


def _part(name: str) -> tuple[Callable[[], Any], None]:
    part = (BOUND | PYTORCH_BOUND)[name]()
    return lambda: (part(), None)[1], None


def matrix_product() -> Callable[[], Any]:
    x = jnp.ones((PRODUCT, PRODUCT), jnp.bfloat16 if jax.default_backend() == "gpu" else jnp.float32)
    multiply = jax.jit(jnp.matmul)
    return lambda: multiply(x, x).block_until_ready()


def matrix_product_of_pytorch() -> Callable[[], Any]:
    import torch

    y = torch.ones(PRODUCT, PRODUCT)
    return lambda: y @ y


def copy() -> Callable[[], Any]:
    """In place, as the optimizer works."""
    state = {"stream": jnp.ones(STREAM, jnp.float32)}
    increase = jax.jit(lambda stream: stream + 1, donate_argnums=0)

    def run() -> None:
        state["stream"] = increase(state["stream"]).block_until_ready()

    return run


BOUND: dict[str, Callable[[], Callable[[], Any]]] = {"matrix product": matrix_product, "copy": copy}
PYTORCH_BOUND = {"matrix product, PyTorch": matrix_product_of_pytorch}
MAKE: dict[Name, Callable[[Work], Side]] = {
    "ours": ours,
    "muon": partial(ours, optimizer_name="muon"),
    "hugging-face": hugging_face,
    "hugging-face-compiled": partial(hugging_face, compiled=True),
    "eager": compact_pytorch,
    "compiled": partial(compact_pytorch, compiled=True),
}
TITLES: dict[Name, str] = {
    "ours": "ours",
    "muon": "ours with Muon",
    "hugging-face": "Hugging Face, eager",
    "hugging-face-compiled": "Hugging Face, compiled",
    "eager": "compact PyTorch, eager",
    "compiled": "compact PyTorch, compiled",
}


def _four(model: ModelName, length: int) -> Work:
    return Work(model_preset(model), batch=4, length=length)


def _run(config: TrainConfig) -> Work:
    return Work(config.model, config.batch_size, config.model.context_length)


WORK = {
    "124m-64": lambda: _four("gpt2-124m", 64),
    "124m-256": lambda: _four("gpt2-124m", 256),
    "llama-160m-64": lambda: _four("llama-160m", 64),
    "quickstart": lambda: _run(presets.quickstart()),
    "shakespeare-char": lambda: _run(presets.shakespeare_char()),
    "llama-nano": lambda: _run(presets.llama_nano()),
    "toy": lambda: Work(DecoderConfig(vocab_size=100, context_length=16, d_model=32, n_heads=2, n_layers=2), 2, 16),
}


def report(result: dict, work: Work) -> None:
    rows = [
        (
            name,
            f"{side['tokens_per_second']:,.0f}",
            f"{side['milliseconds']:.1f}",
            f"{side['mfu_of_measured_peak_nanogpt']:.0%}",
            f"{side['compile_seconds']:.1f}",
        )
        for name, side in result["sides"].items()
    ]
    title = f"{result['preset']}: {work.batch} × {work.length} tokens, {work.model.n_parameters:,} parameters"
    show(title, ("tokens/s", "ms", "FLOP/s of peak", "compile s"), rows)
    print(f"bound: {1e3 * result['bound']['seconds']:.1f} ms", end="")
    print(f"; ours reaches {result['share_of_bound']:.2f} of it" if result["share_of_bound"] else "")
    if result["times_as_fast_as_best_pytorch"]:
        print(f"ours is {result['times_as_fast_as_best_pytorch']:.2f} × as fast as the better PyTorch")


if __name__ == "__main__":
    import tyro

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main(tyro.cli(Options, description=__doc__))
