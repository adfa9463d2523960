"""Parts → shards and manifest.

All parts, concatenated, are one stream of tokens. Every shard is a range of that stream, so shards can be written in
any order and by several threads. A shard that an interrupted run has written is compared with its range byte by byte,
and kept if it is equal.

Validation comes first: the first tenth (`val_fraction`) of the documents, but at most one shard. For a large corpus
this is the rule of llm.c and build-nanogpt, whose first shard is validation. A source that marks its own validation
text (`Slice.split`) overrides the rule.
"""

import io
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llm_jax.files import replacing, write
from llm_jax.tokenizer.derived import byte_lengths
from llm_jax.tokenizer.protocol import Tokenizer
from train.data import manifest as manifests
from train.data.integrity import examine
from train.data.manifest import Manifest, Shard, Split
from train.data.shards import FORMATS, TokenDtype, dtype_for, write_header
from train.prepare.findings import SKIPPED
from train.prepare.parts import documents_before, findings, measure, read, tokens_of_first
from train.prepare.plan import UnitPlan
from train.prepare.vocabulary import count_validation


class EmptyCorpus(ValueError):
    """The source has no text, or none is left for a split."""


@dataclass(frozen=True)
class ShardRange:
    """One shard: the tokens [start, stop) of the stream."""

    name: str
    split: str
    start: int
    stop: int


def assemble(
    plan: UnitPlan,
    tokenizer: Tokenizer,
    separated: bool,
    shard_tokens: int,
    val_fraction: float,
    threads: int,
    skip_bad_rows: int = 0,
) -> Manifest:
    """Writes the shards that are missing, the tokenizer and, last, manifest.json. All parts must exist.

    Args:
        separated: whether the tokenizer's border precedes each document; if not, a split is one document.

    Raises:
        EmptyCorpus: there is no text, or none for a split.
        ValueError: a part is damaged, or there are more than `skip_bad_rows` bad rows.
    """
    n_before = len(tokenizer.borders.between) if separated else 0
    parts = [measure(plan, number, n_before) for number in range(len(plan.units))]
    part_starts = np.cumsum([0, *(part.tokens for part in parts)])
    n_documents = sum(part.documents for part in parts)
    total = findings(plan, range(len(plan.units)))
    _refuse_bad_rows(total.bad, skip_bad_rows)
    if not any(part.holds_text for part in parts):
        found = n_documents + total.blank
        raise EmptyCorpus(f"{plan.folder}: no text in the {found:,} documents of the source; check --source")
    border = _border(plan, part_starts, n_documents, shard_tokens, val_fraction)
    has_validation = any(piece.split == "val" for unit in plan.units for piece in unit) or val_fraction > 0
    _refuse_blank_splits(plan, part_starts, border, tokenizer, has_validation)
    shard_ranges = list(_shard_ranges(border, int(part_starts[-1]), shard_tokens))
    bytes_of_id, dtype = byte_lengths(tokenizer), dtype_for(tokenizer.vocab_size)

    def finish(shard_range: ShardRange) -> tuple[Shard, int]:
        path = plan.folder / shard_range.name
        n_tokens = shard_range.stop - shard_range.start
        if not _is_written(path, n_tokens, dtype, _tokens(plan, part_starts, shard_range)):
            with replacing(path, plan.scratch) as file:
                write_header(file, n_tokens, dtype)
                for tokens in _tokens(plan, part_starts, shard_range):
                    _refuse_other_ids(plan, tokens, tokenizer.vocab_size)
                    file.write(tokens.data)
        facts = examine(path)  # reads the file back, to record what is on the disk
        n_bytes = sum(int(bytes_of_id[tokens].sum()) for tokens in _tokens(plan, part_starts, shard_range))
        return Shard(shard_range.name, shard_range.split, facts.tokens, facts.sha256), n_bytes

    with ThreadPoolExecutor(threads) as pool:
        shards, sizes = zip(*pool.map(finish, shard_ranges), strict=True)
    for path in (path for path in plan.tokenizer_folder.rglob("*") if path.is_file()):
        copy = plan.folder / path.relative_to(plan.tokenizer_folder)
        copy.parent.mkdir(exist_ok=True)
        write(copy, path.read_bytes())
    n_val = documents_before(plan, part_starts, border)
    # The pieces of a running text are units of work, not documents.
    documents = {"val": n_val, "train": n_documents - n_val} if separated else {"val": 1, "train": 1}
    manifest = Manifest(
        folder=plan.folder,
        tokenizer=manifests.Tokenizer(tokenizer.name, tokenizer.fingerprint, tokenizer.vocab_size),
        source=plan.recipe,
        splits={
            split: _split(split, documents[split], shards, sizes) for split in dict.fromkeys(s.split for s in shards)
        },
        shards=shards,
        left_out=total.left_out(),
        dtype=dtype,
    )
    if total.bad:
        write(plan.folder / SKIPPED, "".join(f"{row}\n" for row in total.bad))
    manifest.save()
    return manifest


