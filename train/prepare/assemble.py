"""Parts → shards and manifest.

The parts, end to end, are one long stream of tokens, and every shard is a stretch of it, so that shards can be
written in any order and on all cores. A shard that an interrupted run has left is compared with its stretch, byte by
byte, and kept if nothing has changed it since.

Validation comes first: the first tenth (`val_fraction`) of the documents, but no more than one shard, which for a large
corpus is llm.c's and build-nanogpt's rule that the first shard is validation. Where the source has set validation text
apart, that is taken instead.
"""

import errno
import io
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from llm_jax.files import replacing, write
from llm_jax.tokenizer.derived import byte_lengths
from llm_jax.tokenizer.protocol import Tokenizer
from train.data import manifest as manifests
from train.data.integrity import examine
from train.data.manifest import Manifest, Shard, Split
from train.data.shards import FORMATS, TokenDtype, dtype_for, write_header
from train.prepare.findings import SKIPPED, Findings
from train.prepare.plan import UnitPlan
from train.prepare.vocabulary import count_validation


class EmptyCorpus(ValueError):
    """There is not enough text to train on."""


@dataclass(frozen=True)
class Stretch:
    """The tokens [start, stop) of the stream, which become one shard."""

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

    `separated`: whether each document is preceded by the tokenizer's border; if not, a split is one document. Raises
    EmptyCorpus if there is no text, or none for training, and ValueError for a damaged part.
    """
    lengths = [_read(plan, number, "lengths") for number in range(len(plan.units))]
    part_starts = np.cumsum([0, *(int(part.sum()) for part in lengths)])
    n_before = len(tokenizer.borders.between) if separated else 0
    found = findings(plan, range(len(plan.units)))
    _refuse_bad_rows(found.bad, skip_bad_rows)
    if not any((part > n_before).any() for part in lengths):
        n_documents = sum(map(len, lengths)) + found.blank
        raise EmptyCorpus(f"{plan.folder}: no text in the {n_documents:,} documents of the source; check --source")
    border = _border(plan, lengths, shard_tokens, val_fraction)
    asked = any(piece.split == "val" for unit in plan.units for piece in unit) or val_fraction > 0
    _refuse_blank_splits(plan, part_starts, border, tokenizer, asked)
    stretches = list(_stretches(border, int(part_starts[-1]), shard_tokens))
    bytes_of_id, dtype = byte_lengths(tokenizer), dtype_for(tokenizer.vocab_size)

    def finish(stretch: Stretch) -> tuple[Shard, int]:
        path = plan.folder / stretch.name
        n_tokens = stretch.stop - stretch.start
        if not _is_written(path, n_tokens, dtype, _tokens(plan, part_starts, stretch)):
            with replacing(path, plan.scratch) as file:
                write_header(file, n_tokens, dtype)
                for tokens in _tokens(plan, part_starts, stretch):
                    _refuse_other_ids(plan, tokens, tokenizer.vocab_size)
                    file.write(tokens.data)
        facts = examine(path)  # what the disk gives back, not what was meant
        n_bytes = sum(int(bytes_of_id[tokens].sum()) for tokens in _tokens(plan, part_starts, stretch))
        return Shard(stretch.name, stretch.split, facts.tokens, facts.sha256), n_bytes

    with ThreadPoolExecutor(threads) as pool:
        shards, sizes = zip(*pool.map(finish, stretches), strict=True)
    for path in (path for path in plan.tokenizer_folder.rglob("*") if path.is_file()):
        copy = plan.folder / path.relative_to(plan.tokenizer_folder)
        copy.parent.mkdir(exist_ok=True)
        write(copy, path.read_bytes())
    document_starts = np.cumsum(np.concatenate(lengths), dtype=np.int64) - np.concatenate(lengths)
    n_val = int(np.searchsorted(document_starts, border))
    # What a running text was cut into, for the sake of the work, are no documents.
    documents = {"val": n_val, "train": len(document_starts) - n_val} if separated else {"val": 1, "train": 1}
    manifest = Manifest(
        folder=plan.folder,
        tokenizer=manifests.Tokenizer(tokenizer.name, tokenizer.fingerprint, tokenizer.vocab_size),
        source=plan.recipe,
        splits={
            split: _split(split, documents[split], shards, sizes) for split in dict.fromkeys(s.split for s in shards)
        },
        shards=shards,
        left_out=found.left_out(),
        dtype=dtype,
    )
    if found.bad:
        write(plan.folder / SKIPPED, "".join(f"{row}\n" for row in found.bad))
    manifest.save()
    return manifest


def _refuse_bad_rows(rows: list[str], most: int) -> None:
    if len(rows) > most:
        raise ValueError(
            f"{rows[-1]}: this is bad row {len(rows)}, and --skip-bad-rows allows {most}. Mend the rows, or allow more"
        )


def _border(plan: UnitPlan, lengths: list[np.ndarray], shard_tokens: int, val_fraction: float) -> int:
    """How many tokens, from the first, are for validation."""
    documents = np.concatenate([np.empty(0, np.uint32), *lengths])
    total = int(documents.sum(dtype=np.int64))
    if any(piece.split for unit in plan.units for piece in unit):
        n_units = sum(unit[0].split == "val" for unit in plan.units)
        border = sum(int(part.sum()) for part in lengths[:n_units])
    else:
        n_documents = count_validation(len(documents), val_fraction)
        border = min(int(documents[:n_documents].sum(dtype=np.int64)), shard_tokens)
    if border >= total:
        raise EmptyCorpus(
            f"{plan.folder}: nothing is left for training: {border:,} of {total:,} tokens, in {len(documents):,} "
            f"documents, are for validation. Give more text, or a --val-fraction below {val_fraction} (0 for none)"
        )
    return border


def _refuse_blank_splits(
    plan: UnitPlan, part_starts: np.ndarray, border: int, tokenizer: Tokenizer, asked: bool
) -> None:
    """Raises EmptyCorpus for a split that holds white space alone; `asked`: whether there is to be validation."""
    total = int(part_starts[-1])
    if asked and not _holds_text(plan, part_starts, Stretch("", "val", 0, border), tokenizer):
        raise EmptyCorpus(
            f"{plan.folder}: the {border:,} tokens for validation hold no text (white space alone), so a loss on them "
            "would mean nothing. Take the white space out of the input, or give another --val-fraction (0 for none)"
        )
    if not _holds_text(plan, part_starts, Stretch("", "train", border, total), tokenizer):
        raise EmptyCorpus(
            f"{plan.folder}: the {total - border:,} tokens for training hold no text (white space alone). Give more "
            "text, or a smaller --val-fraction"
        )


def _holds_text(plan: UnitPlan, part_starts: np.ndarray, stretch: Stretch, tokenizer: Tokenizer) -> bool:
    specials = list(tokenizer.special_tokens.values())
    for tokens in _tokens(plan, part_starts, stretch):
        for start in range(0, len(tokens), 4096):
            ids = tokens[start : start + 4096]
            if tokenizer.decode(ids[~np.isin(ids, specials)].tolist()).strip():
                return True
    return False


def findings(plan: UnitPlan, numbers: Iterable[int]) -> Findings:
    """What was found in the text of these units; a part of an older version says nothing of it."""
    total = Findings()
    for number in numbers:
        total.add(Findings.from_json(str(_read(plan, number, "findings", np.array(Findings().to_json())))))
    return total


def _stretches(border: int, total: int, shard_tokens: int) -> Iterator[Stretch]:
    number = 0
    for split, start, stop in (("val", 0, border), ("train", border, total)):
        for first in range(start, stop, shard_tokens):
            yield Stretch(f"{split}_{number:06}.bin", split, first, min(first + shard_tokens, stop))
            number += 1


def _tokens(plan: UnitPlan, part_starts: np.ndarray, stretch: Stretch) -> Iterator[np.ndarray]:
    """The tokens of a stretch, part by part."""
    first = int(np.searchsorted(part_starts, stretch.start, side="right")) - 1
    for number in range(first, len(plan.units)):
        start = int(part_starts[number])
        if start >= stretch.stop:
            return
        yield _read(plan, number, "tokens")[max(stretch.start - start, 0) : stretch.stop - start]


def _refuse_other_ids(plan: UnitPlan, tokens: np.ndarray, vocab_size: int) -> None:
    """Raises ValueError for ids that a shard of this vocabulary would not hold as they are."""
    wanted = FORMATS[dtype_for(vocab_size)].token
    largest = int(tokens.max(initial=0))
    if tokens.dtype != wanted or largest >= vocab_size:
        raise ValueError(
            f"{plan.scratch}: parts with ids of {tokens.dtype} up to {largest:,}; expected {wanted}, below the "
            f"vocabulary's {vocab_size:,}. They were changed: remove that folder, and run the same command again"
        )


def _is_written(path: Path, n_tokens: int, dtype: TokenDtype, pieces: Iterable[np.ndarray]) -> bool:
    """Whether the shard is there, with these tokens and nothing else."""
    if not path.exists():
        return False
    header = io.BytesIO()
    write_header(header, n_tokens, dtype)
    with path.open("rb") as file:
        if file.read(len(header.getvalue())) != header.getvalue():
            return False
        return all(file.read(tokens.nbytes) == tokens.tobytes() for tokens in pieces) and not file.read(1)


def _read(plan: UnitPlan, number: int, array: str, missing: np.ndarray | None = None) -> np.ndarray:
    """One array of a part, or `missing` where it may be. A damaged part would be in the way of every later run: it is
    removed and named."""
    path = plan.part(number)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as part:
            return part[array] if missing is None or array in part else missing
    except (BadZipFile, ValueError, KeyError, EOFError, RuntimeError, OSError) as error:
        # A damaged index may point to before the file; another thread may have removed the part already.
        if isinstance(error, OSError) and error.errno not in (errno.EINVAL, errno.ENOENT):
            raise
        path.unlink(missing_ok=True)
        raise ValueError(
            f"{path}: damaged part, removed ({error}); run the same command again, which makes it anew"
        ) from error


def _split(name: str, documents: int, shards: tuple[Shard, ...], sizes: tuple[int, ...]) -> Split:
    mine = [(shard.tokens, size) for shard, size in zip(shards, sizes, strict=True) if shard.split == name]
    return Split(sum(tokens for tokens, _ in mine), documents, sum(size for _, size in mine))
