"""Which GPU serves a model for so many users, what it costs, and why the others do not.

    python -m serve gpu llama-1b --context 4096 --users 32 --tokens-per-second 20

All figures are computed, from the model's shape and the catalogue's peaks (`llm_jax.hardware`): memory as vLLM counts
it, speed by a roofline whose errors are in docs/hardware.md, waits by simulating a server with continuous batching at
nine tenths of the load that `users` make. Times are medians, with the 99th percentile in parentheses. No GPU is needed.
"""

import sys
from pathlib import Path

from serve.gpu.config import GpuConfig as Options


def main(options: Options) -> int:
    """Prints the tables and the command that starts the first choice; 1 where no accelerator serves the model."""
    from rich.console import Console

    from llm_jax.files.json_files import write_json
    from serve.gpu import report
    from serve.gpu.choice import Choice, Refusal, choose, most_rows, step_tokens
    from serve.gpu.model import config_of

    config = config_of(options.model)
    found = choose(config, options)
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    wanted = (
        f"{options.model}: {config.n_parameters / 1e9:.2f} billion parameters in {options.dtype}, {options.users} "
        f"users, {options.prompt_tokens:,} + {options.answer_tokens:,} tokens each"
    )
    console.print(wanted, markup=False)
    for table in report.tables(found):
        console.print(table)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        write_json(options.out / "gpu.json", {"asked": wanted, "found": report.record(found)})
        is_drawn = report.plot(found, options.out / "gpu.png", wanted)
        console.print(f"{options.out}: gpu.json{', gpu.png' if is_drawn else ''}")
    first = found[0]
    if not isinstance(first, Choice):
        cures = list(dict.fromkeys(one.cure for one in found if isinstance(one, Refusal) and one.cure))
        helps = f"; what would help: {'; '.join(cures)}" if cures else ""
        console.print(f"none of them serves this{helps}", markup=False)
        return 1
    flags = f"--max-model-len {options.context} --gpu-memory-utilization {options.utilisation:g}"
    flags += f" --max-num-seqs {most_rows(options.users)} --max-num-batched-tokens {step_tokens(options.users)}"
    flags += f" --tensor-parallel-size {first.devices}" if first.devices > 1 else ""
    flags += " --quantization fp8" if options.dtype == "fp8" else ""
    flags += " --dtype half" if options.dtype == "float16" else ""
    # A preset has no weights, and a run is exported first.
    directory = options.model if (Path(options.model) / "config.json").is_file() else "DIRECTORY"
    console.print(f"to start it there: python -m serve vllm {directory} -- {flags}", markup=False, soft_wrap=True)
    return 0
