"""Train a GPT-2 or Llama on prepared shards: `python -m train pretrain PRESET --data DIR --run NAME`.

A preset is a named set of values; without one, this command lists them. Every flag replaces one value. The run's folder
holds all that the run writes. --resume continues from its newest checkpoint with the run's own settings, not the
preset's; a flag replaces one of them. On SIGTERM, SIGUSR1 or Ctrl-C the run saves and exits with status 75.
"""

import dataclasses
import re
from dataclasses import dataclass

from llm_jax.runs import CONFIG, folder_of
from train.cluster.signals import EXIT_SAVED
from train.pretrain.config import RunOptions, TrainConfig

EXIT_INTERRUPTED = EXIT_SAVED  # also before there is anything to save


@dataclass(frozen=True)
class Options:
    """A preset and the values that replace its own."""

    where: RunOptions
    config: TrainConfig


def parse(arguments: list[str]) -> Options:
    """The preset comes first, because it decides every default that `--help` then shows."""
    import tyro

    from train.pretrain.presets import PRESETS, preset

    names = [name for name in arguments[:1] if not name.startswith("-")]
    if not names:
        listing = f"python -m train pretrain PRESET [options]      PRESET: {', '.join(PRESETS)}"
        if set(arguments) & {"-h", "--help"}:
            print(f"{__doc__}\nusage: {listing}\n       python -m train pretrain PRESET --help")
            raise SystemExit(0)
        raise ValueError(f"no preset given: {listing}")
    default = Options(RunOptions(run=names[0]), preset(names[0]))
    if not set(arguments) & {"-h", "--help"}:
        default = _as_begun(default, arguments[1:])
    options = tyro.cli(
        # Only flags: a choice between a scaling of rotary positions and none would become a subcommand.
        tyro.conf.AvoidSubcommands[tyro.conf.OmitArgPrefixes[Options]],
        args=arguments[1:],
        default=default,
        prog=f"python -m train pretrain {names[0]}",
        description=__doc__,
    )
    is_new = options.where.token_dtype != default.where.token_dtype
    if is_new and not any(re.match(r"--vocab[-_]size(=|$)", argument) for argument in arguments):
        raise ValueError(
            f"--token-dtype {options.where.token_dtype}: ids without headers do not say how many there are: add "
            "--vocab-size N (GPT-2: 50257; of nanoGPT's meta.pkl, which is not read: vocab_size)"
        )
    return options


def _as_begun(default: Options, arguments: list[str]) -> Options:
    """`default`; in a resume, what the run was begun with, so that flags need not be given again."""
    import tyro

    flags = tyro.conf.OmitArgPrefixes[RunOptions]
    where, _ = tyro.cli(flags, args=arguments, default=default.where, return_unknown_args=True)
    if not (where.resume or where.auto_resume):
        return default
    from train.pretrain import run_folder

    folder = folder_of(where.runs, where.run)
    if not (folder / CONFIG).exists():
        return default
    config, _ = run_folder.read(folder)
    return Options(dataclasses.replace(default.where, **run_folder.read_paths(folder)), config)


def main(options: Options) -> int:
    """Builds the run and trains it; the exit status is 0, 75 (saved on request) or 3 (not finite)."""
    from llm_jax import backend

    backend.configure()
    from train.pretrain.build import pretrain

    return pretrain(options.where, options.config)
