"""Tokens a second in decoding, and the time to the first: ours, Hugging Face's `generate`, CTranslate2 and vLLM.

GPT-2's shape with random weights (speed does not depend on them), or the model of a directory; prompts of random ids,
greedy, no stop token. All take turns, each in a process of its own. vLLM runs in its own environment, named by
`LLM_JAX_VLLM_PYTHON`; it is left out where there is none. The bound of one step is what it must read, all weights once
and the cache, at the bandwidth with which this machine reads: the best of the turns taken between the others'. (A
virtual machine's bandwidth changes with its neighbours', within seconds.)

    python benchmarks/decode.py --batches 1 8 32 --out benchmarks/results/decode.json
    python benchmarks/decode.py --model smollm2-135m-instruct --sides ours ours-int8 ctranslate2 ctranslate2-int8
"""

import contextlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from llm_jax import backend

if __name__ == "__main__":
    backend.keep_memory()
backend.configure()  # before JAX is imported

import jax  # noqa: E402
import numpy as np  # noqa: E402
from apart import Apart  # noqa: E402
from decode_sides import Side, ctranslate2, hugging_face, ours, same, vllm, write_random  # noqa: E402
from measuring import in_turns, machine, medians, save, show  # noqa: E402

from llm_jax.config import DecoderConfig  # noqa: E402

Name = Literal[
    "ours",
    "ours-auto",
    "ours-bf16",
    "ours-int8",
    "hugging-face",
    "hugging-face-static",
    "ctranslate2",
    "ctranslate2-int8",
    "vllm",
]
READ, WIDTH, READS = 2**28, 4096, 16  # bytes that are read to measure bandwidth, columns of their matrix, how often


@dataclass(frozen=True)
class Options:
    batches: tuple[int, ...] = (1, 8, 32)
    """Sequences decoded at once."""

    prompt: int = 32
    """Tokens in a prompt."""

    new: int = 64
    """Tokens generated for each."""

    model: Path | None = None
    """A Hugging Face directory; default: GPT-2 124M with random weights."""

    layers: int = 12
    """Blocks of the random model; everything else is GPT-2 124M's. Fewer for a quick look."""

    repeats: int = 3
    """How often each side is timed."""

    sides: tuple[Name, ...] = ("ours", "hugging-face", "ctranslate2", "vllm")
    """hugging-face-static: with a static cache and torch.compile. All in float32 but those that say otherwise."""

    out: Path | None = None
    """JSON file for the results."""


def main(options: Options) -> None:
    where = machine()
    with contextlib.ExitStack() as stack:
        directory = options.model or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if options.model is None:
            write_random(directory, DecoderConfig(n_layers=options.layers))
        config = _config(directory)
        sides = {name: side for name in options.sides if (side := _start(name, directory, stack))}
        generator, name = np.random.default_rng(0), options.model.name if options.model else "gpt2"
        result: dict = {"machine": where, "model": name, "prompt": options.prompt, "new": options.new, "batches": {}}
        for batch in options.batches:
            prompts = generator.integers(0, config.vocab_size, (batch, options.prompt)).tolist()
            calls: dict[str, Callable[[], Any]] = {"read": read_memory()}
            for side in sides:
                calls[side] = partial(sides[side], prompts, options.new)
                calls[f"{side}: first"] = partial(sides[side], prompts, 1)
            answers = {side: calls[side]() for side in sides}
            equal = {side: same(answer, answers[next(iter(sides))]) for side, answer in answers.items()}
            turns = in_turns(calls, options.repeats)
            found = figures(config, batch, options, turns, list(sides)) | {"equal_tokens": equal}
            result["batches"][batch] = found
            report(name, batch, found)
            save(options.out, result)


def _config(directory: Path) -> DecoderConfig:
    from llm_jax.hf import config

    return config.read(directory)


def _start(name: Name, directory: Path, stack: contextlib.ExitStack) -> Side | None:
    if name == "vllm":
        python = os.environ.get("LLM_JAX_VLLM_PYTHON")
        return stack.enter_context(vllm(directory, python)) if python else None
    make, *arguments = MAKE[name]
    side = Apart(partial(make, directory, *arguments))
    stack.callback(side.end)
    return side


MAKE: dict[str, tuple[Any, ...]] = {
    "ours": (ours, "float32"),
    "ours-auto": (ours, "auto"),
    "ours-bf16": (ours, "bf16"),
    "ours-int8": (ours, "int8"),
    "hugging-face": (hugging_face,),
    "hugging-face-static": (hugging_face, True),
    "ctranslate2": (ctranslate2, "float32"),
    "ctranslate2-int8": (ctranslate2, "int8"),
}


def figures(config: DecoderConfig, batch: int, options: Options, turns: dict[str, list[float]], names: list) -> dict:
    bandwidth = READS * READ / min(turns["read"])
    median = medians(turns)
    sides = {}
    for name in names:
        bound = bytes_of_step(config, batch, options, BYTES.get(name, 4)) / bandwidth
        sides[name] = speed(median, name, batch, options.new, bound)
    return {"read_bytes_per_second": bandwidth, "sides": sides, "seconds": turns}


def speed(median: dict[str, float], name: str, batch: int, new: int, bound: float) -> dict[str, float]:
    """Of the whole call, and of the steps after the first token alone."""
    whole, first = median[name], median[f"{name}: first"]
    step = (whole - first) / (new - 1)
    return {
        "tokens_per_second": batch * new / whole,
        "tokens_per_second_after_first": batch / step,
        "seconds_to_first_token": first,
        "bound_tokens_per_second": batch / bound,
        "share_of_bound": bound / step,
    }


BYTES = {"ours-bf16": 2, "ours-int8": 1, "ctranslate2-int8": 1}  # of a weight; others have 4


def bytes_of_step(config: DecoderConfig, batch: int, options: Options, width: int) -> float:
    """Weights once (of positions, and of an embedding that is not the head, single rows), and every row's keys and
    values: on average those of the prompt and of half of the new tokens.
    """
    on_gpu = jax.default_backend() == "gpu"
    looked_up = config.n_positions + (0 if config.tied_head else config.vocab_size)
    weights = config.n_parameters - looked_up * config.d_model
    tokens = options.prompt + options.new / 2
    cache = 2 * config.n_layers * config.kv_heads * config.d_head * tokens * batch
    return (2 if on_gpu else width) * weights + (2 if on_gpu else 4) * cache


def read_memory() -> Callable[[], Any]:
    """Reads a matrix, as decoding reads weights: its product with a vector, whose arithmetic is nothing."""
    matrix, vector = jax.numpy.ones((READ // 4 // WIDTH, WIDTH)), jax.numpy.ones(WIDTH)
    product = jax.jit(jax.numpy.matmul)

    def read() -> None:
        for _ in range(READS):  # long enough for both cores to be awake
            product(matrix, vector).block_until_ready()

    return read


def report(model: str, batch: int, found: dict) -> None:
    rows = [
        (
            name,
            f"{side['tokens_per_second']:,.1f}",
            f"{side['tokens_per_second_after_first']:,.1f}",
            f"{1e3 * side['seconds_to_first_token']:.0f}",
            f"{side['share_of_bound']:.2f}",
            f"{found['equal_tokens'][name]:.0%}",
        )
        for name, side in found["sides"].items()
    ]
    title = f"{model}, {batch} rows; reading at {found['read_bytes_per_second'] / 1e9:.0f} GB/s"
    show(title, ("tokens/s", "after the first", "ms to first", "of bound", "equal"), rows)


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Options, description=__doc__))
