"""Which GPUs train a preset, how long it takes and what it costs, and why the others do not.

    python -m train gpu gpt2-124m --tokens 10e9 --days 2

All figures are computed (`llm_jax.hardware`): memory by the estimate of `train pretrain`, speed by one efficiency
fitted on published runs, whose errors are in docs/hardware.md. No GPU is needed.
"""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from train.gpu.config import GpuConfig as Options

if TYPE_CHECKING:
    from rich.table import Table

    from train.gpu.choice import Choice, Refusal


def main(options: Options) -> int:
    """Prints the tables and the command that starts the first choice; 1 where no accelerator does it."""
    from rich.console import Console

    from llm_jax.files.json_files import write_json
    from train.gpu.choice import Choice, choose
    from train.pretrain.presets import preset

    config = preset(options.preset)
    found = choose(config, options)
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    wanted = (
        f"{options.preset}: {config.model.n_parameters / 1e9:.2f} billion parameters, {options.tokens / 1e9:,.4g} "
        f"billion tokens in steps of {config.batch_tokens:,}"
    )
    console.print(wanted, markup=False)
    for table in _tables(found):
        console.print(table)
    if options.out:
        write_json(options.out, {"asked": wanted, "found": [asdict(one) for one in found]})
        console.print(f"written: {options.out}", markup=False)
    first = found[0]
    if not isinstance(first, Choice):
        console.print("none of them does it: more devices, more days, or --execution.remat would help")
        return 1
    nodes, per_node = max(1, first.devices // 8), min(first.devices, 8)
    steps = max(1, round(options.tokens / config.batch_tokens))
    mesh = f" --fsdp {first.fsdp}" if first.fsdp > 1 else ""
    console.print(
        f"to start it there: python -m train submit pretrain {options.preset} --nodes {nodes} --gpus-per-node "
        f"{per_node} -- --data DIR --steps {steps} --micro-batch {first.micro_batch}{mesh}",
        markup=False,
        soft_wrap=True,
    )
    return 0


def _tables(found: "list[Choice | Refusal]") -> "list[Table]":
    from rich.table import Table

    from train.gpu.choice import Refusal

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("", "×", "fsdp", "sequences at once", "GB each", "tok/s", "MFU", "days", "$", "kWh"):
        table.add_column(name, justify="left" if not name else "right", no_wrap=True)
    refused = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    refused.add_column("not", no_wrap=True)
    refused.add_column("because")
    for one in found:
        if isinstance(one, Refusal):
            refused.add_row(one.accelerator, one.reason)
            continue
        table.add_row(
            one.accelerator,
            str(one.devices),
            str(one.fsdp),
            str(one.micro_batch),
            f"{one.memory / 1e9:.1f}",
            f"{one.tokens_per_second:,.0f}",
            f"{one.utilisation:.0%}",
            f"{one.days:,.2g}" if one.days < 1 else f"{one.days:,.1f}",
            f"{one.price.low:,.0f}–{one.price.high:,.0f}" if one.price else "–",
            f"{one.kilowatt_hours:,.0f}" if one.kilowatt_hours else "–",
        )
    return [part for part in (table, refused) if part.row_count]
