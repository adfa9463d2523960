"""A manifest for shards that came without one: llm.c's, modded-nanogpt's, build-nanogpt's, nanoGPT's.

Files with "val" in their name are validation. Where nobody names the vocabulary, ids of two bytes are taken as GPT-2's
and llm.c's ids of four bytes as Llama 3's.
"""

from pathlib import Path

from train.data.manifest import FILE_NAME, SPLITS, Manifest, Shard, Split, Tokenizer
from train.data.shards import FORMATS, BareIds, ShardError, TokenDtype, dtype_of, open_tokens

GPT2_VOCABULARY, LLAMA3_VOCABULARY = 50257, 128256


def derived(folder: Path, hashes: dict[str, str], vocab_size: int | None, bare: BareIds = "none") -> Manifest:
    """A manifest for shards that came without one; `hashes` maps every shard's name to its sha256.

    nanoGPT's meta.pkl says that the ids are not GPT-2's. It is not read: unpickling runs what is in the file.
    Raises ShardError where the shards have ids of different types.
    """
    dtype = common_dtype(folder, list(hashes), bare)
    vocab_size = vocab_size or assumed_vocabulary(dtype, bare)
    shards = tuple(
        Shard(name, split_of(name), len(open_tokens(folder / name, bare)), sha256) for name, sha256 in hashes.items()
    )
    sizes = {split: sum(shard.tokens for shard in shards if shard.split == split) for split in SPLITS}
    is_gpt2 = dtype == "uint16"
    if bare != "none":
        is_gpt2 = vocab_size == GPT2_VOCABULARY and not (folder / "meta.pkl").exists()
    return Manifest(
        folder=folder,
        tokenizer=Tokenizer("gpt2" if is_gpt2 else "unknown", None, vocab_size),
        source={"kind": "shards without a manifest"},
        splits={split: Split(tokens, None, None) for split, tokens in sizes.items() if tokens},
        shards=shards,
        dtype=dtype,
        bare=bare,
    )


def common_dtype(folder: Path, names: list[str], bare: BareIds = "none") -> TokenDtype:
    """The type of the ids in all of these shards. Raises ShardError where one differs from the first."""
    expected = dtype_of(open_tokens(folder / names[0], bare))
    for name in names[1:]:
        if (dtype := dtype_of(open_tokens(folder / name, bare))) != expected:
            cure = "Shards of one folder come from one tokenizer: move the others to a folder of their own."
            raise ShardError(folder / name, f"ids of {dtype}", f"{expected}, as {names[0]} has", cure)
    return expected


def assumed_vocabulary(dtype: TokenDtype, bare: BareIds = "none") -> int:
    """The vocabulary of shards that came without a manifest, where nobody names another: llm.c's own two."""
    return LLAMA3_VOCABULARY if dtype == "uint32" and bare == "none" else GPT2_VOCABULARY


def split_of(name: str) -> str:
    """The split of a shard by its name alone: fineweb_val_000000.bin is validation."""
    return "val" if "val" in name else "train"


def refuse_bare(folder: Path, bare: BareIds, vocab_size: int | None) -> None:
    """Raises ValueError for a type of bare ids that these cannot have."""
    if bare != "none" and (folder / FILE_NAME).exists():
        raise ValueError(f"{folder}: has a {FILE_NAME}, so its shards have headers: leave out --token-dtype")
    if bare != "none" and (vocab_size or 0) > (most := FORMATS[bare].largest_vocabulary):
        cure = "Say --token-dtype uint32." if bare == "uint16" else "Give a smaller --vocab-size."
        raise ValueError(
            f"{folder}: --token-dtype {bare} holds {most:,} ids; the vocabulary has {vocab_size:,}. {cure}"
        )
