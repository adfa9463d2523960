"""Submit a command of this project to SLURM: `python -m train submit pretrain gpt2-124m --nodes 2 -- --run first`.

Flags before `--` are for SLURM, flags after it for the command; the preset or folder may stand before or after it. This
writes the directives into slurm/COMMAND.sbatch, then shows the script (--dry-run) or submits it and says how to follow
the job.
"""

import dataclasses

import tyro

from train.submit.config import SubmitConfig

Options = SubmitConfig


def parse(arguments: list[str]) -> Options:
    """Everything behind the first `--` belongs to the command."""
    border = arguments.index("--") if "--" in arguments else len(arguments)
    options = tyro.cli(Options, args=arguments[:border], prog="python -m train submit", description=__doc__)
    return dataclasses.replace(options, arguments=(*options.arguments, *arguments[border + 1 :]))


def main(options: Options) -> int:
    """Submits, or with --dry-run prints the script; the exit status is 0."""
    from train.submit.submission import submit

    return submit(options)
