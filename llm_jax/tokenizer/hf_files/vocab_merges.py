"""vocab.json and merges.txt: byte-level BPE as GPT-2 was published and as old fine-tunes (DialoGPT) still are.

vocab.json maps each token, in byte characters, to its id; merges.txt has one merge "a b" a line, in order, after a line
`#version: …` that not every program writes. Their content is put into the form of a `tokenizer.json`, of which they are
the `model`; both names may have a prefix, as in `mine-vocab.json`, which `tokenizers` writes for its `save_model`.
"""

from pathlib import Path

from llm_jax.tokenizer.hf_files.companions import TOKENIZER_CONFIG, read_object

VOCABULARY, MERGES = "vocab.json", "merges.txt"
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
    """What a `tokenizer.json` of this vocabulary would say. Raises ValueError, also where only one of the two is there,
    or where the tokenizer changes the text.
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
    for name in ("add_prefix_space", "add_bos_token", "add_eos_token"):
        if settings.get(name):
            raise ValueError(
                f"{config}: {name} is {settings[name]!r}, which changes every text; this is not computed here"
            )
    return {
        "added_tokens": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
        "model": {"type": "BPE", "vocab": read_object(vocabulary), "merges": _merges(merges)},
    }


def _merges(path: Path) -> list[str]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error}); download it again") from None
    # Of the characters that splitlines() cuts at, only these two are no byte characters' business.
    lines = text.replace("\r\n", "\n").split("\n")
    return [line for line in lines if line and not line.startswith("#version")]
