"""A `Tokenizer` from a `tokenizer.model` whose ids a `tokenizer.json` cannot give in every text.

The file's form has no normalizer that leaves the user's symbols alone, and its character map loses marks in decomposed
text. So the text is normalised here (`normalizer.py`), and the `tokenizers` library only cuts it into pieces. Saved, it
is the model, and a tokenizer.json for other programs, whose ids differ in such texts.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from llm_jax.tokenizer import special
from llm_jax.tokenizer.borders import Borders
from llm_jax.tokenizer.hf_files.carried import SENTENCEPIECE as NAMES
from llm_jax.tokenizer.hf_files.companions import Companions
from llm_jax.tokenizer.hf_files.tokenizer_json import TOKENIZER_JSON
from llm_jax.tokenizer.hugging_face.definition import PARTS, Definition, define
from llm_jax.tokenizer.hugging_face.tokenizer import HuggingFaceTokenizer
from llm_jax.tokenizer.protocol import NONE_ALLOWED, NONE_DISALLOWED, AllowedSpecial, DisallowedSpecial, Span
from llm_jax.tokenizer.sentencepiece import as_tokenizer_json, model_file, nfkc_table
from llm_jax.tokenizer.sentencepiece.model_file import CONTROL, USER_DEFINED, Piece, SentencePieceModel
from llm_jax.tokenizer.sentencepiece.normalizer import ALWAYS, FIRST, NEVER, SENTENCEPIECE, Normalizer


class Encoded(NamedTuple):
    ids: list[int]
    offsets: list[Span]


class SentencePieceTokenizer(HuggingFaceTokenizer):
    """`scheme`: where a space is put before a text, one of those in `normalizer`."""

    def __init__(
        self,
        definition: Definition,
        model: SentencePieceModel,
        scheme: str = SENTENCEPIECE,
        files: Mapping[str, bytes] | None = None,
        name: str | None = None,
        borders: Borders | None = None,
    ):
        super().__init__(definition, files, name, borders)
        self._model, self._scheme = model, scheme
        self._normalizer = Normalizer(model, scheme)
        self._finders: dict[frozenset[str], tuple[re.Pattern[str], list[int]]] = {}
        self._cutter = define(as_tokenizer_json.segmentation(model), Companions()).core()
        self.fingerprint = hashlib.sha256(f"sentencepiece 1\n{definition.fingerprint}".encode()).hexdigest()

    def __reduce__(self) -> tuple[Any, ...]:
        made = (self.definition, self._model, self._scheme, self.files, self.name, self.borders)
        return SentencePieceTokenizer, made, {"chat": self.chat}

    def __copy__(self) -> "SentencePieceTokenizer":
        copied = object.__new__(SentencePieceTokenizer)
        copied.__dict__.update(self.__dict__)
        return copied

    def with_special_tokens(self, added: Sequence[str]) -> "SentencePieceTokenizer":
        """The added tokens are control pieces at the end of the model."""
        if self.vocab_size != len(self._model.pieces):
            raise ValueError(
                f"{self.name!r} has {self.vocab_size - len(self._model.pieces)} tokens beside its SentencePiece model, "
                "and no more can be added: put them into the model first"
            )
        special.grown(self.special_tokens, added, self.vocab_size)  # refuses
        if clash := [token for token in added if self.token_to_id(token) is not None]:
            raise ValueError(f"{clash[0]!r} is an ordinary token of {self.name!r} already: give another spelling")
        model = replace(self._model, pieces=(*self._model.pieces, *(Piece(token, 0.0, CONTROL) for token in added)))
        content = as_tokenizer_json.content(model, self._scheme)
        content["added_tokens"] = [*self.definition.added, *content["added_tokens"][-len(added) :]] if added else []
        content["post_processor"] = self.definition.post_processor
        files = {name: raw for name, raw in self.files.items() if name not in (TOKENIZER_JSON, *NAMES)}
        files[next((name for name in NAMES if name in self.files), NAMES[0])] = model.to_bytes()
        made = SentencePieceTokenizer(define(content, Companions()), model, self._scheme, files, borders=self.borders)
        made.chat = self.chat
        return made

    def encode_with_offsets(
        self,
        text: str,
        allowed_special: AllowedSpecial = NONE_ALLOWED,
        disallowed_special: DisallowedSpecial = NONE_DISALLOWED,
    ) -> tuple[list[int], list[Span]]:
        names = self._checked(text, allowed_special, disallowed_special)
        ids, offsets = list[int](), list[Span]()
        for start, part, number in self._parts(text, names):
            if number is not None:
                ids.append(number)
                offsets.append((start, start + len(part)))
                continue
            normalised, starts, stops = self._normalizer.apply_with_places(part, start == 0)
            found = self._cutter.encode(normalised, add_special_tokens=False)
            ids += found.ids
            offsets += [(start + starts[a], start + stops[b - 1]) for a, b in found.offsets]
        return ids, offsets

    def _encodings(self, texts: list[str], names: frozenset[str]) -> list[Any]:
        parts = [list(self._parts(text, names)) for text in texts]
        ordinary = [
            self._normalizer.apply(part, start == 0)
            for whole in parts
            for start, part, number in whole
            if number is None
        ]
        cut = iter(self._cutter.encode_batch_fast(ordinary, add_special_tokens=False))
        return [
            Encoded([n for _, _, number in whole for n in (next(cut).ids if number is None else [number])], [])
            for whole in parts
        ]

    def _parts(self, text: str, names: frozenset[str]) -> list[tuple[int, str, int | None]]:
        """(place, stretch, id of an added token or None for ordinary text), in order."""
        pattern, numbers = self._finder(names)
        found, done = list[tuple[int, str, int | None]](), 0
        for match in pattern.finditer(text):
            if done < match.start():
                found.append((done, text[done : match.start()], None))
            found.append((match.start(), match[0], numbers[(match.lastindex or 1) - 1]))
            done = match.end()
        return [*found, (done, text[done:], None)] if done < len(text) else found

    def _finder(self, names: frozenset[str]) -> tuple[re.Pattern[str], list[int]]:
        """Finds the added tokens that a text may spell, the longest first; and the id of each group."""
        if names not in self._finders:
            added = [token for token in self.definition.added if not token["special"] or token["content"] in names]
            added.sort(key=lambda token: -len(token["content"]))
            pattern = re.compile("|".join(map(_pattern, added)) or "(?!)")
            self._finders[names] = pattern, [token["id"] for token in added]
        return self._finders[names]


def _pattern(token: Mapping[str, Any]) -> str:
    """One group; with the white space around it, or only as a word of its own, where its flags say so."""
    word = r"(?<!\w){}(?!\w)" if token["single_word"] else "{}"
    before, behind = (r"\s*" if token[flag] else "" for flag in ("lstrip", "rstrip"))
    return f"{before}({word.format(re.escape(token['content']))}){behind}"


def is_needed(model: SentencePieceModel) -> bool:
    """Whether the model has a character map other than NFKC's, or symbols that a user defined."""
    has_map = bool(model.character_map) and not nfkc_table.is_in(model)
    return has_map or any(piece.kind == USER_DEFINED for piece in model.pieces)


