"""The formulas of `llm_jax/hardware` and of the memory estimate, beside what was measured on this kind of machine.

Nothing is measured here: the results of `train_step.py` and `decode.py` are read, with the peak and the bandwidth that
were measured in the same runs. The efficiencies are those fitted on GPUs, so the errors say how far they carry.

    python benchmarks/hardware_here.py
"""

import dataclasses
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the library need not be installed

import tyro
from measuring import save, show
from train_step import WORK

from llm_jax.config import Execution, model_preset
from llm_jax.files.json_files import read_json
from llm_jax.hardware.speed import Device, batch_seconds, training_seconds
from train.pretrain import estimate
from train.pretrain.config import TrainConfig

RESULTS = Path(__file__).parent / "results"
RUNS = ("quickstart", "shakespeare-char", "124m-64", "124m-256")
ALONE = {"data": 1, "fsdp": 1, "tensor": 1}


@dataclass(frozen=True)
class Options:
    out: Path | None = None
    """Result as JSON."""


@dataclass(frozen=True)
class Row:
    what: str
    unit: str
    measured: float
    predicted: float

    @property
    def ratio(self) -> float:
        return self.predicted / self.measured


def training() -> list[Row]:
    found = []
    for name in RUNS:
        result, work = read_json(RESULTS / f"train_step_{name}.json"), WORK[name]()
        measured, bound = result["sides"]["ours"], result["bound"]
        device = Device("this machine", bound["matrix_product_flops"], bound["copy_bytes_per_second"])
        model = dataclasses.replace(work.model, context_length=work.length)
        seconds = training_seconds(model, device, work.tokens)
        found.append(Row(f"training {name}", "tok/s", measured["tokens_per_second"], work.tokens / seconds))
        execution = Execution(dtype="float32", loss_chunks=work.loss_chunks)
        rows = work.batch // work.micro_batches
        config = TrainConfig(model=model, execution=execution, batch_tokens=work.tokens, micro_batch=rows)
        memory = estimate.memory(config, ALONE, 4, fused_attention=False).total
        found.append(Row(f"training {name}", "MB", measured["peak_bytes"] / 1e6, memory / 1e6))
    return found


def decoding() -> list[Row]:
    result, model = read_json(RESULTS / "decode.json"), model_preset("gpt2-124m")
    peak = read_json(RESULTS / "train_step_124m-64.json")["bound"]["matrix_product_flops"]
    found = []
    for rows, measured in result["batches"].items():
        device = Device("this machine", peak, measured["read_bytes_per_second"])
        seconds = batch_seconds(model, device, int(rows), result["prompt"], result["new"], dtype="float32")
        for side in ("ours", "vLLM"):
            rate = measured["sides"][side]["tokens_per_second"]
            found.append(Row(f"decoding 124M, {rows} rows, {side}", "tok/s", rate, int(rows) * result["new"] / seconds))
    return found


def main(options: Options) -> None:
    rows = [*training(), *decoding()]
    lines = [(row.what, row.unit, f"{row.measured:,.0f}", f"{row.predicted:,.0f}", f"{row.ratio:.2f}") for row in rows]
    show("predicted and measured", ("", "measured", "predicted", "ratio"), lines)
    for unit in ("tok/s", "MB"):
        errors = [abs(row.ratio - 1) for row in rows if row.unit == unit]
        print(f"{unit}: median error {statistics.median(errors):.0%}, worst {max(errors):.0%}")
    save(options.out, {"rows": [dataclasses.asdict(row) for row in rows]})


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
