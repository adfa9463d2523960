"""vocab.json and merges.txt: byte-level BPE as GPT-2 was published and as old fine-tunes (DialoGPT) still are.

vocab.json maps each token, in byte characters, to its id; merges.txt has one merge "a b" a line, in order, after a line
`#version: …` that not every program writes. Their content is put into the form of a `tokenizer.json`, of which they are
the `model`; both names may have a prefix, as in `mine-vocab.json`, which `tokenizers` writes for its `save_model`.
"""

from pathlib import Path

from llm_jax.tokenizer.hf_files.companions import TOKENIZER_CONFIG, read_object

VOCABULARY, MERGES = "vocab.json", "merges.txt"
# Of transformers' Qwen2Tokenizer: cl100k's, with single digits.
QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
OTHER = {VOCABULARY: MERGES, MERGES: VOCABULARY}


def is_one_of_a_pair(path: Path) -> bool:
    return path.name.endswith((VOCABULARY, MERGES))


def pair(path: Path) -> tuple[Path, Path] | None:
    """(vocab.json, merges.txt) that `path` is one of; None unless both are there."""
    ending = next((ending for ending in OTHER if path.name.endswith(ending)), "")
    other = path.with_name(path.name.removesuffix(ending) + OTHER.get(ending, ""))
    both = (path, other) if ending == VOCABULARY else (other, path)
    return both if ending and all(file.is_file() for file in both) else None


def read(path: Path) -> dict:
    """What a `tokenizer.json` of this vocabulary would say. Raises ValueError, also where only one of the two is there.

    The normalizer and the pre-tokenizer are those of the class that tokenizer_config.json names: GPT-2's, or Qwen2's.
    """
    if (both := pair(path)) is None:
        ending = next(ending for ending in OTHER if path.name.endswith(ending))
        other = path.name.removesuffix(ending) + OTHER[ending]
        raise ValueError(
            f"{path}: half of a tokenizer, which needs {other} beside it: put that there, or give a tokenizer.json"
        )
    vocabulary, merges = both
    config = path.with_name(TOKENIZER_CONFIG)
    settings = read_object(config) if config.is_file() else {}
    byte_level = {"type": "ByteLevel", "add_prefix_space": bool(settings.get("add_prefix_space")), "trim_offsets": True}
    content = {
        "added_tokens": None,
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": read_object(vocabulary), "merges": _merges(merges)},
    }
    if str(settings.get("tokenizer_class")).removesuffix("Fast") == "Qwen2Tokenizer":
        split = {"type": "Split", "pattern": {"Regex": QWEN2_PATTERN}, "behavior": "Isolated", "invert": False}
        steps = [split, byte_level | {"use_regex": False}]
        content |= {"normalizer": {"type": "NFC"}, "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}
    return content


def _merges(path: Path) -> list[str]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error}); download it again") from None
    # Not splitlines(): most characters at which it cuts stand for bytes here.
    lines = text.replace("\r\n", "\n").split("\n")
    return [line for line in lines if line and not line.startswith("#version")]
