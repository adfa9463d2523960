"""From GPT-2's block to Llama's, one change at a time: what does each buy, in loss and in speed?

Every variant is trained by `train pretrain` on the same tokens in the same order, with one optimizer and learning rate,
and has as much compute a token as the GPT-2 it is compared with: the width of its MLP is chosen so that the FLOPs
agree. `run` trains what is not trained yet, `speed` times steps and decoding, `report` prints the tables and draws them
for docs/modern-decoder.md.

    python benchmarks/modern_decoder.py run --corpus shakespeare --text tinyshakespeare.txt
    python benchmarks/modern_decoder.py run --corpus stdlib
    python benchmarks/modern_decoder.py speed
    python benchmarks/modern_decoder.py report
"""

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from llm_jax import backend

if __name__ == "__main__":
    backend.keep_memory()
backend.configure()  # before JAX is imported

import tyro  # noqa: E402
from measuring import in_turns, machine, medians, save, show  # noqa: E402

from llm_jax.config import DecoderConfig  # noqa: E402

Corpus = Literal["shakespeare", "stdlib"]

RMS: dict[str, Any] = {"norm": "rms"}
ROTARY: dict[str, Any] = {"positions": "rotary"}
GATED: dict[str, Any] = {"gated_mlp": True, "activation": "silu"}
GROUPED: dict[str, Any] = {"n_kv_heads": 1}
NO_BIAS: dict[str, Any] = {"attention_bias": "none", "mlp_bias": False}
VARIANTS: dict[str, dict[str, Any]] = {
    "GPT-2": {},
    "RMS norm": RMS,
    "rotary positions": ROTARY,
    "SwiGLU": GATED,
    "grouped heads": GROUPED,
    "Llama": RMS | ROTARY | GATED | GROUPED | NO_BIAS,
}
BASE: dict[Corpus, DecoderConfig] = {
    "shakespeare": DecoderConfig(vocab_size=65, context_length=64, d_model=128, n_heads=4, n_layers=4),
    "stdlib": DecoderConfig(vocab_size=4096, context_length=256, d_model=128, n_heads=4, n_layers=4),
}
STEPS: dict[Corpus, int] = {"shakespeare": 300, "stdlib": 200}
BATCH_TOKENS: dict[Corpus, int] = {"shakespeare": 24 * 64, "stdlib": 8 * 256}
SEEDS = (1, 2, 3)
T_95 = 4.303  # Student's t for two degrees of freedom, two-sided 95 %


def variant(name: str, base: DecoderConfig) -> DecoderConfig:
    """The model with the changes of `name`, its MLP as wide as makes its FLOPs a token those of `base`."""
    wanted = base.flops_per_token()
    widths = range(8, 8 * base.d_model, 8)
    models = (replace(base, **VARIANTS[name], mlp_width=width) for width in widths)
    return min(models, key=lambda model: abs(model.flops_per_token() - wanted))


@dataclass(frozen=True)
class Folder:
    out: Path = Path("runs/modern-decoder")
    """Folder of the runs and their figures."""


@dataclass(frozen=True)
class Run(Folder):
    """Trains what is not trained yet."""

    corpus: Corpus = "shakespeare"
    text: Path | None = None
    """The text; none: the Python standard library's sources."""
    variants: tuple[str, ...] = tuple(VARIANTS)
    seeds: tuple[int, ...] = SEEDS


@dataclass(frozen=True)
class Speed(Folder):
    """Times training steps and decoding of every variant, in turns."""

    repeats: int = 8
    rows: int = 8
    """Sequences decoded at once."""
    long: int = 2048
    """Tokens in the cache when decoding with grouped heads is compared."""


@dataclass(frozen=True)
class Report(Folder):
    """Prints the tables and draws them."""

    picture: Path = field(default=Path("docs/images/modern-decoder.png"))


def run(options: Run) -> None:
    base = BASE[options.corpus]
    data = options.text or options.out / "stdlib"
    if options.text is None:
        _python("-m", "train", "prepare", "--source", "stdlib", "--tokenizer", "train:4096", "--out", str(data))
    for seed in options.seeds:
        for name in options.variants:
            run_name = f"{options.corpus}-{name.replace(' ', '-')}-{seed}"
            found = options.out / f"{run_name}.json"
            if found.exists():
                continue
            model = variant(name, base)
            changed = {**VARIANTS[name], "mlp_width": model.d_hidden, "context_length": base.context_length}
            flags = [part for key, value in changed.items() for part in _flag(key, value)]
            _python(
                *("-m", "train", "pretrain", "shakespeare-char", "--data", str(data), "--run", run_name),
                *("--runs", str(options.out), "--seed", str(seed), "--steps", str(STEPS[options.corpus])),
                *("--batch-tokens", str(BATCH_TOKENS[options.corpus]), "--eval-every", "100"),
                *("--sample-every", "0", "--eval-tokens", "200000", *flags),
            )
            lines = [json.loads(line) for line in (options.out / run_name / "metrics.jsonl").read_text().splitlines()]
            curve = {line["step"]: line["val_loss"] for line in lines if "val_loss" in line}
            save(found, {"corpus": options.corpus, "variant": name, "seed": seed, "val_loss": curve})


def _flag(key: str, value: Any) -> tuple[str, ...]:
    name = key.replace("_", "-")
    if isinstance(value, bool):
        return (f"--{name}" if value else f"--no-{name}",)
    return (f"--{name}", str(value))


