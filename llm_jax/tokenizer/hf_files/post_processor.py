"""The post-processor of a `tokenizer.json`, as far as it puts tokens before a text.

It alone decides in transformers 5: `add_bos_token` in tokenizer_config.json counts only where there is no
tokenizer.json. Older files of ours, which say it only there, are still read so.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llm_jax.tokenizer.hf_files.companions import GENERATION_CONFIG, ROLES, Companions

TEMPLATE = "TemplateProcessing"
BORDERS = ("bos_token", "eos_token", "pad_token")
NEUTRAL_CLASS: dict[str, Any] = {
    "tokenizer_class": "PreTrainedTokenizerFast",  # reads tokenizer.json as it is, whatever the model
    "clean_up_tokenization_spaces": False,
}
_OUR_FIELDS = {*NEUTRAL_CLASS, *ROLES, "add_bos_token", "model_max_length", "chat_template"}


def template(prefix: Sequence[tuple[str, int]]) -> dict[str, Any] | None:
    """Puts tokens, given with their ids, before every text; None where there are none."""
    if not prefix:
        return None
    begin: list[dict[str, Any]] = [{"SpecialToken": {"id": token, "type_id": 0}} for token, _ in prefix]
    first, second = ({"Sequence": {"id": name, "type_id": number}} for number, name in enumerate("AB"))
    return {
        "type": TEMPLATE,
        "single": [*begin, first],
        "pair": [*begin, first, second],
        "special_tokens": {token: {"id": token, "ids": [number], "tokens": [token]} for token, number in prefix},
    }


def is_ours(content: Mapping[str, Any], files: Companions) -> bool:
    """Whether it is one of `template` in files that our byte-level BPE and characters write."""
    return _is_our_config(files) and prefix_of(content) != ()


def prefix_of(content: Mapping[str, Any]) -> tuple[int, ...]:
    """The ids that a post-processor of `template` puts before a text; () for another one."""
    part = content.get("post_processor")
    tokens = part.get("special_tokens") if isinstance(part, Mapping) and part.get("type") == TEMPLATE else None
    if not isinstance(tokens, Mapping) or not all(isinstance(token, Mapping) for token in tokens.values()):
        return ()
    prefix = [(name, number) for name, token in tokens.items() for number in token.get("ids") or ()]
    return tuple(number for _, number in prefix) if part == template(prefix) else ()


def config_decides(content: Mapping[str, Any], files: Companions) -> bool:
    """Whether they are files that we wrote when `add_bos_token` decided. transformers wrote none like these."""
    adds = files.tokenizer_config.get("add_bos_token")
    if not isinstance(adds, bool):
        return False
    is_beginning = adds and content.get("post_processor") is None
    return (is_beginning and (_is_our_config(files) or "truncation" not in content)) or _has_our_borders(files)


def _has_our_borders(files: Companions) -> bool:
    """Whether a foreign tokenizer was saved with borders of ours: plain names, and ids that stand alone in a file."""
    path, config = (files.folder or Path()) / GENERATION_CONFIG, files.tokenizer_config
    named = all(role in config and isinstance(config[role], str | None) for role in BORDERS)
    ids = {f"{role}_id" for role in BORDERS}
    return named and not files.special_tokens_map and path.is_file() and files.generation_config.keys() <= ids


def _is_our_config(files: Companions) -> bool:
    config = files.tokenizer_config
    if config.keys() - _OUR_FIELDS or config.get("add_bos_token") is not True:
        return False
    return all(config.get(field) == value for field, value in NEUTRAL_CLASS.items())