def _refuse_bad_rows(rows: list[str], most: int) -> None:
    if len(rows) > most:
        raise ValueError(
            f"{rows[-1]}: this is bad row {len(rows)}, and --skip-bad-rows allows {most}. Fix the rows, or allow more"
        )


def _border(plan: UnitPlan, part_starts: np.ndarray, n_documents: int, shard_tokens: int, val_fraction: float) -> int:
    """How many tokens at the beginning of the stream are for validation."""
    total = int(part_starts[-1])
    if any(piece.split for unit in plan.units for piece in unit):
        border = int(part_starts[sum(unit[0].split == "val" for unit in plan.units)])
    else:
        border = tokens_of_first(plan, count_validation(n_documents, val_fraction), shard_tokens)
    if border >= total:
        raise EmptyCorpus(
            f"{plan.folder}: nothing is left for training: {border:,} of {total:,} tokens, in {n_documents:,} "
            f"documents, are for validation. Give more text, or a --val-fraction below {val_fraction} (0 for none)"
        )
    return border


def _refuse_blank_splits(
    plan: UnitPlan, part_starts: np.ndarray, border: int, tokenizer: Tokenizer, has_validation: bool
) -> None:
    """Raises EmptyCorpus for a split that holds only white space."""
    total = int(part_starts[-1])
    if has_validation and not _holds_text(plan, part_starts, ShardRange("", "val", 0, border), tokenizer):
        raise EmptyCorpus(
            f"{plan.folder}: the {border:,} tokens for validation hold no text (white space alone), so a loss on them "
            "would mean nothing. Take the white space out of the input, or give another --val-fraction (0 for none)"
        )
    if not _holds_text(plan, part_starts, ShardRange("", "train", border, total), tokenizer):
        raise EmptyCorpus(
            f"{plan.folder}: the {total - border:,} tokens for training hold no text (white space alone). Give more "
            "text, or a smaller --val-fraction"
        )


def _holds_text(plan: UnitPlan, part_starts: np.ndarray, shard_range: ShardRange, tokenizer: Tokenizer) -> bool:
    specials = list(tokenizer.special_tokens.values())
    for tokens in _tokens(plan, part_starts, shard_range):
        for start in range(0, len(tokens), 4096):
            ids = tokens[start : start + 4096]
            if tokenizer.decode(ids[~np.isin(ids, specials)].tolist()).strip():
                return True
    return False


def _shard_ranges(border: int, total: int, shard_tokens: int) -> Iterator[ShardRange]:
    number = 0
    for split, start, stop in (("val", 0, border), ("train", border, total)):
        for first in range(start, stop, shard_tokens):
            yield ShardRange(f"{split}_{number:06}.bin", split, first, min(first + shard_tokens, stop))
            number += 1


def _tokens(plan: UnitPlan, part_starts: np.ndarray, shard_range: ShardRange) -> Iterator[np.ndarray]:
    """The tokens of a shard, part by part."""
    first = int(np.searchsorted(part_starts, shard_range.start, side="right")) - 1
    for number in range(first, len(plan.units)):
        start = int(part_starts[number])
        if start >= shard_range.stop:
            return
        yield read(plan, number, "tokens")[max(shard_range.start - start, 0) : shard_range.stop - start]


def _refuse_other_ids(plan: UnitPlan, tokens: np.ndarray, vocab_size: int) -> None:
    """Raises ValueError for ids that have another type than the shards, or lie outside the vocabulary."""
    expected = FORMATS[dtype_for(vocab_size)].token
    largest = int(tokens.max(initial=0))
    if tokens.dtype != expected or largest >= vocab_size:
        raise ValueError(
            f"{plan.scratch}: its parts hold ids of {tokens.dtype} up to {largest:,}; expected {expected}, below the "
            f"vocabulary's {vocab_size:,}. They were changed: remove that folder, and run the same command again"
        )


def _is_written(path: Path, n_tokens: int, dtype: TokenDtype, pieces: Iterable[np.ndarray]) -> bool:
    """Whether the shard exists with exactly these tokens."""
    if not path.exists():
        return False
    header = io.BytesIO()
    write_header(header, n_tokens, dtype)
    with path.open("rb") as file:
        if file.read(len(header.getvalue())) != header.getvalue():
            return False
        return all(file.read(tokens.nbytes) == tokens.tobytes() for tokens in pieces) and not file.read(1)


def _split(name: str, documents: int, shards: tuple[Shard, ...], sizes: tuple[int, ...]) -> Split:
    mine = [(shard.tokens, size) for shard, size in zip(shards, sizes, strict=True) if shard.split == name]
    return Split(sum(tokens for tokens, _ in mine), documents, sum(size for _, size in mine))
