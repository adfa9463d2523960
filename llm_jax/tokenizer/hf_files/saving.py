"""`tokenizer.json` and `tokenizer_config.json`, written as transformers and vLLM load them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_jax.files.json_files import write_json
from llm_jax.tokenizer.borders import Borders
from llm_jax.tokenizer.bpe.merge import merges_from_ranks
from llm_jax.tokenizer.bpe.patterns import GPT2_PATTERN
from llm_jax.tokenizer.hf_files import post_processor
from llm_jax.tokenizer.hf_files.companions import GENERATION_CONFIG, TOKENIZER_CONFIG
from llm_jax.tokenizer.hf_files.post_processor import NEUTRAL_CLASS
from llm_jax.tokenizer.hf_files.tokenizer_json import TOKENIZER_JSON, to_characters


def document(model: dict, pre_tokenizer: dict, decoder: dict, special_tokens: Mapping[str, int]) -> dict:
    """The content of a `tokenizer.json`."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = sorted(special_tokens.items(), key=lambda item: item[1])
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, "content": token, **flags} for token, number in added],
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": decoder,
        "model": model,
    }


def bpe_document(ranks: Mapping[bytes, int], pattern: str, special_tokens: Mapping[str, int]) -> dict:
    """Byte-level BPE as a `tokenizer.json`. Raises ValueError where the format cannot say what the ranks mean."""
    vocabulary = {to_characters(token): rank for token, rank in ranks.items()}
    if clash := vocabulary.keys() & special_tokens.keys():
        raise ValueError(f"special tokens {sorted(clash)} are ordinary tokens too: tokenizer.json cannot hold both")
    # Special tokens are in the vocabulary too, as in GPT-2's own file: otherwise Hugging Face numbers them itself.
    vocabulary.update(special_tokens)
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": "",
        "end_of_word_suffix": "",
        "fuse_unk": False,
        "byte_fallback": False,
        "vocab": dict(sorted(vocabulary.items(), key=lambda item: item[1])),
        "merges": [f"{to_characters(left)} {to_characters(right)}" for left, right in merges_from_ranks(ranks)],
    }
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    if pattern == GPT2_PATTERN:
        pre_tokenizer = byte_level | {"use_regex": True}
    else:
        split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        pre_tokenizer = {"type": "Sequence", "pretokenizers": [split, byte_level | {"use_regex": False}]}
    return document(model, pre_tokenizer, byte_level | {"use_regex": True}, special_tokens)


def write(
    directory: str | Path,
    content: dict,
    borders: Borders,
    special_tokens: Mapping[str, int],
    model_max_length: int | None,
) -> None:
    """Writes both files, each under a temporary name first.

    tokenizer_config.json names one special token for each role. Several ends, and ordinary tokens as borders, go into
    a generation_config.json, as ids. A prefix is written as the post-processor, which transformers and vLLM apply, and
    as `add_bos_token`, by which this format is told from others that have one.
    """
    named = role_fields(borders, special_tokens)
    config = NEUTRAL_CLASS | {role: token for role, token in named.items() if token is not None}
    if borders.prefix:
        config["add_bos_token"] = True
        token_of = {number: token for token, number in content["model"]["vocab"].items()}
        prefix = [(token_of[number], number) for number in borders.prefix]
        content = content | {"post_processor": post_processor.template(prefix)}
    if model_max_length is not None:
        config["model_max_length"] = model_max_length
    files = {TOKENIZER_JSON: content, TOKENIZER_CONFIG: config}
    said_by_name = all((named[role] is None) == (number is None) for role, number in _roles(borders).items())
    if not said_by_name or len(borders.stops) > 1:
        files[GENERATION_CONFIG] = generation_fields(borders)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        write_json(directory / name, value)


def role_fields(borders: Borders, special_tokens: Mapping[str, int]) -> dict[str, str | None]:
    """The special tokens at the borders by their roles, as tokenizer_config.json names them; None for others."""
    spelled = {number: token for token, number in special_tokens.items()}
    return {role: None if number is None else spelled.get(number) for role, number in _roles(borders).items()}


def _roles(borders: Borders) -> dict[str, int | None]:
    return {"bos_token": borders.begin, "eos_token": borders.end, "pad_token": borders.pad}


def generation_fields(borders: Borders) -> dict[str, Any]:
    """The ids as generation_config.json and config.json name them; one end is a number, several are a list."""
    stops = borders.stops[0] if len(borders.stops) == 1 else list(borders.stops)
    fields = {"bos_token_id": borders.begin, "eos_token_id": stops, "pad_token_id": borders.pad}
    return {name: value for name, value in fields.items() if value is not None and value != []}
