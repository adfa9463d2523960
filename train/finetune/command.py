"""Fine-tune a model on examples: `python -m train finetune BASE --data FILE --run NAME`.

BASE is a run's folder, a Hugging Face directory or a name on the hub. The data decides the task: instructions, chats
and completions are learned as text, pairs of a chosen and a rejected answer by DPO, labelled texts by a classifier's
head. --lora trains adapters and leaves the base as it is; without it all parameters are trained. Flags of --lora.NAME
mean --lora as well. --resume continues from the newest checkpoint with the run's own settings; a flag replaces one of
them. On SIGTERM, SIGUSR1 or Ctrl-C the run saves and exits with status 75.
"""

import dataclasses
import glob
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from llm_jax.adapters.config import LoraConfig
from llm_jax.runs import CONFIG, folder_of
from train.cluster.signals import EXIT_SAVED
from train.finetune.config import LORA_RATE, FinetuneConfig, FinetuneOptions

EXIT_INTERRUPTED = EXIT_SAVED  # also before there is anything to save
SWITCH = "--lora"
OF_SHARE = ("--val-fraction", "--data-seed")


@dataclass(frozen=True)
class Options:
    """BASE, where the run is, what it is, and LoRA's settings."""

    base: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="BASE")] = ""
    """A run's folder, a Hugging Face directory, owner/name on the hub, or random:PRESET (a shape that `train pretrain`
    lists, with fresh parameters and GPT-2's tokenizer). Default with --resume: the run's own."""
    where: tyro.conf.OmitArgPrefixes[FinetuneOptions] = FinetuneOptions()
    config: tyro.conf.OmitArgPrefixes[Annotated[FinetuneConfig, tyro.conf.arg(name="")]] = FinetuneConfig()
    lora: LoraConfig = LoraConfig()


def parse(arguments: list[str]) -> Options:
    """The run's own settings, or those that suit LoRA or a full fine-tuning, decide the defaults of all flags."""
    arguments = list(arguments)
    names = [argument.split("=")[0].replace("_", "-") for argument in arguments]
    has_lora = any(name == SWITCH or name.startswith(f"{SWITCH}.") for name in names)
    arguments = [argument for argument in arguments if argument != SWITCH]
    config = FinetuneConfig()
    default = Options(config=_with_lora(config) if has_lora else config)
    if not set(arguments) & {"-h", "--help"}:
        default = _as_begun(default, arguments)
        has_lora = has_lora or default.config.lora is not None
    options = tyro.cli(
        tyro.conf.AvoidSubcommands[Options],
        args=arguments,
        default=default,
        prog="python -m train finetune",
        description=__doc__,
    )
    lora = options.lora if has_lora else None
    config = dataclasses.replace(options.config, lora=lora)
    if "--epochs" in names and "--steps" not in names:
        config = dataclasses.replace(config, steps=0)
    _refuse_incomplete(options, config)
    if config.data.val_files and (given := [name for name in OF_SHARE if name in names]):
        raise ValueError(
            f"{given[0]} is about the share of --data that validates, and --val-data is given: leave it out"
        )
    return dataclasses.replace(options, config=config)


def _with_lora(config: FinetuneConfig) -> FinetuneConfig:
    return dataclasses.replace(config, optimizer=dataclasses.replace(config.optimizer, learning_rate=LORA_RATE))


def _as_begun(default: Options, arguments: list[str]) -> Options:
    """`default`; in a resume, what the run was begun with, so that flags need not be given again."""
    flags = tyro.conf.OmitArgPrefixes[FinetuneOptions]
    where, _ = tyro.cli(flags, args=arguments, default=default.where, return_unknown_args=True)
    if not (where.resume or where.auto_resume) or not where.run:
        return default
    folder = folder_of(where.runs, where.run)
    if not (folder / CONFIG).exists():
        return default
    from train.finetune import record

    was = record.read(folder)
    return Options(record.base_of(was), default.where, was.config, was.config.lora or default.lora)


def _refuse_incomplete(options: Options, config: FinetuneConfig) -> None:
    if not options.base:
        raise ValueError(
            "no BASE given: python -m train finetune BASE --data FILE --run NAME; BASE is a run's folder, a "
            "Hugging Face directory, or owner/name on the hub"
        )
    if not config.data.files:
        raise ValueError("no --data given: a file of instructions, chats, pairs of answers or labelled texts")
    if not options.where.run and not options.where.show:
        raise ValueError("no --run given: the name of the run, whose folder is runs/NAME")


def refuse_missing(options: Options) -> None:
    """Raises FileNotFoundError for a data file or a BASE that is not on this machine; names on the hub pass."""
    for name in options.config.data.files + options.config.data.val_files:
        if not name.startswith("hf:") and not glob.has_magic(name) and not Path(name).exists():
            raise FileNotFoundError(f"--data {name}: no such file or folder")
    base = options.base
    if (
        not Path(base).exists()
        and not base.startswith("random:")
        and (base.count("/") != 1 or base.startswith((".", "/", "runs/")))
    ):
        raise FileNotFoundError(f"{base}: no such run or Hugging Face directory, and no owner/name of the hub")


def main(options: Options) -> int:
    """Builds the run and trains it; the exit status is 0, 75 (saved on request) or 3 (not finite)."""
    from llm_jax import backend

    backend.configure()
    if options.where.show:
        from train.finetune.inputs import show_examples

        return show_examples(options.base, options.config, options.where.show)
    from train.finetune.build import finetune

    return finetune(options.base, options.where, options.config)
