"""Tokens a second in training: ours, Hugging Face's GPT-2 and a compact PyTorch GPT, eager and compiled.

All take the same step (`step_sides.py`), in turns, in one process. The bound is what this machine could do at best, by
its own measure in the same run: the step's FLOPs at the rate of a large matrix product, and then AdamW's bytes (28 a
parameter) at the rate of a copy; each at the best of all its turns and, for the product, of both libraries.

    python benchmarks/train_step.py --preset 124m-64 --out benchmarks/results/train_step_124m-64.json
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llm_jax import backend

if __name__ == "__main__":
    backend.use_huge_pages()
backend.configure()  # before JAX is imported

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import tyro  # noqa: E402
from measuring import in_turns, machine, medians, save, show  # noqa: E402
from step_sides import Side, Work, compact_pytorch, hugging_face, ours  # noqa: E402

from llm_jax.config import GPTConfig  # noqa: E402
from train import devices, presets  # noqa: E402
from train.config import TrainConfig  # noqa: E402

Preset = Literal["124m-64", "124m-256", "quickstart", "shakespeare-char", "toy"]
PRODUCT, STREAM = 2048, 64 * 2**20  # columns of the bound's matrix product, floats of its copy


@dataclass(frozen=True)
class Options:
    preset: Preset = "quickstart"
    """124m-64, 124m-256: GPT-2 124M, 4 sequences of so many tokens; quickstart, shakespeare-char: as those runs."""

    repeats: int = 10
    """Steps of each side that are timed."""

    eager: bool = True
    """Also time PyTorch without torch.compile."""

    compiled: bool = True
    """Also time PyTorch with torch.compile (which takes a minute or two to compile 124M)."""

    only: str = ""
    """One side alone in its process, by name: ours, hugging-face, eager or compiled (the compact PyTorch)."""

    out: Path | None = None
    """JSON file for the results."""


def main(options: Options) -> None:
    where = machine()
    work = WORK[options.preset]()
    if options.only:
        step = ALONE[options.only](work).step
        seconds = medians(in_turns({options.only: step}, options.repeats))[options.only]
        print(f"{options.preset}, {options.only} alone: {1e3 * seconds:.1f} ms, {work.tokens / seconds:,.0f} tokens/s")
        return
    sides: dict[str, Side] = {"ours": ours(work)}
    if options.preset in ("quickstart", "shakespeare-char"):
        sides["ours with Muon"] = ours(work, "muon")
    if options.eager:
        sides["Hugging Face, eager"] = hugging_face(work)
        sides["compact PyTorch, eager"] = compact_pytorch(work)
    if options.compiled:
        sides["compact PyTorch, compiled"] = compact_pytorch(work, compiled=True)
    losses = {name: side.first_loss for name, side in sides.items()}
    assert max(losses.values()) - min(losses.values()) < 0.1 * losses["ours"], f"not the same work: {losses}"
    calls = {name: side.step for name, side in sides.items()} | bound_parts(options.eager or options.compiled)
    seconds = in_turns(calls, options.repeats)
    median = medians(seconds)
    product = 2 * PRODUCT**3 / min(min(seconds[name]) for name in seconds if name.startswith("matrix product"))
    bandwidth = 8 * STREAM / min(seconds["copy"])
    bound = work.flops("llm.c") / product + 28 * work.model.n_parameters / bandwidth
    rivals = [median[name] for name in sides if "PyTorch" in name or "Hugging Face" in name]
    result = {
        "preset": options.preset,
        "work": {"batch": work.batch, "length": work.length, "parameters": work.model.n_parameters},
        "bound": {"matrix_product_flops": product, "copy_bytes_per_second": bandwidth, "seconds": bound},
        "share_of_bound": bound / median["ours"],
        "times_as_fast_as_best_pytorch": min(rivals) / median["ours"] if rivals else None,
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
            for name, side in sides.items()
        },
        "machine": where,
    }
    report(result, work)
    save(options.out, result)


def bound_parts(with_pytorch: bool) -> dict[str, Callable[[], Any]]:
    """A large matrix product and a copy, as this machine does them through JAX, and the product through PyTorch."""
    x = jnp.ones((PRODUCT, PRODUCT), jnp.bfloat16 if jax.default_backend() == "gpu" else jnp.float32)
    multiply = jax.jit(jnp.matmul)
    state = {"stream": jnp.ones(STREAM, jnp.float32)}
    increase = jax.jit(lambda stream: stream + 1, donate_argnums=0)  # in place, as the optimizer works

    def copy() -> None:
        state["stream"] = increase(state["stream"]).block_until_ready()

    parts: dict[str, Callable[[], Any]] = {
        "matrix product": lambda: multiply(x, x).block_until_ready(),
        "copy": copy,
    }
    if with_pytorch and jax.default_backend() == "cpu":
        import torch

        y = torch.ones(PRODUCT, PRODUCT)
        parts["matrix product, PyTorch"] = lambda: y @ y
    return parts


ALONE: dict[str, Callable[[Work], Side]] = {
    "ours": ours,
    "hugging-face": hugging_face,
    "eager": compact_pytorch,
    "compiled": lambda work: compact_pytorch(work, compiled=True),
}


def _gpt2(length: int) -> Work:
    return Work(GPTConfig(), batch=4, length=length)


def _run(config: TrainConfig) -> Work:
    return Work(config.model, config.batch_size, config.model.context_length)


WORK = {
    "124m-64": lambda: _gpt2(64),
    "124m-256": lambda: _gpt2(256),
    "quickstart": lambda: _run(presets.quickstart()),
    "shakespeare-char": lambda: _run(presets.shakespeare_char()),
    "toy": lambda: Work(GPTConfig(vocab_size=100, context_length=16, d_model=32, n_heads=2, n_layers=2), 2, 16),
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
    print(f"bound: {1e3 * result['bound']['seconds']:.1f} ms; ours reaches {result['share_of_bound']:.2f} of it")
    if result["times_as_fast_as_best_pytorch"]:
        print(f"ours is {result['times_as_fast_as_best_pytorch']:.2f} × as fast as the better PyTorch")


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main(tyro.cli(Options, description=__doc__))
