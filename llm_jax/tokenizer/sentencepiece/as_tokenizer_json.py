"""A SentencePiece model in the form of a `tokenizer.json`.

It gives the ids that SentencePiece gives, unless the model has symbols of a user or a compiled character map: these the
form cannot say in full, and `tokenizer.py` computes the ids.

The normalizer does in order what SentencePiece does: character map, spaces removed, a space put before the text, spaces
written as ▁. BPE (Sennrich et al. 2016) merges the pair whose union has the best score. Unigram takes the most likely
segmentation (Kudo 2018, arXiv 1804.10959). Pieces that no text may spell, such as `<s>`, get a score that no
segmentation takes.
"""

import base64
import re
from dataclasses import replace
from typing import Any

from llm_jax.tokenizer.sentencepiece import nfkc_table
from llm_jax.tokenizer.sentencepiece.model_file import (
    BYTE,
    CONTROL,
    NORMAL,
    UNIGRAM,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    Piece,
    SentencePieceModel,
)
from llm_jax.tokenizer.sentencepiece.normalization import SPACE
from llm_jax.tokenizer.sentencepiece.normalizer import ALWAYS, FIRST, SENTENCEPIECE
from llm_jax.tokenizer.sentencepiece.normalizer import NEVER as NO_PREFIX

NEVER = -1e6  # a score
LEAST = 2.0**-126  # the least normal float32


def content(model: SentencePieceModel, scheme: str = SENTENCEPIECE) -> dict[str, Any]:
    """The content of a `tokenizer.json`. `scheme`: where a space is put before a text, as `normalizer` names it."""
    user_defined = _user_defined(model)
    strips = scheme != NO_PREFIX if model.dummy_prefix else model.removes_spaces  # a space before a decoded text
    scheme = scheme if model.dummy_prefix else NO_PREFIX
    special = [(n, piece.text) for n, piece in enumerate(model.pieces) if piece.kind in (UNKNOWN, CONTROL)]
    return {
        "version": "1.0",
        "added_tokens": [{"id": n, "content": text, "normalized": False, "special": True} for n, text in special],
        "normalizer": normalizer(model, scheme),
        "pre_tokenizer": _pre_tokenizer(model, user_defined, scheme),
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": _decoders(model, strips)},
        "model": _unigram(model) if model.algorithm == UNIGRAM else _bpe(model, bool(user_defined)),
    }


def segmentation(model: SentencePieceModel) -> dict[str, Any]:
    """The content of a `tokenizer.json` that cuts normalised text: as `content`, without a normalizer.

    BPE freezes the user's symbols, the longest first, which is what the library does with added tokens. In unigram they
    are pieces with a score that beats others.
    """
    is_unigram = model.algorithm == UNIGRAM
    pieces = list(enumerate(model.pieces))
    special = [(n, piece.text, True) for n, piece in pieces if piece.kind in (UNKNOWN, CONTROL)]
    symbols = [(n, piece.text, False) for n, piece in pieces if piece.kind == USER_DEFINED and not is_unigram]
    return content(model) | {
        "added_tokens": [
            {"id": n, "content": text, "normalized": False, "special": is_special}
            for n, text, is_special in (*special, *symbols)
        ],
        "normalizer": None,
        "pre_tokenizer": _pre_tokenizer(model, [], NO_PREFIX),
        "model": _unigram(_with_bonus(model)) if is_unigram else _bpe(model, False),
    }


def _user_defined(model: SentencePieceModel) -> list[str]:
    return [piece.text for piece in model.pieces if piece.kind == USER_DEFINED]


def _with_bonus(model: SentencePieceModel) -> SentencePieceModel:
    """SentencePiece's score of a user's symbol: bytes · (the best score, no less than the least float) - 0.1."""
    best = max([LEAST, *(piece.score for piece in model.pieces if piece.kind == NORMAL)])
    pieces = (
        piece._replace(score=len(piece.text.encode()) * best - 0.1) if piece.kind == USER_DEFINED else piece
        for piece in model.pieces
    )
    return replace(model, pieces=tuple(pieces))


