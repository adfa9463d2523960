"""Export a run as a Hugging Face directory that transformers, vLLM and lm-evaluation-harness load.

A run of LoRA becomes a directory of PEFT with the adapters alone, or with --merged an ordinary one. What was written is
read again and compared with the run before it gets its name.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Options:
    run: tyro.conf.Positional[Path]
    """Folder of the run, such as runs/quickstart."""
    out: Path | None = None
    """Folder to write. Default: RUN/hf; RUN/adapter for LoRA's adapters."""
    step: int | None = None
    """Step of the checkpoint. Default: the newest intact one."""
    merged: bool = False
    """Of a run of LoRA: add the adapters to the base's weights, and write an ordinary directory."""
    force: bool = False
    """Overwrite an earlier export."""


def main(options: Options) -> int:
    """Exports the run, and prints how far the export is from it."""
    from llm_jax import backend

    backend.configure()
    from llm_jax import hf
    from llm_jax.hf import llava
    from llm_jax.runs import ADAPTER, EXPORT, is_lora

    if folder := llava.folder_of(options.run):
        out = options.out or options.run / EXPORT
        difference = llava.export(llava.load(folder), out, options.force)
        print(f"{out}: a LLaVA; reloaded, its logits differ from the run's by at most {difference:.1e}")
        return 0
    if is_lora(options.run) and not options.merged:
        written = hf.export_adapter(options.run, options.out or options.run / ADAPTER, options.step, options.force)
        print(f"{written.out}: {written.n_parameters:,} parameters of an adapter, equal to the run's when read again")
        return 0
    out = options.out or options.run / EXPORT
    report = hf.export_run(options.run, out, options.step, options.force)
    print(
        f"{report.out}: {report.n_parameters:,} parameters; reloaded, its logits differ from the run's by at most "
        f"{report.max_abs_logit_diff:.1e}"
    )
    return 0
