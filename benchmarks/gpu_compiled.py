"""What XLA makes of GPT-2 124M for a GPU that need not be there: kernels, bytes, FLOPs, memory, and the least time.

XLA compiles for a device that is only described. So whether a program fits a GPU's memory, which kernels it consists
of, and how many bytes each moves can be known before one is bought. The time given is a bound: each kernel at the GPU's
full bandwidth or full bfloat16 rate, whichever takes longer; a real product reaches about two thirds of that rate, a
real pass nine tenths of the bandwidth. Needs JAX with CUDA, no GPU:

    uv run --extra cuda12 python benchmarks/gpu_compiled.py --out benchmarks/results/gpu_compiled.json
"""

import argparse
import os
import sys
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the library need not be installed

import jax
import jax.numpy as jnp
from described import MACHINES, PEAK, needed, one
from hlo import Kernel, Program
from jax.sharding import NamedSharding
from measuring import machine, save, show

from llm_jax import backend
from llm_jax.config import DecoderConfig, Execution
from llm_jax.decode import loop
from llm_jax.decode.choose import rule
from llm_jax.decode.options import Sampling
from llm_jax.models import decoder
from train.optim.config import OptimizerConfig
from train.optim.optimizer import make_optimizer
from train.pretrain.step import init_state, make_train_step

