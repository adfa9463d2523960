"""The whole GPU suite by one command: training step and decoding of GPT-2 124M in bfloat16, beside PyTorch where it is.

Needs jax, flax, optax and numpy alone; torch, transformers and jaxtyping are used where they are installed. Training:
524,288 tokens a step (512 sequences of 1,024, accumulated in micro-batches of 32), medians of steps taken in turns,
both conventions of MFU. Decoding: prompt 32, 256 new tokens, batches 1, 8, 64 and 1,024, the whole loop on the device.
`--toy` runs the same code at toy size, on a CPU too.

    python benchmarks/gpu.py --out benchmarks/results/gpu.json
"""

import argparse
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the library need not be installed

if importlib.util.find_spec("jaxtyping") is None:

    class Unchecked:
        """Stands in for jaxtyping's annotations, which nothing here checks."""

        def __class_getitem__(cls, _: Any) -> type:
            return cls

    stand_in: Any = types.ModuleType("jaxtyping")
    stand_in.Bool = stand_in.Float = stand_in.Int = stand_in.Key = stand_in.UInt = Unchecked
    sys.modules["jaxtyping"] = stand_in

from llm_jax import backend

backend.configure()  # before JAX is imported

import jax  # noqa: E402
import numpy as np  # noqa: E402
from measuring import in_turns, machine, medians, save, show  # noqa: E402
from step_sides import Side, Work, compact_pytorch, hugging_face, ours  # noqa: E402

from llm_jax.config import DecoderConfig, Execution  # noqa: E402
from llm_jax.decode.loop import generate, prepare  # noqa: E402
from llm_jax.decode.options import Sampling  # noqa: E402
from llm_jax.hardware import catalogue  # noqa: E402
from llm_jax.models import decoder  # noqa: E402

TARGETS = {"train": 578_000, 1: 4_000, 1024: 300_000}  # tokens/s on one H200
TOY = DecoderConfig(vocab_size=300, context_length=64, d_model=64, n_heads=2, n_layers=2)


def mfu(flops_per_second: float) -> float | None:
    """The part of this device's dense 16-bit peak; None where the catalogue does not have the device."""
    found = catalogue.find(jax.devices()[0].device_kind)
    peak = found.training_peak if found else None
    return flops_per_second / (1e12 * peak.value) if peak else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="toy size: does everything run?")
    parser.add_argument("--no-pytorch", action="store_true", help="ours alone")
    parser.add_argument("--steps", type=int, default=10, help="timed steps of each side")
    parser.add_argument("--micro-batches", type=int, default=16, help="in a step of 512 sequences")
    parser.add_argument("--loss-chunks", type=int, default=4, help="slices of the sequence in the loss")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    if jax.default_backend() != "gpu" and not options.toy:
        sys.exit(f"error: this suite needs a GPU, JAX sees {jax.devices()[0].platform}: use --toy to try it elsewhere")
    result = {"machine": machine(), "toy": options.toy, "training": train(options), "decoding": decode(options.toy)}
    save(options.out, result)


def train(options: argparse.Namespace) -> dict[str, Any]:
    work = Work(DecoderConfig(), 512, 1024, options.micro_batches, options.loss_chunks)
    if options.toy:
        work = Work(TOY, 4, 64, micro_batches=2, loss_chunks=2)
    sides: dict[str, Side] = {"ours": ours(work)}
    if not options.no_pytorch and importlib.util.find_spec("torch"):
        sides["compact PyTorch, compiled"] = compact_pytorch(work, compiled=not options.toy)
        if importlib.util.find_spec("transformers"):
            sides["Hugging Face, eager"] = hugging_face(work)
    losses = {name: side.first_loss for name, side in sides.items()}
    seconds = in_turns({name: side.step for name, side in sides.items()}, options.steps, warm_up=2)
    median = medians(seconds)
    found = {
        name: {
            "tokens_per_second": work.tokens / median[name],
            "milliseconds": 1e3 * median[name],
            "mfu_nanogpt": mfu(work.flops("nanogpt") / median[name]),
            "mfu_llm_c": mfu(work.flops("llm.c") / median[name]),
            "compile_seconds": side.compile_seconds,
            "peak_bytes": side.peak_bytes,
            "first_loss": losses[name],
            "seconds_of_each_step": seconds[name],
        }
        for name, side in sides.items()
    }
    rows = [
        (
            name,
            f"{f['tokens_per_second']:,.0f}",
            f"{f['milliseconds']:.1f}",
            f"{f['mfu_nanogpt']:.1%}" if f["mfu_nanogpt"] else "–",
        )
        for name, f in found.items()
    ]
    show(
        f"training, {work.tokens:,} tokens a step (target on one H200: {TARGETS['train']:,})",
        ("tokens/s", "ms", "MFU"),
        rows,
    )
    return found


def decode(toy: bool) -> dict[int, Any]:
    config, batches, prompt, new = (TOY, (1, 2), 8, 8) if toy else (DecoderConfig(), (1, 8, 64, 1024), 32, 256)
    plan = decoder.make_plan(Execution())
    params = prepare(decoder.init(jax.random.key(0), config), plan)
    generator = np.random.default_rng(0)
    found = {}
    for batch in batches:
        prompts = generator.integers(0, config.vocab_size, (batch, prompt)).tolist()
        calls = {
            name: lambda n=n, prompts=prompts: generate(params, prompts, config, plan, Sampling(temperature=0.0), n)
            for name, n in (("whole", new), ("first", 1))
        }
        median = medians(in_turns(calls, repeats=3))
        found[batch] = {
            "tokens_per_second": batch * new / median["whole"],
            "seconds_to_first_token": median["first"],
            "target_on_one_h200": TARGETS.get(batch),
        }
    rows = [
        (str(b), f"{f['tokens_per_second']:,.0f}", f"{1e3 * f['seconds_to_first_token']:.1f}") for b, f in found.items()
    ]
    show(f"decoding, prompt {prompt}, {new} new tokens; by batch", ("tokens/s", "ms to first"), rows)
    return found


if __name__ == "__main__":
    main()
