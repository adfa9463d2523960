"""Export a run as a Hugging Face directory that transformers, vLLM and lm-evaluation-harness load.

The directory is reloaded and its logits are compared with the run's before it gets its name.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Options:
    run: tyro.conf.Positional[Path]
    """Folder of the run, such as runs/quickstart."""
    out: Path | None = None
    """Folder to write. Default: RUN/hf."""
    step: int | None = None
    """Step of the checkpoint. Default: the newest intact one."""
    force: bool = False
    """Overwrite an earlier export."""


def main(options: Options) -> int:
    """Exports the run, and prints the largest difference of logits."""
    from llm_jax import backend

    backend.configure()
    from llm_jax import hf
    from llm_jax.runs import EXPORT

    out = options.out or options.run / EXPORT
    report = hf.export_run(options.run, out, options.step, options.force)
    print(
        f"{report.out}: {report.n_parameters:,} parameters; reloaded, its logits differ from the run's by at most "
        f"{report.max_abs_logit_diff:.1e}"
    )
    return 0
