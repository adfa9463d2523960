"""What weights of fewer bits cost: the perplexity of a text with weights of 32, 16 and 8 bits.

The text is read in windows, each token given those before it in its window. The formats read the same tokens, so the
differences between them are far more certain than the perplexity itself; their standard error is over windows.

    python benchmarks/weights_perplexity.py smollm2-135m-instruct wikitext-2.test.txt
"""

import math
from dataclasses import dataclass
from pathlib import Path

from llm_jax import backend

if __name__ == "__main__":
    backend.keep_memory()
backend.configure()  # before JAX is imported

import numpy as np  # noqa: E402
import tyro  # noqa: E402
from measuring import machine, save, show  # noqa: E402

from llm_jax import hf  # noqa: E402
from llm_jax.config import Execution, Weights  # noqa: E402
from llm_jax.decode.loop import prepare  # noqa: E402
from llm_jax.models import decoder  # noqa: E402
from llm_jax.scoring.likelihood import scorer  # noqa: E402

REPORT = 4  # windows between two reports
FORMATS: tuple[Weights, ...] = ("float32", "bf16", "int8")


@dataclass(frozen=True)
class Options:
    model: tyro.conf.Positional[Path]
    """A Hugging Face directory."""

    text: tyro.conf.Positional[Path]
    """A text file."""

    windows: int = 32
    """Windows that are read, from the text's beginning; 0: all."""

    length: int = 1024
    """Tokens in a window."""

    out: Path | None = None
    """JSON file for the results."""


def main(options: Options) -> None:
    loaded = hf.load(options.model, keeps_format=True)
    assert loaded.tokenizer is not None
    ids = np.asarray(loaded.tokenizer.encode(options.text.read_text()), np.int32)
    count = len(ids) // options.length
    count = min(count, options.windows) if options.windows else count
    windows = ids[: count * options.length].reshape(count, options.length)
    plan = decoder.make_plan(Execution(dtype="float32"))
    calls = {name: scorer(prepare(loaded.params, plan, 1, name), loaded.config, plan) for name in FORMATS}
    losses: dict[Weights, list[float]] = {name: [] for name in FORMATS}
    for number, window in enumerate(windows, 1):
        for name in FORMATS:
            losses[name].append(-float(np.asarray(calls[name](window[None]).log_probability_BT, np.float64).mean()))
        if number % REPORT == 0 or number == count:  # an interrupt leaves what has been read
            report(options, losses)


def report(options: Options, losses: dict[Weights, list[float]]) -> None:
    found = {name: figures(np.array(loss), np.array(losses["float32"])) for name, loss in losses.items()}
    rows = [
        (name, f"{f['perplexity']:.3f}", f"{100 * f['change']:+.2f} %", f"{100 * f['standard_error']:.2f} %")
        for name, f in found.items()
    ]
    count = len(losses["float32"])
    title = f"{options.model.name}, {count} windows of {options.length} tokens of {options.text.name}"
    show(title, ("perplexity", "against float32", "standard error"), rows)
    named = {"model": options.model.name, "text": options.text.name, "windows": count, "length": options.length}
    save(options.out, named | {"formats": found, "machine": machine()})


def figures(loss: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Perplexity from the mean loss of each window, its change, and the standard error of the change."""
    difference = loss - reference
    return {
        "perplexity": math.exp(loss.mean()),
        "change": math.expm1(difference.mean()),
        "standard_error": float(difference.std(ddof=1) / math.sqrt(len(loss))),
    }


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
