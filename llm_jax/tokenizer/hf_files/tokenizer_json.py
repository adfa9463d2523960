"""Hugging Face's `tokenizer.json`, read; `saving` writes it.

The format writes bytes as characters (`byte_characters`), lists merges as pairs, and gives special tokens as "added
tokens". `parse_bpe` takes what byte-level BPE and nothing else needs. A sound file that says more raises OtherKind, and
is read by the `tokenizers` library (`llm_jax.tokenizer.hugging_face`): normalizers, other pre-tokenizers, added tokens
that are not special, a vocabulary out of merge order. Files of older versions, such as GPT-2's own on the hub, leave
out the model's type and more: what is missing is inferred as Hugging Face's `tokenizers` does it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_jax.files.json_files import parse_json
from llm_jax.tokenizer.bpe.merge import merges_from_ranks
from llm_jax.tokenizer.bpe.patterns import GPT2_PATTERN
from llm_jax.tokenizer.hf_files import post_processor
from llm_jax.tokenizer.hf_files.companions import Companions

TOKENIZER_JSON = "tokenizer.json"
MODELS = {"BPE": dict, "WordLevel": dict, "WordPiece": dict, "Unigram": list}  # type → of its vocabulary


class OtherKind(ValueError):
    """A sound file of a tokenizer that is not one of ours."""


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


def read(path: str | Path) -> dict:
    """The content of a `tokenizer.json`. Raises ValueError unless it holds a model with a vocabulary."""
    # Any encoding, with or without its mark.
    content = parse_json(Path(path).read_bytes(), "", "get the file again", unique=True)
    model = content.get("model") if isinstance(content, dict) else None
    if isinstance(model, dict):
        model.setdefault("type", _inferred_type(model))
        if model["type"] not in (*MODELS, None):
            raise ValueError(f"it holds a {model['type']!r} model; expected one of {', '.join(MODELS)}")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), MODELS.get(str(model["type"]), dict)):
        expected = "a list 'vocab'" if isinstance(model, dict) and model["type"] == "Unigram" else "an object 'vocab'"
        raise ValueError(f"not a tokenizer.json: it has no object 'model' with {expected}, token → id")
    return content


def _inferred_type(model: dict) -> str | None:
    """The type of a model that names none, by its fields, in the order in which `tokenizers` tries them."""
    if isinstance(model.get("vocab"), list):
        return "Unigram"
    if "merges" in model:
        return "BPE"
    if "max_input_chars_per_word" in model or "continuing_subword_prefix" in model:
        return "WordPiece"
    return "WordLevel" if "unk_token" in model else None


def parse_bpe(content: dict, files: Companions | None = None) -> tuple[dict[bytes, int], str, dict[str, int]]:
    """(ranks, pattern, special tokens) of a byte-level BPE.

    `files`: those beside it. Where the file is old, they say which entries of the vocabulary are special.

    Raises:
        ValueError: the file is damaged; says what is wrong.
        OtherKind: the file is sound, and of another tokenizer.
    """
    model, files = content["model"], files or Companions()
    if model["type"] not in ("BPE", None):
        raise OtherKind(f"it holds a {model['type']} model")
    for token, number in model["vocab"].items():
        if type(number) is not int:
            raise ValueError(f"the id of token {token!r} is {number!r}; expected a whole number")
    if model.get("dropout"):
        raise ValueError(f"model.dropout is {model['dropout']!r}, which draws the ids at random: set it to null")
    refuse_changes_to_text(content, files)
    special_tokens = read_special_tokens(content, files)
    merges = model.get("merges")
    made = {"".join(_pair(entry)) for entry in merges} if isinstance(merges, list) else set()
    for token in sorted((files.special_names() & model["vocab"].keys()) - special_tokens.keys() - made):
        if len(token) > 1:  # neither a byte nor a merge: no text contains it
            special_tokens[token] = model["vocab"][token]
    unknown = model.get("unk_token")  # never needed where every byte is a token
    if unknown and unknown not in special_tokens and unknown not in model["vocab"]:
        raise ValueError(f"model.unk_token is {unknown!r}, which is not in the vocabulary")
    for key in ("continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(key):
            raise OtherKind(f"model.{key} is {model[key]!r}; byte-level BPE has none")
    ranks: dict[bytes, int] = {}
    for token, number in model["vocab"].items():
        if token in special_tokens and special_tokens[token] == number:
            continue
        try:
            ranks[to_bytes(token)] = number
        except KeyError:
            raise OtherKind(f"token {token!r} is not written in GPT-2's byte characters") from None
    pattern = _split_pattern(content.get("pre_tokenizer"))
    _check_merges(merges, ranks)
    return ranks, pattern, special_tokens


def refuse_changes_to_text(content: dict, files: Companions) -> None:
    """Raises OtherKind for a normalizer or a post-processor that would change which ids a text gets.

    The prefix that we write ourselves is read by `borders`.
    """
    if content.get("normalizer") is not None:
        raise OtherKind(f"it has a normalizer ({_kind(content['normalizer'])}); only texts as they are are supported")
    part = content.get("post_processor") or {"type": "ByteLevel"}
    # transformers writes a template that adds nothing where there was no post-processor.
    adds = _kind(part) != post_processor.TEMPLATE or part.get("special_tokens")
    if adds and _kind(part) != "ByteLevel" and not post_processor.is_ours(content, files):
        raise OtherKind(f"it has a post-processor ({_kind(part)}), which adds tokens to every text")


def read_added_tokens(content: dict, files: Companions) -> list[dict[str, Any]]:
    """The added tokens of the file and of those beside it, each with an id and a content. Raises ValueError for others.

    A token that a file beside it names as special is special; one that no vocabulary has gets the next id,
    as in transformers, but none that the model does not have.
    """
    added = content.get("added_tokens") or []
    named, listed = files.special_names(with_defaults=False), added if isinstance(added, list) else [added]
    known = {token.get("content") for token in listed if isinstance(token, dict)}
    beside = [{"id": number, **token} for number, token in files.decoder().items() if token["content"] not in known]
    tokens = [_object(token, "an added token") for token in [*listed, *beside]]
    for token in tokens:
        if type(token.get("id")) is not int or not isinstance(token.get("content"), str):
            raise ValueError(f"an added token needs an id and a content; found {token}")
    ids = ids_of(content["model"]["vocab"]) | {token["content"]: token["id"] for token in tokens}
    new = [token for token in files.named_tokens() if token["content"] not in ids]
    numbered = enumerate(new, 1 + max(_numbers(ids), default=-1))
    tokens += [{"id": number, **token} for number, token in numbered if files.is_id_of_the_model(number)]
    return [{**token, "special": bool(token.get("special") or token["content"] in named)} for token in tokens]


def ids_of(vocab: dict | list) -> dict[str, Any]:
    """Token → id; Unigram's list holds them in order."""
    if isinstance(vocab, dict):
        return dict(vocab)
    pairs = [entry for entry in vocab if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)]
    return {piece: number for number, (piece, _) in enumerate(pairs)}


