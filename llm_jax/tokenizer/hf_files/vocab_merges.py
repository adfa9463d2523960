"""vocab.json and merges.txt: byte-level BPE as GPT-2 was published and as old fine-tunes (DialoGPT) still are.

vocab.json maps each token, in byte characters, to its id; merges.txt has one merge "a b" a line, in order, after a line
`#version: …` that not every program writes. Their content is put into the form of a `tokenizer.json`, of which they are
the `model`; both names may have a prefix, as in `mine-vocab.json`, which `tokenizers` writes for its `save_model`.
"""

from pathlib import Path
from typing import Any

from llm_jax.tokenizer.hf_files.companions import ROBERTA_CLASSES, ROLES, Companions, read_object

VOCABULARY, MERGES = "vocab.json", "merges.txt"
# Of transformers' Qwen2Tokenizer: cl100k's, with single digits.
QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CLASSES = {"", "PreTrainedTokenizer", "GPT2Tokenizer", "CodeGenTokenizer", "Qwen2Tokenizer"} | ROBERTA_CLASSES
OTHER = {VOCABULARY: MERGES, MERGES: VOCABULARY}


def is_one_of_a_pair(path: Path) -> bool:
    return path.name.endswith((VOCABULARY, MERGES))


def pair(path: Path) -> tuple[Path, Path] | None:
    """(vocab.json, merges.txt) that `path` is one of; None unless both are there."""
    ending = next((ending for ending in OTHER if path.name.endswith(ending)), "")
    other = path.with_name(path.name.removesuffix(ending) + OTHER.get(ending, ""))
    both = (path, other) if ending == VOCABULARY else (other, path)
    return both if ending and all(file.is_file() for file in both) else None


def read(path: Path, files: Companions) -> dict:
    """What a `tokenizer.json` of this vocabulary would say. Raises ValueError, also where only one of the two is there.

    The files beside it name the class, by which normalizer, pre-tokenizer and special tokens are those of GPT-2,
    RoBERTa or Qwen2; another class is refused.
    """
    if (both := pair(path)) is None:
        ending = next(ending for ending in OTHER if path.name.endswith(ending))
        other = path.name.removesuffix(ending) + OTHER[ending]
        raise ValueError(
            f"{path}: half of a tokenizer, which needs {other} beside it: put that there, or give a tokenizer.json"
        )
    if files.named_class not in CLASSES:
        raise ValueError(f"tokenizer_class is {files.named_class!r}, whose {MERGES} is not computed here")
    vocab, merges = read_object(both[0]), _merges(both[1])
    adds_space = bool(files.tokenizer_config.get("add_prefix_space"))
    byte_level = {"type": "ByteLevel", "add_prefix_space": adds_space, "trim_offsets": True}
    content = {
        "added_tokens": _special(vocab, merges, files),
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
    }
    begin, end = files.named_token("cls_token"), files.named_token("sep_token")
    if files.named_class in ROBERTA_CLASSES and begin in vocab and end in vocab:
        around = {"sep": [end, vocab[end]], "cls": [begin, vocab[begin]], "trim_offsets": True}
        content["post_processor"] = {"type": "RobertaProcessing", "add_prefix_space": adds_space} | around
    if files.named_class == "Qwen2Tokenizer":
        split = {"type": "Split", "pattern": {"Regex": QWEN2_PATTERN}, "behavior": "Isolated", "invert": False}
        steps = [split, byte_level | {"use_regex": False}]
        content |= {"normalizer": {"type": "NFC"}, "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}
    return content


def _special(vocab: dict[str, Any], merges: list[str], files: Companions) -> list[dict[str, Any]]:
    """The tokens that the class names, unless merges make them out of ordinary text."""
    names = {name for role in ROLES if (name := files.named_token(role))} & vocab.keys()
    made = {merge.replace(" ", "") for merge in merges}
    return [{"id": vocab[name], "content": name, "special": True} for name in sorted(names - made) if len(name) > 1]


def _merges(path: Path) -> list[str]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error}); download it again") from None
    # Not splitlines(): most characters at which it cuts stand for bytes here.
    lines = text.replace("\r\n", "\n").split("\n")
    return [line for line in lines if line and not line.startswith("#version")]
