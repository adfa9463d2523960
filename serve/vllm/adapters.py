"""Adapters that vLLM serves beside a model: checked here first, then named in the flags of `vllm serve`.

vLLM allocates room for the largest rank, of a few sizes; its default, 16, refuses an adapter of a larger one only when
it loads it. The families below have LoRA in vLLM; GPT-2 has not, and vLLM would end with a traceback.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from llm_jax import hf, tokenizer
from llm_jax.config import DecoderConfig
from llm_jax.hf import peft
from llm_jax.runs import ADAPTER, is_run
from serve import adapters

logger = logging.getLogger(__name__)

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM allocates room for
WITH_LORA = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")


@dataclass(frozen=True)
class Served:
    """Adapters by name, and the rank that vLLM makes room for."""

    folders: dict[str, Path]
    rank: int


def checked(given: tuple[str, ...], model: Path, config: DecoderConfig, architecture: str, name: str) -> Served | None:
    """The adapters of a command line; None where there are none. `name` is the model's in requests.

    Raises:
        FileNotFoundError, ValueError: vLLM has no LoRA for this model, or an adapter is not one of this model, has too
            large a rank, is a run, or is not as `peft.load` wants it.
    """
    folders = adapters.named(given, name)
    if not folders:
        return None
    if architecture not in WITH_LORA:
        raise ValueError(
            f"vLLM has no LoRA for {architecture}: merge the adapter (`python -m serve export RUN --merged`) and serve "
            "the result, or use `python -m serve api`, which serves adapters of every family"
        )
    ranks, params = {}, None
    for adapter, folder in folders.items():
        if is_run(folder):
            raise ValueError(
                f"{folder} is a run: `python -m serve export {folder}`, then --adapter {adapter}={folder / ADAPTER}"
            )
        if params is None and (folder / peft.BASE).is_file():  # it names its base by a hash
            params = hf.load(model, keeps_format=True).params
        ranks[adapter] = peft.load(folder, config, params).lora.rank
        _warn_of_tokenizer(adapter, folder, model)
    largest = max(ranks, key=lambda adapter: ranks[adapter])
    if ranks[largest] > RANKS[-1]:
        raise ValueError(
            f"adapter {largest!r} has rank {ranks[largest]}; vLLM serves up to {RANKS[-1]}: merge it into the model"
        )
    return Served(folders, next(rank for rank in RANKS if rank >= ranks[largest]))


def _warn_of_tokenizer(adapter: str, folder: Path, model: Path) -> None:
    """vLLM writes every prompt by the base's template, and ends every answer at the base's stops."""
    base = tokenizer.load(model)
    own = hf.adapter_tokenizer(folder, base)
    if own.chat and (base.chat is None or own.chat.default != base.chat.default):
        logger.warning(
            "adapter %r was trained with another chat template, and vLLM writes by the base's; give it for all with "
            "`-- --chat-template FILE`, or use `python -m serve api`, where each adapter has its own",
            adapter,
        )
    if further := [own.id_to_token(number) for number in own.borders.stops if number not in base.borders.stops]:
        logger.warning(
            "adapter %r ends its answers with %s, at which vLLM does not stop for this base: name it in `stop` of each "
            "request",
            adapter,
            " ".join(map(str, further)),
        )


def arguments_of(served: Served | None) -> list[str]:
    """Flags of `vllm serve`. As JSON, because a path may have a comma or an equals sign."""
    if served is None:
        return []
    modules = [json.dumps({"name": name, "path": str(folder.resolve())}) for name, folder in served.folders.items()]
    sizes = ("--max-loras", str(len(modules)), "--max-lora-rank", str(served.rank))
    return ["--enable-lora", *sizes, "--lora-modules", *modules]
