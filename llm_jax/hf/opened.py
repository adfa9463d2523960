"""Opens any model: a run (pretrained, fine-tuned, with adapters), a directory, or a name on the hub.

A run of LoRA holds adapters alone. Its base is opened again as its `config.json` says, and refused where the hash of
its parameters is another: adapters change the function of one base and are noise to any other.

Checkpoints are imported where a run is opened: their library takes 25 MB and a third of a second.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax

from llm_jax import adapters
from llm_jax import tokenizer as tokenizers
from llm_jax.adapters import Adapters, LoraConfig
from llm_jax.config import DecoderConfig, from_dict, model_preset
from llm_jax.hf import peft
from llm_jax.hf.directory import describe as describe_directory
from llm_jax.hf.directory import load, refuse_unknown_ids
from llm_jax.models import decoder
from llm_jax.models.decoder import Decoder
from llm_jax.runs import CHECKPOINTS, CONFIG, TOKENIZER, is_lora, is_run, read_config, refuse_no_text_model
from llm_jax.tokenizer import Tokenizer
from llm_jax.tokenizer.derived import with_chat, with_stops

RANDOM = "random:"


@dataclass(frozen=True)
class Opened:
    """A model and its tokenizer."""

    config: DecoderConfig
    params: Decoder  # float32; adapters are merged
    tokenizer: Tokenizer
    name: str
    folder: Path | None  # of the tokenizer's files, where they are on this machine
    step: int | None = None  # of a run: the checkpoint's


class Described(NamedTuple):
    """What a model is, without its parameters."""

    config: DecoderConfig
    tokenizer: Tokenizer


@dataclass(frozen=True)
class AdaptedRun:
    """A run of LoRA: its adapters, beside the base that they were trained with."""

    base: Opened
    adapters: Adapters
    lora: LoraConfig
    tokenizer: Tokenizer
    step: int
    base_source: str
    base_hash: str


def describe(source: str | Path) -> Described:
    """What `open_model` would open, as its files say. No device is used: processes that are to join each other may not.

    Raises:
        FileNotFoundError, ValueError: says what is missing or wrong.
    """
    path = Path(source)
    if str(source).startswith(RANDOM):
        return _random_shape(str(source))
    if is_run(path):
        from llm_jax.checkpoint import model_config

        config = _read_record(path)[1] if is_lora(path) else model_config(path)
        tokenizer = tokenizers.load(path / TOKENIZER)
    else:
        config, tokenizer = describe_directory(source)
    refuse_unknown_ids(source, tokenizer, config.vocab_size)
    return Described(config, tokenizer)


def open_model(source: str | Path, step: int | None = None, keeps_format: bool = False) -> Opened:
    """The model of a run's folder, a Hugging Face directory, or `owner/name` on the hub; adapters are merged.

    Args:
        source: where it is; or `random:PRESET`, fresh parameters of that shape with GPT-2's tokenizer, to compare with.
        step: of a run: the checkpoint's step; None: the newest intact one.
        keeps_format: of a Hugging Face directory: its matrices stay in the number format of the file.

    Raises:
        FileNotFoundError, ValueError: says what is missing or wrong; also for a classifier, which writes no text.
    """
    path = Path(source)
    if str(source).startswith(RANDOM):
        return _random(str(source))
    if not is_run(path):
        if step is not None:
            raise ValueError(f"{source} is not a run, so it has no step {step}")
        loaded = load(source, keeps_format)
        if loaded.tokenizer is None:
            raise FileNotFoundError(f"{source} has no tokenizer.json: put one there")
        refuse_unknown_ids(source, loaded.tokenizer, loaded.config.vocab_size)
        folder = path.resolve() if path.is_dir() else None
        return Opened(loaded.config, loaded.params, loaded.tokenizer, path.name, folder)
    if is_lora(path):
        run = load_adapted(path, step)
        params = adapters.merge(run.base.params, run.adapters, run.base.config, run.lora)
        config, tokenizer, at = run.base.config, run.tokenizer, run.step
    else:
        from llm_jax.checkpoint import load_run

        loaded_run = load_run(path, step)
        config, params, tokenizer, at = loaded_run.config, loaded_run.params, loaded_run.tokenizer, loaded_run.step
    refuse_unknown_ids(source, tokenizer, config.vocab_size)
    return Opened(config, params, tokenizer, f"{path.name}, step {at:,}", (path / TOKENIZER).resolve(), at)


def _random(source: str) -> Opened:
    """The same parameters every time. Raises ValueError for an unknown preset."""
    config, tokenizer = _random_shape(source)
    return Opened(config, decoder.init(jax.random.key(0), config), tokenizer, source, None)


def _random_shape(source: str) -> Described:
    tokenizer = tokenizers.load("gpt2")
    return Described(replace(model_preset(source.removeprefix(RANDOM)), vocab_size=tokenizer.vocab_size), tokenizer)


def load_adapted(run: Path, step: int | None = None) -> AdaptedRun:
    """The newest intact adapters of a LoRA run, or those of `step`, and their base.

    Raises:
        FileNotFoundError: the base is not where it was, or there is no checkpoint.
        ValueError: `run` has no adapters, is a classifier, or its base is another one.
    """
    lora, config, record = _read_record(run)
    base = open_base(run, record)
    trained, chosen = _read_adapters(run, config, lora, step)
    tokenizer = tokenizers.load(run / TOKENIZER)
    return AdaptedRun(base, trained, lora, tokenizer, chosen, str(record["source"]), str(record["hash"]))


def load_adapter(source: str | Path, config: DecoderConfig, params: Decoder) -> tuple[Adapters, LoraConfig]:
    """An adapter for a base that is open: of a LoRA run's folder, or of a directory in PEFT's format.

    Args:
        source: the folder.
        config: the base's, with its whole vocabulary.
        params: the base's.

    Raises:
        FileNotFoundError, ValueError: says what is missing or wrong; also where the adapter is another base's.
    """
    path = Path(source)
    if not is_run(path):
        if not path.is_dir():
            raise FileNotFoundError(f"adapter {source}: there is no such folder; give a LoRA run or PEFT's directory")
        found = peft.load(path, config, params)
        return found.adapters, found.lora
    lora, _, record = _read_record(path)
    if adapters.base_hash(params) != record["hash"]:
        raise ValueError(f"{path} holds adapters for {record['source']}, and this base has other parameters: take that")
    return _read_adapters(path, config, lora, None)[0], lora


def adapter_tokenizer(source: str | Path, base: Tokenizer) -> Tokenizer:
    """The tokenizer of an adapter's base with what the adapter was trained with: chat template, further stops.

    They are read beside the adapter; where no tokenizer is, the base's are returned. Raises as `tokenizers.load`.
    """
    path = Path(source)
    folder = path / TOKENIZER if is_run(path) else path
    if not tokenizers.is_there(folder):
        return base
    own = tokenizers.load(folder)
    known = set(base.special_tokens.items())
    stops = [number for number in own.borders.stops if (own.id_to_token(number), number) in known]
    return with_chat(with_stops(base, stops), own.chat or base.chat)


def _read_record(run: Path) -> tuple[LoraConfig, DecoderConfig, dict[str, Any]]:
    """What config.json says of a LoRA run: its adapters, its model, its base."""
    record, path = read_config(run), run / CONFIG
    if not record.get("lora"):
        raise ValueError(f"{run} is no LoRA run: all its parameters were trained, so it has no adapters")
    refuse_no_text_model(run, record)
    try:
        lora = from_dict(LoraConfig, record["lora"])
        config = from_dict(DecoderConfig, record["model"])
        base = {name: record["base"][name] for name in ("source", "folder", "step", "hash")}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged or of another version: {error}") from None
    return lora, config, base


def _read_adapters(run: Path, config: DecoderConfig, lora: LoraConfig, step: int | None) -> tuple[Adapters, int]:
    from llm_jax.checkpoint import layout

    template = jax.eval_shape(partial(adapters.init, config=config, lora=lora), jax.random.key(0))
    chosen, _ = layout.choose(run / CHECKPOINTS, step)
    return layout.read(run / CHECKPOINTS, template, chosen, prefix="params."), chosen


def open_base(run: Path, record: dict[str, Any]) -> Opened:
    """The base of a LoRA run, by the entry `base` of its config. Raises as `load_adapted`."""
    source = record["folder"] or record["source"]
    if record["folder"] and not Path(source).is_dir():
        source = record["source"]  # the project was moved: the path as given, relative to this folder
    try:
        base = open_model(source, record["step"])
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{run} holds adapters alone and needs its base {record['source']}: {error}") from error
    if adapters.base_hash(base.params) != record["hash"]:
        raise ValueError(
            f"{run} holds adapters for another base than {source} is now: its parameters have changed since; restore "
            "the base that they were trained with"
        )
    return base
