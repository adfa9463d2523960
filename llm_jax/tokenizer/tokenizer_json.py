"""Hugging Face's `tokenizer.json` and `tokenizer_config.json`: the files that transformers and vLLM load.

The format writes bytes as characters (`byte_characters`), lists merges as pairs, and gives special tokens as "added
tokens". Reading takes what byte-level BPE and nothing else needs, and refuses by name whatever would change the ids:
normalizers, other pre-tokenizers, added tokens that are not special, a vocabulary out of merge order.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_jax.json_files import parse_json, write_json
from llm_jax.tokenizer.bpe_merge import merges_from_ranks
from llm_jax.tokenizer.patterns import GPT2_PATTERN

TOKENIZER_JSON = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"


def byte_characters() -> list[str]:
    """GPT-2's printable character for each byte: itself where it prints in Latin-1, else the next from U+0100 on.

    A space becomes "Ġ" and a newline "Ċ", so a vocabulary can be read, and split at spaces, as text.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    replaced = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) if byte in printable else chr(0x100 + replaced.index(byte)) for byte in range(256)]


_CHARACTER_OF_BYTE = dict(enumerate(byte_characters()))
_BYTE_OF_CHARACTER = {ord(character): byte for byte, character in _CHARACTER_OF_BYTE.items()}


def to_characters(token: bytes) -> str:
    return token.decode("latin-1").translate(_CHARACTER_OF_BYTE)


def to_bytes(characters: str) -> bytes:
    """Raises KeyError for a character that stands for no byte."""
    return bytes([_BYTE_OF_CHARACTER[ord(character)] for character in characters])


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


def write(directory: str | Path, content: dict, end_of_text: str | None, model_max_length: int | None) -> None:
    """Writes both files, each under a temporary name first."""
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",  # reads tokenizer.json as it is, whatever the model
        "clean_up_tokenization_spaces": False,
    }
    if end_of_text is not None:
        config |= {"bos_token": end_of_text, "eos_token": end_of_text}
    if model_max_length is not None:
        config["model_max_length"] = model_max_length
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for name, value in ((TOKENIZER_JSON, content), (TOKENIZER_CONFIG, config)):
        write_json(directory / name, value)


def read(path: str | Path) -> dict:
    """The content of a `tokenizer.json`. Raises ValueError unless it is one."""
    content = parse_json(Path(path).read_bytes(), "", "get the file again")
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict):
        raise ValueError("not a tokenizer.json: it has no object 'model' with an object 'vocab', token → id")
    return content


def parse_bpe(content: dict) -> tuple[dict[bytes, int], str, dict[str, int]]:
    """(ranks, pattern, special tokens) of a byte-level BPE. Raises ValueError saying what is wrong."""
    refuse_changes_to_text(content)
    special_tokens = _special_tokens(content.get("added_tokens") or [])
    model = content["model"]
    for key in ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(key):
            raise ValueError(f"model.{key} is {model[key]!r}; byte-level BPE has none")
    ranks: dict[bytes, int] = {}
    for token, number in model["vocab"].items():
        if type(number) is not int:
            raise ValueError(f"the id of token {token!r} is {number!r}; expected a whole number")
        if token in special_tokens and special_tokens[token] == number:
            continue
        try:
            ranks[to_bytes(token)] = number
        except KeyError:
            raise ValueError(f"token {token!r} is not written in GPT-2's byte characters") from None
    _check_merges(model.get("merges"), ranks)
    return ranks, _split_pattern(content.get("pre_tokenizer")), special_tokens


def refuse_changes_to_text(content: dict) -> None:
    """Raises ValueError for a normalizer or a post-processor that would change which ids a text gets."""
    if content.get("normalizer") is not None:
        raise ValueError(f"it has a normalizer ({_kind(content['normalizer'])}); only texts as they are are supported")
    post_processor = content.get("post_processor") or {"type": "ByteLevel"}
    # transformers writes a template that adds nothing where there was no post-processor.
    adds = _kind(post_processor) != "TemplateProcessing" or post_processor.get("special_tokens")
    if adds and _kind(post_processor) != "ByteLevel":
        raise ValueError(f"it has a post-processor ({_kind(post_processor)}), which adds tokens to every text")


def _special_tokens(added: Any) -> dict[str, int]:
    special_tokens: dict[str, int] = {}
    for token in added if isinstance(added, list) else [added]:
        token = _object(token, "an added token")
        if type(token.get("id")) is not int or not isinstance(token.get("content"), str):
            raise ValueError(f"an added token needs an id and a content; found {token}")
        changed = [flag for flag in ("single_word", "lstrip", "rstrip") if token.get(flag)]
        if not token.get("special") or changed:
            raise ValueError(
                f"added token {token['content']!r} is not a plain special token "
                f"(special={token.get('special')}, {', '.join(changed) or 'no flags'})"
            )
        special_tokens[token["content"]] = token["id"]
    return special_tokens


def _check_merges(merges: Any, ranks: Mapping[bytes, int]) -> None:
    """Our ranks say what the file's merges say: every token has its pair among them, and they come in order of rank."""
    if not isinstance(merges, list):
        raise ValueError("it has no 'model.merges' list")
    pairs, last = set(), -1
    for entry in merges:
        parts = entry.split(" ") if isinstance(entry, str) else entry
        try:
            left, right = map(to_bytes, parts)
            rank = ranks[left + right]
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"merge {entry!r} is not a pair of tokens whose union is a token") from None
        if rank < last:
            raise ValueError(f"merge {entry!r} makes token {rank} after token {last}: ids must be in merge order")
        pairs.add((left, right))
        last = rank
    if missing := [pair for pair in merges_from_ranks(ranks) if pair not in pairs]:
        raise ValueError(f"{len(missing)} tokens have no merge that makes them, first {missing[0]}")


def _split_pattern(pre_tokenizer: Any) -> str:
    steps = [pre_tokenizer]
    if _kind(pre_tokenizer) == "Sequence" and isinstance(pre_tokenizer.get("pretokenizers"), list):
        steps = pre_tokenizer["pretokenizers"]
    kinds = [_kind(step) for step in steps]
    if kinds not in (["ByteLevel"], ["Split", "ByteLevel"]):
        raise ValueError(f"expected the pre-tokenizer ByteLevel, or Split then ByteLevel; found {kinds}")
    byte_level = steps[-1]
    if byte_level.get("add_prefix_space", True):
        raise ValueError("the ByteLevel pre-tokenizer has add_prefix_space, which changes the text")
    if kinds == ["ByteLevel"] and byte_level.get("use_regex", True):
        return GPT2_PATTERN
    if kinds == ["ByteLevel"] or byte_level.get("use_regex", True):
        raise ValueError("the pre-tokenizer has no single split pattern (use_regex beside a Split, or neither)")
    split = steps[0]
    pattern = _object(split.get("pattern"), "the pattern of a Split").get("Regex")
    if not isinstance(pattern, str) or split.get("behavior") != "Isolated" or split.get("invert"):
        raise ValueError(f"expected a Split by a Regex with behavior Isolated; found {split}")
    return pattern


def _kind(part: Any) -> str:
    return str(part.get("type")) if isinstance(part, dict) else repr(part)


def _object(value: Any, what: str) -> dict:
    if not isinstance(value, dict):
        raise ValueError(f"{what} must be an object; found {value!r}")
    return value