def _python(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True)


def speed(options: Speed) -> None:
    """Milliseconds of a step and of a decoded token; bytes of the cache a token of a row."""
    import jax
    import numpy as np
    from step_sides import Work, ours

    from llm_jax.config import Execution
    from llm_jax.decode.loop import generate, prepare
    from llm_jax.decode.options import Sampling
    from llm_jax.models import decoder

    result: dict[str, Any] = {"machine": machine(), "step": {}, "decode": {}, "cache_bytes": {}}
    for corpus, base in BASE.items():
        work = {name: Work(variant(name, base), BATCH_TOKENS[corpus] // base.context_length, base.context_length)
                for name in VARIANTS}  # fmt: skip
        steps = {name: ours(what, "muon").step for name, what in work.items()}
        result["step"][corpus] = medians(in_turns(steps, options.repeats, burst=0.5))
    base = replace(BASE["stdlib"], context_length=options.long + 64)
    prompts = np.random.default_rng(0).integers(0, base.vocab_size, (options.rows, options.long)).tolist()
    plan = decoder.make_plan(Execution())
    calls: dict[str, Callable[[], Any]] = {}
    for name in ("GPT-2", "rotary positions", "grouped heads", "Llama"):
        model = variant(name, base)
        prepared = jax.block_until_ready(prepare(decoder.init(jax.random.key(0), model), plan, options.rows))
        for new in (1, 64):
            calls[f"{name}: {new}"] = lambda model=model, prepared=prepared, new=new: generate(
                prepared, prompts, model, plan, Sampling(temperature=0.0), new
            )
        result["cache_bytes"][name] = 2 * 4 * model.n_layers * model.kv_heads * model.d_head
    seconds = medians(in_turns(calls, options.repeats))
    for name in result["cache_bytes"]:
        result["decode"][name] = (seconds[f"{name}: 64"] - seconds[f"{name}: 1"]) / 63
    save(options.out / "speed.json", result)


def report(options: Report) -> None:
    found: dict[Corpus, dict[str, dict[int, dict[str, float]]]] = {}
    for path in sorted(options.out.glob("*.json")):
        if path.name != "speed.json":
            record = json.loads(path.read_text())
            found.setdefault(record["corpus"], {}).setdefault(record["variant"], {})[record["seed"]] = record[
                "val_loss"
            ]
    times = json.loads((options.out / "speed.json").read_text()) if (options.out / "speed.json").exists() else None
    for corpus, variants in found.items():
        rows = [_row(name, variants, corpus, times) for name in VARIANTS if name in variants]
        show(corpus, ("MLP", "loss", "to GPT-2", "95 %", "ms a step"), rows)
    if times:
        rows = [
            (name, f"{1e3 * times['decode'][name]:.2f}", f"{size:,}") for name, size in times["cache_bytes"].items()
        ]
        show("decoding 8 rows behind 2,048 tokens", ("ms a step", "cache bytes a token"), rows)
    _draw(found, options.picture)


def difference(variants: Mapping[str, Mapping[int, Mapping[str, float]]], name: str) -> tuple[float, float]:
    """Mean over the seeds of the last loss less GPT-2's of the same seed, and half of its 95 % interval."""
    pairs = [_last(curve) - _last(variants["GPT-2"][seed]) for seed, curve in variants[name].items()]
    half = T_95 * statistics.stdev(pairs) / math.sqrt(len(pairs)) if len(pairs) == len(SEEDS) else math.nan
    return statistics.mean(pairs), half


def _last(curve: Mapping[str, float]) -> float:
    return curve[max(curve, key=int)]


def _row(name: str, variants: Mapping, corpus: Corpus, times: Mapping | None) -> tuple[str, ...]:
    mean, half = difference(variants, name)
    loss = statistics.mean(_last(curve) for curve in variants[name].values())
    milliseconds = f"{1e3 * times['step'][corpus][name]:.1f}" if times else "–"
    change = ("–", "–") if name == "GPT-2" else (f"{mean:+.4f}", f"± {half:.4f}")
    return name, str(variant(name, BASE[corpus]).d_hidden), f"{loss:.4f}", *change, milliseconds


def _draw(found: Mapping[Corpus, Mapping], picture: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [name for name in VARIANTS if name != "GPT-2"][::-1]
    figure, panels = pyplot.subplots(1, len(found), figsize=(5 * len(found), 3.4), sharey=True, squeeze=False)
    for panel, (corpus, variants) in zip(panels[0], found.items(), strict=True):
        values = [difference(variants, name) for name in names]
        panel.errorbar([v[0] for v in values], names, xerr=[v[1] for v in values], fmt="o", capsize=3)
        for place, name in enumerate(names):
            singles = [_last(c) - _last(variants["GPT-2"][seed]) for seed, c in variants[name].items()]
            panel.plot(singles, [place] * len(singles), "|", color="gray", markersize=9)
        panel.axvline(0, color="black", linewidth=0.8)
        panel.set_title(corpus)
        panel.locator_params(axis="x", nbins=5)
        panel.set_xlabel("validation loss less GPT-2's, nats a token")
    figure.tight_layout()
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=130)


if __name__ == "__main__":
    chosen = tyro.cli(Run | Speed | Report, description=__doc__)  # pyright: ignore[reportCallIssue, reportArgumentType]
    {Run: run, Speed: speed, Report: report}[type(chosen)](chosen)
