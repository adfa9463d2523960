"""What attention in the cache's own layout gains in decoding: every other kernel stays, the two take turns.

GPT-2's shape with random weights. Timed is a whole decoding step, at a long context: the cache is what the two read
differently.

    python benchmarks/cached_attention.py --context 1000
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from llm_jax import backend

if __name__ == "__main__":
    backend.keep_memory()
backend.configure()  # before JAX is imported

import jax  # noqa: E402
import numpy as np  # noqa: E402
import tyro  # noqa: E402
from measuring import in_turns, machine, medians, save, show  # noqa: E402

from llm_jax.config import Execution, model_preset  # noqa: E402
from llm_jax.decode.loop import generate, prepare  # noqa: E402
from llm_jax.decode.options import Sampling  # noqa: E402
from llm_jax.layers.attention import cached_attend  # noqa: E402
from llm_jax.models import decoder  # noqa: E402


@dataclass(frozen=True)
class Options:
    batches: tuple[int, ...] = (1, 8)
    context: int = 900
    """Tokens of a prompt."""
    new: int = 33
    """Tokens decoded; the same with one token is subtracted."""
    repeats: int = 3
    out: Path | None = None
    """JSON file for the results."""


def main(options: Options) -> None:
    config = replace(model_preset("gpt2-124m"), vocab_size=50257)
    params = decoder.init(jax.random.key(0), config)
    kernel = decoder.make_plan(Execution())
    formula = kernel._replace(kernels=kernel.kernels._replace(cached_attend=cached_attend))
    rng, seconds = np.random.default_rng(0), {}
    for batch in options.batches:
        prompts = rng.integers(0, 50257, (batch, options.context)).tolist()
        sides: dict[str, Any] = {}
        for name, plan in (("kernel", kernel), ("formula", formula)):
            stored = jax.block_until_ready(prepare(params, plan, batch, "float32"))
            for new in (1, options.new):
                call = partial(generate, stored, prompts, config, plan, Sampling(temperature=0.0), new)
                call()  # compiles
                sides[f"{name} {new}"] = call
        taken = medians(in_turns(sides, options.repeats))
        for name in ("kernel", "formula"):
            seconds[f"{batch} {name}"] = (taken[f"{name} {options.new}"] - taken[f"{name} 1"]) / (options.new - 1)
    rows = [
        [str(batch), f"{1e3 * seconds[f'{batch} kernel']:.2f}", f"{1e3 * seconds[f'{batch} formula']:.2f}"]
        for batch in options.batches
    ]
    show(f"a decoding step of GPT-2 124M after {options.context} tokens, float32, ms", ["kernel", "formula"], rows)
    save(options.out, {"machine": machine(), "context": options.context, "seconds": seconds})


if __name__ == "__main__":
    main(tyro.cli(Options))