def normalizer(model: SentencePieceModel, scheme: str) -> dict[str, Any]:
    steps: list[dict[str, Any]] = []
    if nfkc_table.is_in(model):
        steps.append({"type": "NFKC"})
    elif model.character_map:
        steps.append({"type": "Precompiled", "precompiled_charsmap": base64.b64encode(model.character_map).decode()})
    if model.removes_spaces:  # of white space only spaces
        steps += [_replace({"Regex": r"\A +| +\z"}, ""), _replace({"Regex": " {2,}"}, " ")]
    space = SPACE if model.escapes_spaces else " "
    if model.escapes_spaces:
        steps.append(_replace({"String": " "}, SPACE))
    if model.escapes_spaces and model.removes_spaces:  # at the end of a text also those that are ▁ in it
        steps.append(_replace({"Regex": rf"{SPACE}+\z"}, ""))
    if scheme == SENTENCEPIECE and model.dummy_prefix:
        steps.append({"type": "Prepend", "prepend": space})
    return {"type": "Sequence", "normalizers": steps}


def _replace(pattern: dict[str, str], text: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": text}


def _pre_tokenizer(model: SentencePieceModel, user_defined: list[str], scheme: str) -> dict[str, Any] | None:
    """Pieces that the user defined are found in every text, the longest first, and never merged.

    A text that spells a byte, such as `<0x41>`, is cut in it, if the vocabulary cannot write it otherwise.
    """
    steps: list[dict[str, Any]] = []
    if scheme in (FIRST, ALWAYS):
        steps.append({"type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": False})
    if user_defined:
        steps.append(_isolated("|".join(re.escape(text) for text in sorted(user_defined, key=len, reverse=True))))
    letters = {piece.text for piece in model.pieces if piece.kind == NORMAL}
    if model.algorithm == UNIGRAM and model.byte_fallback and not letters.issuperset("<0x123456789ABCDEF>"):
        steps.append(_isolated("<(?=0x[0-9A-F]{2}>)"))
    return {"type": "Sequence", "pretokenizers": steps} if steps else None


def _isolated(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _decoders(model: SentencePieceModel, strips: bool) -> list[dict[str, Any]]:
    fallback = [{"type": "ByteFallback"}] if model.byte_fallback else []
    strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if strips else []
    return [_replace({"String": SPACE}, " "), *fallback, {"type": "Fuse"}, *strip]


def _unigram(model: SentencePieceModel) -> dict[str, Any]:
    def score(piece: Piece) -> float:
        return NEVER if piece.kind in (UNKNOWN, CONTROL, BYTE, UNUSED) else piece.score

    vocab = [[piece.text, score(piece)] for piece in model.pieces]
    return {"type": "Unigram", "unk_id": model.unknown, "vocab": vocab, "byte_fallback": model.byte_fallback}


def _bpe(model: SentencePieceModel, has_user_defined: bool) -> dict[str, Any]:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": model.pieces[model.unknown].text,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": model.byte_fallback,
        "ignore_merges": has_user_defined,  # no merges make those
        "vocab": {piece.text: number for number, piece in enumerate(model.pieces)},
        "merges": _merges(model.pieces),
    }


def _merges(pieces: tuple[Piece, ...]) -> list[list[str]]:
    """Every pair of pieces whose union is a piece, the best score first."""
    normal = {piece.text: (piece.score, number) for number, piece in enumerate(pieces) if piece.kind == NORMAL}
    found = [
        (-score, number, text[:cut], text[cut:])
        for text, (score, number) in normal.items()
        for cut in range(1, len(text))
        if text[:cut] in normal and text[cut:] in normal
    ]
    return [[left, right] for _, _, left, right in sorted(found)]
