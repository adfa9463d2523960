"""Two figures to compare a server with: our decoder on the same prompts without HTTP, and the machine's bound.

The bound is a roofline (Williams et al. 2009). A decoding step reads every weight once and each sequence's keys and
values, and multiplies every weight once for each sequence. It takes at least as long as the slower of the two.
Bandwidth and arithmetic are measured here, not taken from a data sheet. The array that measures bandwidth has the size
of the weights, so for a model that fits into a processor's cache, the cache's bandwidth is measured.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serve.models import Model


@dataclass(frozen=True)
class Decoded:
    """The decoder's figures for one batch of prompts. Times are in milliseconds."""

    clients: int
    tokens_per_second: float
    ttft: float  # prefill and the first token, of all prompts together
    tpot: float


@dataclass(frozen=True)
class Bound:
    """The minimum work of one decoding step, and the machine's speed."""

    weight_bytes: int
    cache_bytes: int  # of one sequence at full length
    flops: int  # of one sequence's step
    bytes_per_second: float
    flops_per_second: float

    def tokens_per_second(self, n_sequences: int) -> float:
        """Largest possible number of new tokens per second, of all sequences together."""
        reading = (self.weight_bytes + n_sequences * self.cache_bytes) / self.bytes_per_second
        return n_sequences / max(reading, n_sequences * self.flops / self.flops_per_second)


def decode(model: "Model", texts: Sequence[str], new_tokens: int) -> Decoded:
    """Decodes all prompts as one batch, greedily. A first run compiles; the second one is timed."""
    from llm_jax.config import Execution
    from llm_jax.decode.loop import prepare, stream
    from llm_jax.decode.options import Sampling
    from llm_jax.models import decoder

    plan = decoder.make_plan(Execution())
    params, greedy = prepare(model.params, plan, len(texts)), Sampling(temperature=0.0)
    ids = [model.tokenizer.encode(text) for text in texts]

    def run() -> list[float]:
        moments = [time.monotonic()]
        for _ in stream(params, ids, model.config, plan, greedy, new_tokens):
            moments.append(time.monotonic())
        return moments

    run()
    moments = run()
    steps = max(len(moments) - 2, 1)
    return Decoded(
        clients=len(texts),
        tokens_per_second=len(texts) * (len(moments) - 1) / (moments[-1] - moments[0]),
        ttft=1e3 * (moments[1] - moments[0]),
        tpot=1e3 * (moments[-1] - moments[1]) / steps,
    )


def roofline(model: "Model", length: int) -> Bound:
    """The bound for sequences of `length` tokens on the default device."""
    import jax
    import jax.numpy as jnp

    from llm_jax.config import Execution
    from llm_jax.models import decoder

    config, dtype = model.config, decoder.make_plan(Execution()).dtype
    n_weights = config.n_parameters - config.context_length * config.d_model
    weight_bytes = n_weights * dtype.itemsize

    def seconds(function, *arguments) -> float:
        function(*arguments).block_until_ready()
        times = []
        for _ in range(5):
            started = time.perf_counter()
            function(*arguments).block_until_ready()
            times.append(time.perf_counter() - started)
        return min(times)

    # A matrix times one vector reads the weights as a step does. With sixteen vectors, arithmetic would set the time.
    width = 512
    matrix = jnp.ones((max(n_weights // width, width), width), dtype)
    reading = seconds(jax.jit(lambda m, v: m @ v), matrix, jnp.ones(width, dtype))
    square = jnp.ones((1024, 1024), dtype)
    multiplying = seconds(jax.jit(lambda a, b: a @ b), square, square)
    return Bound(
        weight_bytes=weight_bytes,
        cache_bytes=2 * config.n_layers * config.d_model * min(length, config.context_length) * dtype.itemsize,
        flops=2 * n_weights,
        bytes_per_second=matrix.size * dtype.itemsize / reading,
        flops_per_second=2 * 1024**3 / multiplying,
    )
