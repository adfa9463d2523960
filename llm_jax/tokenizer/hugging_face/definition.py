"""What decides the ids of a tokenizer that the `tokenizers` library computes, in the form of a `tokenizer.json`.

The library decides which added tokens are special by flags in the file, so another set of allowed special tokens is
another definition. Padding, truncation and the post-processor are left out: no text gets more or fewer ids than its
own. What the post-processor would put before a text is `prefix`, which `decode.prompts` puts before prompts.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_jax.tokenizer.hf_files.companions import FLAGS, Companions
from llm_jax.tokenizer.hf_files.tokenizer_json import byte_characters, ids_of, read_added_tokens
from llm_jax.tokenizer.hugging_face.pieces import kinds_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Core

PARTS = ("normalizer", "pre_tokenizer", "decoder", "model")
LOOK_AHEAD = {"BPEDecoder", "CTC"}  # decoders of tokens whose text depends on the token behind
HIDDEN = secrets.token_hex(16)  # begins names that no text spells


@dataclass(frozen=True)
class Definition:
    """Added tokens, and the rest of the file as JSON text: Python objects would take ten times the memory."""

    added: tuple[Mapping[str, Any], ...]
    rest: str
    kind: str  # BPE, Unigram, WordPiece or WordLevel
    decoder: Mapping[str, Any] | None
    post_processor: Mapping[str, Any] | None  # kept for the file alone
    prefix: tuple[int, ...]  # ids that its post-processor puts before every text
    fingerprint: str

    @property
    def special_tokens(self) -> dict[str, int]:
        return {token["content"]: token["id"] for token in self.added if token["special"]}

    def core(self, allowed: AbstractSet[str] = frozenset()) -> "Core":
        """The library's tokenizer, which recognises only the `allowed` special tokens in a text.

        Raises ValueError with the library's reason.
        """
        hidden = {token["content"] for token in self.added if token["special"]} - allowed
        added = [{**token, "special": token["content"] in hidden} for token in self.added]
        rest = self.rest
        if hidden:
            parts = self._rest()
            if renamed := _hide(parts, hidden):
                added, rest = [token for token in added if token["content"] not in renamed], json.dumps(parts)[1:-1]
        core = _loaded(f'{{"version": "1.0", "added_tokens": {json.dumps(added)}, {rest}}}')
        core.encode_special_tokens = True  # a special token in a text is ordinary text
        return core

    def content(self) -> dict[str, Any]:
        """The content of a `tokenizer.json` of it."""
        added, post_processor = list(self.added), self.post_processor
        return {"version": "1.0", "added_tokens": added, "post_processor": post_processor, **self._rest()}

    def merges(self) -> list[list[str]]:
        """Pairs of tokens, as they are spelled."""
        merges = self._rest()["model"].get("merges") or []
        return [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]

    def grown(self, added: Mapping[str, int]) -> "Definition":
        """With further special tokens."""
        more = [{"id": number, "content": token, "special": True} for token, number in added.items()]
        content = self.content() | {"added_tokens": [*self.added, *more]}
        return define(content, Companions())

    def _rest(self) -> dict[str, Any]:
        return json.loads(f"{{{self.rest}}}")


def define(content: dict, files: Companions) -> Definition:
    """The definition in the content of a `tokenizer.json` and the files beside it. Raises ValueError."""
    _refuse_random_ids(content["model"])
    if looks_ahead := kinds_of(content.get("decoder")) & LOOK_AHEAD:
        raise ValueError(
            f"its decoder is {looks_ahead.pop()!r}, which writes a token by the next one; not computed here"
        )
    added = _added_tokens(content, files)
    content = {**content, "added_tokens": added, "truncation": None, "padding": None}
    core = _loaded(json.dumps(content))
    _refuse_other_ids(core, added)
    canonical = json.loads(core.to_str())
    prefix, plain = core.encode("a").ids, core.encode("a", add_special_tokens=False).ids
    n_before = next((n for n in range(len(prefix)) if prefix[n : n + len(plain)] == plain), 0)
    rest = json.dumps({name: content.get(name) for name in PARTS})[1:-1]
    return Definition(
        tuple(added),
        rest,
        canonical["model"]["type"],
        content.get("decoder"),
        content.get("post_processor"),
        tuple(prefix[:n_before]),
        _fingerprint(canonical),
    )


def _refuse_random_ids(model: dict) -> None:
    if model.get("dropout"):
        raise ValueError(f"model.dropout is {model['dropout']!r}, which draws the ids at random: set it to null")


def _added_tokens(content: dict, files: Companions) -> list[dict[str, Any]]:
    """With the tokens of the vocabulary that a file beside it names as special, as transformers adds them.

    The library numbers added tokens on from the vocabulary's length, whatever their file says. Where that would change
    an id, they are put into the vocabulary, in which each has its own.
    """
    vocab = content["model"]["vocab"]
    ids = ids_of(vocab)
    added = read_added_tokens(content, files)
    known = {token["content"] for token in added}
    flags = {token["content"]: token for token in files.named_tokens()}
    named = sorted(files.special_names(bool(files.named_class)) & ids.keys() - known, key=lambda token: ids[token])
    added += [{"id": ids[token], "content": token, "special": True} | flags.get(token, {}) for token in named]
    for token in added:
        if ids.get(token["content"], token["id"]) != token["id"]:
            raise ValueError(
                f"added token {token['content']!r} has the id {token['id']}, and {ids[token['content']]} in the "
                "vocabulary: get the file again"
            )
    new = {token["content"]: token["id"] for token in added if token["content"] not in ids}
    if isinstance(vocab, dict) and list(new.values()) != list(range(len(ids), len(ids) + len(new))):
        vocab.update(new)
    return [{"id": token["id"], "content": token["content"]} | _flags(token) for token in added]


def _flags(token: Mapping[str, Any]) -> dict[str, bool]:
    """In older files an added token may lack flags; one that is not special is then matched in normalized text."""
    flags = {flag: bool(token.get(flag, flag == "normalized" and not token["special"])) for flag in FLAGS}
    return flags | {"special": token["special"]}


def _hide(parts: dict[str, Any], tokens: AbstractSet[str]) -> AbstractSet[str]:
    """Renames tokens in the vocabulary, so that no text spells them; their ids stay. Returns those that it renames.

    Every kind finds in a text what is in its vocabulary: BPE single characters, what merges make, and with
    `ignore_merges` all. Merges that make or need a hidden token go. The characters of byte-level BPE stay: without
    them there are bytes that cannot be written.
    """
    model, vocab = parts["model"], parts["model"]["vocab"]
    names = vocab.keys() if isinstance(vocab, dict) else {name for name, _ in vocab}
    stay = set(byte_characters()) if "ByteLevel" in kinds_of(parts["decoder"]) else set()
    new = {name: f"{HIDDEN} {name}" for name in (tokens & names) - stay}
    if not new:
        return new.keys()
    if isinstance(vocab, dict):
        model["vocab"] = {new.get(name, name): number for name, number in vocab.items()}
    else:
        model["vocab"] = [[new.get(name, name), score] for name, score in vocab]
    if (unknown := model.get("unk_token")) in new:  # looked up by its name
        model["unk_token"] = new[unknown]
    if merges := model.get("merges"):
        behind = len(model.get("continuing_subword_prefix") or "")  # of the second token it is left out
        pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in merges)
        model["merges"] = [
            [left, right] for left, right in pairs if new.keys().isdisjoint((left, right, left + right[behind:]))
        ]
    return new.keys()


def _refuse_other_ids(core: "Core", added: list[dict[str, Any]]) -> None:
    for token in added:
        if (number := core.token_to_id(token["content"])) != token["id"]:
            raise ValueError(
                f"added token {token['content']!r} has the id {token['id']}; the tokenizers library gives it {number}"
            )


def _loaded(text: str) -> "Core":
    from tokenizers import Tokenizer as Core

    try:
        return Core.from_str(text)
    except BaseException as error:  # a panic of Rust is no Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"the tokenizers library cannot read it ({error}): get the file again") from None


def _fingerprint(canonical: dict) -> str:
    """SHA-256 over the parts that decide ids. Fields without effect are left out: versions of the library differ."""
    model = dict(canonical["model"])
    if "merges" in model:
        model["merges"] = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    added = sorted(canonical["added_tokens"], key=lambda token: token["id"])
    parts = {"normalizer": canonical["normalizer"], "pre_tokenizer": canonical["pre_tokenizer"], "added": added}
    text = json.dumps(_without_empty(parts) | {"model": _without_empty(model)}, sort_keys=True)
    return hashlib.sha256(f"tokenizers 1\n{text}".encode()).hexdigest()


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_empty(part) for name, part in value.items() if part is not None and part is not False}
    return [_without_empty(part) for part in value] if isinstance(value, list) else value
