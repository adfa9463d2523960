"""How well does the roofline of `llm_jax/hardware/speed.py` predict speeds that others measured?

The efficiencies are fitted on every second row of `published_speeds.toml`, and the errors are given on the other rows,
which the fit has not seen. No device is needed.

    python benchmarks/hardware.py
"""

import itertools
import statistics
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from measuring import save, show

from llm_jax.config import DecoderConfig
from llm_jax.hardware import catalogue
from llm_jax.hardware.speed import Device, Efficiency, batch_seconds, decode_seconds, training_seconds

FILE = Path(__file__).parent / "published_speeds.toml"
LLAMA: dict[str, Any] = {
    "norm": "rms", "positions": "rotary", "gated_mlp": True, "activation": "silu", "attention_bias": "none",
    "mlp_bias": False, "tied_head": False,
}  # fmt: skip
COMPUTE = [0.40 + 0.02 * i for i in range(26)]
BANDWIDTH = [0.50 + 0.02 * i for i in range(24)]
TRAINING = [0.30 + 0.01 * i for i in range(41)]


@dataclass(frozen=True)
class Options:
    out: Path | None = None
    """JSON file for the results."""


@dataclass(frozen=True)
class Row:
    """One published measurement. `predict` gives the model's number in the unit of `measured`."""

    name: str
    unit: str
    measured: float
    is_fitted: bool
    facts: dict[str, Any]
    model: DecoderConfig
    device: Device

    def predict(self, efficiency: Efficiency) -> float:
        facts = self.facts
        if "rows" not in facts:
            if "mfu" in facts:
                return efficiency.training
            return 1 / training_seconds(self.model, self.device, 1, efficiency)
        settings = {"dtype": facts["dtype"], "efficiency": efficiency}
        cache = "fp8" if facts["dtype"] == "fp8" else None
        if "milliseconds" in facts:
            context = facts["prompt"] + facts["answer"] / 2
            return 1e3 * decode_seconds(self.model, self.device, facts["rows"], context, cache_dtype=cache, **settings)
        work = (facts["rows"], facts["prompt"], facts["answer"])
        return work[0] * work[2] / batch_seconds(self.model, self.device, *work, cache_dtype=cache, **settings)

    def speed_ratio(self, efficiency: Efficiency) -> float:
        """Predicted speed to measured speed; of times, the inverse."""
        ratio = self.predict(efficiency) / self.measured
        return 1 / ratio if self.unit == "ms" else ratio


def rows() -> list[Row]:
    document = tomllib.loads(FILE.read_text())
    models = {}
    for name, fields in document["models"].items():
        fields = dict(fields)
        models[name] = DecoderConfig(**(LLAMA if fields.pop("llama", False) else {}), **fields)
    entries = {entry.name: entry for entry in catalogue.accelerators()}
    found = []
    for kind in ("serving", "training"):
        for number, facts in enumerate(document[kind], 1):
            unit = next(key for key in ("tokens_per_second", "milliseconds", "mfu") if key in facts)
            dtype = facts.get("dtype", "bfloat16")
            work = f" B{facts['rows']} {facts['prompt']}/{facts['answer']}" if kind == "serving" else " training"
            found.append(
                Row(
                    name=f"{facts['device']}, {facts['model']}, {dtype},{work}",
                    unit={"tokens_per_second": "tok/s", "milliseconds": "ms", "mfu": "MFU"}[unit],
                    measured=facts[unit],
                    is_fitted=number % 2 == 1,
                    facts=facts,
                    model=models[facts["model"]],
                    device=Device.of(entries[facts["device"]], dtype),
                )
            )
    return found


def error(ratio: float) -> float:
    """|predicted/measured − 1|."""
    return abs(ratio - 1)


def fit(found: list[Row]) -> Efficiency:
    """The efficiencies with the least mean error on the fitted rows, by trying a grid."""
    serving = [row for row in found if row.is_fitted and "rows" in row.facts]
    training = [row for row in found if row.is_fitted and "rows" not in row.facts]

    def mean_error(rows: list[Row], efficiency: Efficiency) -> float:
        return statistics.mean(error(row.speed_ratio(efficiency)) for row in rows)

    tried = [Efficiency(compute=c, bandwidth=b) for c, b in itertools.product(COMPUTE, BANDWIDTH)]
    best = min(tried, key=lambda efficiency: mean_error(serving, efficiency))
    return min((best._replace(training=t) for t in TRAINING), key=lambda tried: mean_error(training, tried))


def main(options: Options) -> None:
    found = rows()
    efficiency = fit(found)
    table = []
    for row in found:
        predicted, ratio = row.predict(efficiency), row.speed_ratio(efficiency)
        digits = 2 if row.unit in ("MFU", "ms") else 0
        numbers = (f"{row.measured:,.{digits}f}", f"{predicted:,.{digits}f}", row.unit, f"{ratio:.2f}")
        table.append((row.name, *numbers, "fitted" if row.is_fitted else "held out"))
    show("speeds", ("measured", "predicted", "unit", "ratio", ""), table)
    print({name: round(value, 4) for name, value in efficiency._asdict().items()})
    result: dict[str, Any] = {"efficiency": efficiency._asdict(), "rows": table}
    for name, is_fitted in (("fitted", True), ("held out", False)):
        errors = [error(row.speed_ratio(efficiency)) for row in found if row.is_fitted is is_fitted]
        result[name] = {"rows": len(errors), "median": statistics.median(errors), "worst": max(errors)}
        print(f"{name}: {len(errors)} rows, median error {statistics.median(errors):.0%}, worst {max(errors):.0%}")
    save(options.out, result)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
