"""Where a training step's time goes: its parts on their own beside their bounds, and the whole as a budget.

First attention, cross-entropy, layer norm (both ways) and the optimizer at the preset's shapes, in turns, each
beside the larger of its FLOPs at the rate of a large matrix product and its bytes at the rate of a copy. Then the
compiled step under JAX's profiler: each instant is shared out among the operations running then, each operation belongs
to the source file it came from, and what is left over is shown as such. Products that XLA hands to Eigen's threads end
for the profiler when they are handed over; a time in which nothing else runs is theirs, and shown apart.

    python benchmarks/operations.py --preset quickstart --out benchmarks/results/operations_quickstart.json
"""

import re
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from llm_jax import backend

if __name__ == "__main__":
    backend.keep_memory()
backend.configure()  # before JAX is imported

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from measuring import in_turns, machine, medians, save, show  # noqa: E402
from step_sides import Work  # noqa: E402
from train_step import BOUND, BURST, PRODUCT, STREAM, WORK, Preset  # noqa: E402

from llm_jax.config import Execution  # noqa: E402
from llm_jax.layers.norm import init_norm  # noqa: E402
from llm_jax.models import decoder  # noqa: E402
from train.optim.config import OptimizerConfig  # noqa: E402
from train.optim.optimizer import make_optimizer  # noqa: E402
from train.pretrain.step import init_state, make_train_step  # noqa: E402

Events = list[tuple[int, int, str]]  # begin and end in nanoseconds, operation


@dataclass(frozen=True)
class Options:
    preset: Preset = "quickstart"
    """Shapes, as in train_step.py."""

    repeats: int = 10
    """How often each part, and the whole step, is timed."""

    out: Path | None = None
    """JSON file for the results."""


def main(options: Options) -> None:
    where, work = machine(), WORK[options.preset]()
    calls, needs = parts(work)
    seconds = medians(in_turns(calls | {name: make() for name, make in BOUND.items()}, options.repeats, burst=BURST))
    product, bandwidth = 2 * PRODUCT**3 / seconds["matrix product"], 8 * STREAM / seconds["copy"]
    figures = {}
    for name, (flops, n_bytes, count) in needs.items():
        bound = max(flops / product, n_bytes / bandwidth)
        figures[name] = {
            "seconds": seconds[name],
            "bound": bound,
            "share": bound / seconds[name],
            "times_a_step": count,
        }
    rows = [
        (name, f"{1e3 * f['seconds']:.2f}", f"{1e3 * f['bound']:.2f}", f"{f['share']:.2f}", str(f["times_a_step"]))
        for name, f in figures.items()
    ]
    show(f"{options.preset}: parts, forward and backward", ("ms", "bound", "share", "times a step"), rows)
    whole, shares = budget(work, options.repeats)
    rows = [(name, f"{1e3 * s:.2f}", f"{s / whole:.1%}") for name, s in sorted(shares.items(), key=lambda x: -x[1])]
    accounted = sum(shares.values()) / whole
    show(f"{options.preset}: one step", ("ms", "of the step"), [*rows, ("sum", "", f"{accounted:.1%}")])
    save(
        options.out,
        {
            "preset": options.preset,
            "parts": figures,
            "budget": {"step_seconds": whole, "seconds": shares, "accounted": accounted},
            "matrix_product_flops": product,
            "copy_bytes_per_second": bandwidth,
            "machine": where,
        },
    )


def parts(work: Work) -> tuple[dict[str, Any], dict[str, Any]]:
    """Each part as a call, and its FLOPs, its bytes (inputs and outputs once each) and how often a step has it."""
    model = work.model
    b, t, d, v, n = work.batch, work.length, model.d_model, model.padded_vocab_size, model.n_parameters
    keys = jax.random.split(jax.random.key(0), 3)
    heads = [jax.random.normal(key, (b, t, model.n_heads, model.d_head)) for key in keys]
    x, embedding = jax.random.normal(keys[0], (b, t, d)), 0.02 * jax.random.normal(keys[1], (v, d))
    targets, weights, norm = jnp.zeros((b, t), jnp.int32), jnp.ones((b, t)), init_norm(d)
    kernels = decoder.make_plan(Execution()).kernels
    params = decoder.init(keys[2], model)
    optimizer = make_optimizer(OptimizerConfig(), decoder.dimension_letters(model))

    differentiate = cast(Any, jax.vjp)

    def attend(q, k, v, d_out):
        out, pull = differentiate(kernels.causal_attend, q, k, v)
        return out, pull(d_out)

    def normalise(norm, x, d_out):
        out, pull = differentiate(lambda norm, x: kernels.layer_norm(norm, x, model.norm_epsilon), norm, x)
        return out, pull(d_out)

    def lose(x, embedding, targets, weights):
        one = jax.value_and_grad(kernels.cross_entropy, argnums=(0, 1), has_aux=True)
        return one(x, embedding, targets, weights, model.vocab_size, work.loss_chunks)

    def update(state, gradients):
        params, moments = state
        direction, moments = optimizer.update(gradients, moments, params)
        return jax.tree.map(lambda p, d: p - 1e-4 * d, params, direction), moments

    gradients = jax.tree.map(lambda p: 0.01 * p, params)
    updating, state = jax.jit(update, donate_argnums=0), (params, optimizer.init(params))  # type: ignore[arg-type]

    def take_update():
        nonlocal state
        state = jax.block_until_ready(updating(state, gradients))

    def call(function, *arguments):
        compiled = jax.jit(function)
        return lambda: jax.block_until_ready(compiled(*arguments))

    calls = {
        "attention": call(attend, *heads, heads[0]),
        "cross_entropy": call(lose, x, embedding, targets, weights),
        "layer_norm": call(normalise, norm, x, x),
        "optimizer": take_update,
    }
    causal = 6 * b * t * t * d  # half of the scores, forward once and backward twice
    needs = {
        "attention": (causal, 4 * 8 * b * t * d, model.n_layers),
        "cross_entropy": (6 * b * t * d * v, 4 * (2 * v * d + 2 * b * t * d), 1),
        "layer_norm": (0, 4 * 4 * b * t * d, 2 * model.n_layers + 1),
        "optimizer": (0, 28 * n, 1),
    }
    return calls, needs


