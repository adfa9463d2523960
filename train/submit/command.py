"""Submit a command of this project to SLURM: `python -m train submit pretrain gpt2-124m --nodes 2 -- --run first`.

Flags before `--` are for SLURM, flags after it for the command. The preset or folder may come before or after `--`. The
command fills the directives into a copy of slurm/COMMAND.sbatch. Then it prints the script (--dry-run), or submits it
and prints how to follow the job.
"""

import dataclasses

import tyro

from train.submit.config import SubmitConfig

Options = SubmitConfig


def parse(arguments: list[str]) -> Options:
    """Parses the flags for SLURM. Everything after the first `--` is passed to the command."""
    border = arguments.index("--") if "--" in arguments else len(arguments)
    options = tyro.cli(Options, args=arguments[:border], prog="python -m train submit", description=__doc__)
    return dataclasses.replace(options, arguments=(*options.arguments, *arguments[border + 1 :]))


def main(options: Options) -> int:
    """Submits the script, or with --dry-run prints it; returns 0."""
    from train.submit.submission import submit

    return submit(options)