def _numbers(ids: dict[str, Any]) -> list[int]:
    return [number for number in ids.values() if type(number) is int]  # others are refused elsewhere


def read_special_tokens(content: dict, files: Companions) -> dict[str, int]:
    """The added tokens, if all are plainly special. Raises ValueError for a damaged one, OtherKind for another."""
    special_tokens: dict[str, int] = {}
    for token in read_added_tokens(content, files):
        changed = [flag for flag in ("single_word", "lstrip", "rstrip") if token.get(flag)]
        if not token["special"] or changed:
            raise OtherKind(
                f"added token {token['content']!r} is not a plain special token "
                f"(special={token.get('special')}, {', '.join(changed) or 'no flags'})"
            )
        special_tokens[token["content"]] = token["id"]
    return special_tokens


def _check_merges(merges: Any, ranks: Mapping[bytes, int]) -> None:
    """Checks that ranks and merges agree: every token has its pair among the merges, which are in order of rank."""
    if not isinstance(merges, list):
        raise ValueError("it has no 'model.merges' list")
    pairs, last = set(), -1
    for entry in merges:
        try:
            left, right = map(to_bytes, _pair(entry))
            rank = ranks[left + right]
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"merge {entry!r} is not a pair of tokens whose union is a token") from None
        if rank < last:
            raise OtherKind(f"merge {entry!r} makes token {rank} after token {last}: its ids are not in merge order")
        pairs.add((left, right))
        last = rank
    try:
        expected = merges_from_ranks(ranks)
    except ValueError as error:  # a token that no text gives, as some vocabularies keep in reserve
        raise OtherKind(str(error)) from None
    if missing := [pair for pair in expected if pair not in pairs]:
        raise OtherKind(f"{len(missing)} tokens have no merge that makes them, first {missing[0]}")


def _pair(entry: Any) -> list[str]:
    """Both tokens of a merge, which is "a b" or, in newer files, ["a", "b"]; anything else is no pair."""
    parts = entry.split(" ") if isinstance(entry, str) else entry
    return parts if isinstance(parts, list) and len(parts) == 2 and all(isinstance(p, str) for p in parts) else []


def _split_pattern(pre_tokenizer: Any) -> str:
    steps = [pre_tokenizer]
    if _kind(pre_tokenizer) == "Sequence" and isinstance(pre_tokenizer.get("pretokenizers"), list):
        steps = pre_tokenizer["pretokenizers"]
    kinds = [_kind(step) for step in steps]
    if kinds not in (["ByteLevel"], ["Split", "ByteLevel"]):
        raise OtherKind(f"expected the pre-tokenizer ByteLevel, or Split then ByteLevel; found {kinds}")
    byte_level = steps[-1]
    if byte_level.get("add_prefix_space", True):
        raise OtherKind("the ByteLevel pre-tokenizer has add_prefix_space, which changes the text")
    if kinds == ["ByteLevel"] and byte_level.get("use_regex", True):
        return GPT2_PATTERN
    if kinds == ["ByteLevel"] or byte_level.get("use_regex", True):
        raise OtherKind("the pre-tokenizer has no single split pattern (use_regex beside a Split, or neither)")
    split = steps[0]
    pattern = split.get("pattern")
    pattern = pattern.get("Regex") if isinstance(pattern, dict) else None
    if not isinstance(pattern, str) or split.get("behavior") != "Isolated" or split.get("invert"):
        raise OtherKind(f"expected a Split by a Regex with behavior Isolated; found {split}")
    return pattern


def _kind(part: Any) -> str:
    return str(part.get("type")) if isinstance(part, dict) else repr(part)


def _object(value: Any, what: str) -> dict:
    if not isinstance(value, dict):
        raise ValueError(f"{what} must be an object; found {value!r}")
    return value