def budget(work: Work, repeats: int) -> tuple[float, dict[str, float]]:
    """Mean seconds of a step under the profiler, and what each source file has of it."""
    optimizer = make_optimizer(OptimizerConfig(), decoder.dimension_letters(work.model))
    plan = decoder.make_plan(Execution(loss_chunks=work.loss_chunks))
    state = init_state(jax.random.key(0), work.model, optimizer)
    tokens, lr = jnp.asarray(work.draw()), np.float32(1e-4)
    step = jax.jit(make_train_step(work.model, plan, optimizer, work.micro_batches), donate_argnums=0)
    step = step.lower(state, tokens, lr).compile()
    program = step.as_text() or ""
    origin, handed_over = origins(program), set(re.findall(r"%([\w.\-]+) = \S+ dot\(", program))
    for _ in range(2):
        state, _ = jax.block_until_ready(step(state, tokens, lr))
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            for _ in range(repeats):
                with jax.profiler.TraceAnnotation("whole step"):
                    state, _ = jax.block_until_ready(step(state, tokens, lr))
        file = next(Path(folder).rglob("*.xplane.pb"))
        steps, events = read_trace(file, origin)
    shares: dict[str, float] = defaultdict(float)
    for begin, end, _ in steps:
        within = [event for event in events if begin <= event[0] < end]
        for name, seconds in share_out(within, origin, handed_over).items():
            shares[name] += seconds / repeats
    return sum(end - begin for begin, end, _ in steps) / 1e9 / repeats, dict(shares)


def read_trace(file: Path, names: dict[str, str]) -> tuple[Events, Events]:
    """The steps, and every operation that ran."""
    steps, events = [], []
    for plane in jax.profiler.ProfileData.from_file(str(file)).planes:
        for line in plane.lines:
            for event in line.events:
                span = (round(event.start_ns), round(event.start_ns + event.duration_ns), event.name)
                if event.name == "whole step":
                    steps.append(span)
                elif event.name in names:
                    events.append(span)
    return steps, events


def share_out(events: Events, origin: dict[str, str], handed_over: set[str]) -> dict[str, float]:
    """Seconds of each origin in one step, an instant in which several operations run shared equally among them.

    An instant in which none runs belongs to the product handed over last, if one was.
    """
    changes = sorted([(begin, 1, name) for begin, _, name in events] + [(end, -1, name) for _, end, name in events])
    running: dict[str, int] = defaultdict(int)
    shares: dict[str, float] = defaultdict(float)
    before, product = 0, None
    for now, change, name in changes:
        total = sum(running.values())
        for other, count in running.items():
            shares[other] += (now - before) * count / total / 1e9
        if not total and product:
            shares[f"{product}, by Eigen's threads"] += (now - before) / 1e9
        if change == 1 and name in handed_over:
            product = origin[name]
        before = now
        running[origin[name]] += change
        if not running[origin[name]]:
            del running[origin[name]]
    return dict(shares)


def origins(program: str) -> dict[str, str]:
    """Operation → the source file of ours it came from, by the tables of stack frames at the program's head."""
    files = dict(re.findall(r'^(\d+) "(.*\.py)"$', program, re.MULTILINE))
    places = dict(re.findall(r"^(\d+) \{file_name_id=(\d+)", program, re.MULTILINE))
    frames = {
        number: (place, parent)
        for number, place, parent in re.findall(
            r"^(\d+) \{file_location_id=(\d+)(?: parent_frame_id=(\d+))?", program, re.MULTILINE
        )
    }

    def source(frame: str | None) -> str:
        while frame in frames:
            place, parent = frames[frame]
            path = Path(files.get(places.get(place, ""), ""))
            if path.parent.name in ("layers", "models", "train"):
                return f"{path.parent.name}/{path.name}"
            if parent == frame:
                break
            frame = parent
        return "copies and constants that XLA added"

    found = {}
    for line in program.splitlines():
        if operation := re.match(r"\s+(?:ROOT )?%([\w.\-]+) = ", line):
            frame = re.search(r"stack_frame_id=(\d+)", line)
            found[operation[1]] = source(frame and frame[1])
    return found


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Options, description=__doc__))