PARTS = {0: "optimizer, and what comes once a step", 1: "blocks and embedding", 2: "head and loss"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", choices=MACHINES, default="H200")
    parser.add_argument("--layers", type=int, default=12, help="fewer compile faster")
    parser.add_argument("--batch", type=int, default=512, help="sequences of 1,024 tokens in a step")
    parser.add_argument("--micro-batches", type=int, default=16)
    parser.add_argument("--loss-chunks", type=int, default=4, help="slices of the sequence in the loss, 2 or more")
    parser.add_argument("--largest", type=int, default=0, help="also list so many of the dearest kernels")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    context = DecoderConfig().context_length
    if options.layers < 1:
        parser.error(f"--layers must be 1 or more; got {options.layers}")
    if options.micro_batches < 1 or options.batch < 1 or options.batch % options.micro_batches:
        parser.error(f"--micro-batches must divide --batch; got {options.micro_batches} and {options.batch}")
    if options.loss_chunks < 2 or context % options.loss_chunks:
        parser.error(f"--loss-chunks must be 2 or more and divide {context:,}; got {options.loss_chunks}")
    on_gpu = one(options.gpu)
    config = DecoderConfig(n_layers=options.layers)
    print(f"compiled for an {options.gpu} that is not here, by jax {jax.__version__}")
    result = {
        "machine": machine() | {"compiled_for": options.gpu},
        "training": training(config, options, on_gpu),
        "decoding": {batch: decoding(config, batch, options, on_gpu) for batch in (1, 8, 64, 1024)},
    }
    save(options.out, result)


def training_step(config: DecoderConfig, options: argparse.Namespace) -> tuple[Any, tuple]:
    """The function, and the shapes of what it takes."""
    plan = decoder.make_plan(Execution(loss_chunks=options.loss_chunks), platform="gpu")
    optimizer = make_optimizer(OptimizerConfig(optimizer="adamw"), decoder.dimension_letters(config))
    state = jax.eval_shape(partial(init_state, config=config, optimizer=optimizer), jax.random.key(0))
    tokens = jax.ShapeDtypeStruct((options.batch, config.context_length + 1), jnp.int32)
    step = jax.jit(
        make_train_step(config, plan, optimizer, options.micro_batches),
        donate_argnums=0,
        compiler_options=backend.step_options(plan.platform),
    )
    return step, (state, tokens, jax.ShapeDtypeStruct((), jnp.float32))


def training(config: DecoderConfig, options: argparse.Namespace, on_gpu: NamedSharding) -> dict[str, Any]:
    text, memory = compiled(*training_step(config, options), {}, on_gpu)
    kernels = list(Program(text).kernels())
    n_tokens = options.batch * config.context_length
    found = summed(kernels, MACHINES[options.gpu][0], lambda k: f"{PARTS[min(k.loops, 2)]}: {plural(k.kind)}")
    least = sum(part["milliseconds"] for part in found.values())
    rows = [
        (name, f"{p['milliseconds']:.1f}", f"{p['gigabytes']:,.0f}", f"{p['teraflops']:,.0f}")
        for name, p in found.items()
    ]
    rows.append((f"together, at least ({n_tokens / least:,.0f}k tokens/s at most)", f"{least:.1f}", "", ""))
    show(
        f"a step of {n_tokens:,} tokens in {options.micro_batches} micro-batches, {memory / 1e9:.1f} GB of memory",
        ("ms", "GB", "TFLOP"),
        rows,
    )
    if options.largest:
        rows = [
            (
                f"{k.name} {k.shape[:40]}",
                f"{1e3 * k.times * seconds(k, MACHINES[options.gpu][0]):.2f}",
                f"{k.times}",
            )
            for k in sorted(kernels, key=lambda k: -k.times * seconds(k, MACHINES[options.gpu][0]))[: options.largest]
        ]
        show("the dearest kernels", ("ms", "times"), rows)
    return {"tokens": n_tokens, "memory_bytes": memory, "parts": found, "least_milliseconds": least}


def decoding(config: DecoderConfig, batch: int, options: argparse.Namespace, on_gpu: NamedSharding) -> dict[str, Any]:
    """One step of the loop with a cache of 288 tokens, as at the end of 32 and 256 new ones."""
    rows, prompt, slots, plan = max(batch, 2), 32, 288, decoder.make_plan(Execution(), platform="gpu")
    params = jax.eval_shape(lambda: loop.prepare(decoder.init(jax.random.key(0), config), plan, batch))
    choice = jax.eval_shape(lambda: rule(Sampling(temperature=0.0)))
    keys = jax.eval_shape(lambda: jax.vmap(jax.random.key)(jnp.arange(rows)))
    numbers = partial(jax.ShapeDtypeStruct, dtype=jnp.int32)
    stop = numbers((0,))
    prefill = partial(loop.prefill, config=config, plan=plan, slots=slots)
    state = jax.eval_shape(prefill, params, numbers((rows, prompt)), numbers((rows,)), numbers(()), keys, choice, stop)
    text, memory = compiled(
        loop.advance, (params, state, numbers(()), choice, stop), {"config": config, "plan": plan}, on_gpu
    )
    kernels = [kernel for kernel in Program(text).kernels() if kernel.loops]
    least = sum(seconds(kernel, MACHINES[options.gpu][0]) for kernel in kernels)
    moved = sum(kernel.bytes for kernel in kernels)
    show(
        f"a decoding step of {batch:,} rows, cache of {slots}, {memory / 1e9:.1f} GB of memory",
        ("ms", "GB", "kernels", "tokens/s at most"),
        [("all", f"{1e3 * least:.3f}", f"{moved / 1e9:.2f}", f"{len(kernels)}", f"{batch / least:,.0f}")],
    )
    return {"least_milliseconds": 1e3 * least, "bytes": moved, "kernels": len(kernels), "memory_bytes": memory}


def compiled(function: Any, arguments: tuple, static: dict[str, Any], on_gpu: NamedSharding) -> tuple[str, int]:
    """The program's text, and the bytes of memory it needs."""
    placed = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=on_gpu), arguments)
    done = function.trace(*placed, **static).lower(lowering_platforms=("cuda",)).compile()
    return done.as_text(), needed(done)


def seconds(kernel: Kernel, bandwidth: float) -> float:
    """The least that one run of it can take."""
    return max(kernel.bytes / bandwidth, kernel.flops / PEAK)


def summed(kernels: list[Kernel], bandwidth: float, name_of: Any) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = defaultdict(
        lambda: dict.fromkeys(("milliseconds", "gigabytes", "teraflops"), 0.0)
    )
    for kernel in kernels:
        part = found[name_of(kernel)]
        part["milliseconds"] += 1e3 * kernel.times * seconds(kernel, bandwidth)
        part["gigabytes"] += kernel.times * kernel.bytes / 1e9
        part["teraflops"] += kernel.times * kernel.flops / 1e12
    return dict(sorted(found.items(), key=lambda item: -item[1]["milliseconds"]))


def plural(kind: str) -> str:
    return {"product": "products", "pass": "passes", "copy": "copies"}.get(kind, kind)


if __name__ == "__main__":
    main()