def of_model(model: SentencePieceModel, files: Companions, carried: Mapping[str, bytes]) -> HuggingFaceTokenizer:
    """The tokenizer of a `tokenizer.model`, `files` beside it. Raises ValueError."""
    scheme = scheme_of(files)
    definition = define(as_tokenizer_json.content(model, scheme), files)
    if is_needed(model):
        return SentencePieceTokenizer(definition, model, scheme, carried)
    return HuggingFaceTokenizer(definition, carried)


def of_saved(
    content: Mapping[str, Any], files: Companions, carried: Mapping[str, bytes]
) -> HuggingFaceTokenizer | None:
    """The tokenizer of a folder that `save` wrote: its tokenizer.json says what is made here of the model beside it.

    None for another folder: there the tokenizer.json counts.
    """
    raw = next((carried[name] for name in NAMES if name in carried), None)
    if raw is None:
        return None
    try:
        model, scheme = model_file.parse(raw), scheme_of(files)
    except ValueError:  # it is not read where there is a tokenizer.json
        return None
    if not is_needed(model) or content.get("normalizer") != as_tokenizer_json.normalizer(model, scheme):
        return None  # found out before the merges are, which takes seconds
    ours = as_tokenizer_json.content(model, scheme)
    if any(ours[name] != content.get(name) for name in PARTS):
        return None
    return SentencePieceTokenizer(define(dict(content), files), model, scheme, carried)


def scheme_of(files: Companions) -> str:
    """Where a space is put before a text: as transformers 5 does in the class that tokenizer_config.json names.

    Its Llama tokenizer takes `legacy` for false where the file does not say it; other classes do as SentencePiece,
    unless it is false.
    """
    said = files.tokenizer_config
    if files.tokenizer_class == "LlamaTokenizer":
        if said.get("add_prefix_space") is False:
            return NEVER
        return ALWAYS if said.get("legacy") else FIRST
    return FIRST if said.get("legacy") is False else SENTENCEPIECE
