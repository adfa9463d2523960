"""The data of a run: a prepared folder, or a plain text file that is prepared beside the run first."""

import sys
from pathlib import Path

from llm_jax import tokenizer
from llm_jax.tokenizer import Tokenizer
from train.data.integrity import open_data
from train.data.manifest import FILE_NAME, Manifest, read, shard_names
from train.data.shards import FORMATS
from train.data.tokenizer import refuse_other_tokenizer
from train.data.without_manifest import common_dtype
from train.pretrain.config import RunOptions, TrainConfig


def open_inputs(where: RunOptions, config: TrainConfig, run: Path, prepares: bool) -> tuple[Manifest, Tokenizer | None]:
    """The checked manifest, and its tokenizer if it can be had (without one a run trains but cannot show samples).

    `prepares`: whether this process is the one that prepares a text file. Raises what `open_data` and
    `python -m train prepare` raise for data that cannot be trained on.
    """
    folder = where.data
    if folder.is_file() and folder.suffix not in (".bin", ".npy"):
        folder = run / "data"
        if prepares:
            _prepare(where.data, folder, config.tokenizer)
    if where.check_shards and not prepares and (folder / FILE_NAME).exists():
        manifest = read(folder)  # the first process has looked at the shards
    else:
        most = where.check_shards or None
        manifest = open_data(folder, _vocabulary(folder, where, config), bare=where.token_dtype, most=most)
    return manifest, _load_tokenizer(manifest)


def _vocabulary(folder: Path, where: RunOptions, config: TrainConfig) -> int | None:
    """The config's vocabulary, for shards that do not give one; None where the manifest or llm.c's format does."""
    asked = config.model.vocab_size
    if where.token_dtype != "none":
        return asked
    if asked <= FORMATS["uint16"].largest_vocabulary or (folder / FILE_NAME).exists():
        return None
    return asked if common_dtype(folder, shard_names(folder)) == "uint32" else None


def _prepare(text: Path, out: Path, tokenizer_name: str) -> None:
    from rich.console import Console

    from train.prepare.config import PrepareConfig
    from train.prepare.preparation import prepare

    prepare(PrepareConfig(source=(str(text),), out=out, tokenizer=tokenizer_name), Console(stderr=True))


def _load_tokenizer(manifest: Manifest) -> Tokenizer | None:
    beside = manifest.folder / "tokenizer.json"
    name = str(beside) if beside.exists() else manifest.tokenizer.name
    try:
        found = tokenizer.load(name)
        refuse_other_tokenizer(manifest, found)
        return found
    except (OSError, ValueError) as error:
        if (manifest.folder / FILE_NAME).exists() and beside.exists():
            raise
        print(
            f"no tokenizer for {manifest.folder} ({error}): the run will train, but without samples or export",
            file=sys.stderr,
        )
        return None
