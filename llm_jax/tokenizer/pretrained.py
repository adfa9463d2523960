"""`load`: a tokenizer by name or path.

OpenAI's vocabularies come through tiktoken, which looks in the folder `TIKTOKEN_CACHE_DIR` first and downloads what is
not there. Hugging Face ones are read from their `tokenizer.json`, from the older pair vocab.json and merges.txt, or
from SentencePiece's `tokenizer.model`; the small files beside them say which tokens begin and end a text. Byte-level
BPE and characters are ours, and the `tokenizers` library computes everything else. No code from a file is ever run.
"""

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from llm_jax.tokenizer import borders
from llm_jax.tokenizer.bpe import rank_file
from llm_jax.tokenizer.bpe.encode import BytePairTokenizer
from llm_jax.tokenizer.characters import CharacterTokenizer, parse_characters
from llm_jax.tokenizer.hf_files import (
    bert_class,
    carried,
    chat_templates,
    class_settings,
    companions,
    post_processor,
    soundness,
    tokenizer_json,
    vocab_merges,
)
from llm_jax.tokenizer.hf_files.companions import Companions
from llm_jax.tokenizer.hf_files.tokenizer_json import TOKENIZER_JSON, OtherKind
from llm_jax.tokenizer.hugging_face.definition import define
from llm_jax.tokenizer.hugging_face.tokenizer import HuggingFaceTokenizer
from llm_jax.tokenizer.protocol import Tokenizer
from llm_jax.tokenizer.sentencepiece import model_file
from llm_jax.tokenizer.sentencepiece import tokenizer as sentencepiece
from llm_jax.tokenizer.wordpiece import vocab_file

# Fingerprint → the name that a vocabulary gets when it is read from a file. If one changes, ids have changed.
_NAME_OF_FINGERPRINT = {
    "d46ef5313000dd2993ab9bf6416f9060c0d5e3d9a459cb1c1a3b9c024a1ce20a": "gpt2",
    "a6b276f283bf24bd3807d77d23f02aba68a1cdd7c370a121246cd200e52f291b": "p50k_base",
    "89b3b208fe7489482b531b27bac66340ecd7d06cb516c738a9f6bd859c879e1c": "p50k_edit",
    "c41f92a2122cabfb4cd5a8b2fe38fcc4e4b2ec71436ec602063413e9b7329e46": "cl100k_base",
    "3b729d210ad351e26a9df2484f8367b7d724fc4b0a5fb3396d6c4deaaa9ad12a": "o200k_base",
}
# tiktoken's vocabularies. r50k_base is gpt2 in another file: the same ranks, pattern and special token.
TIKTOKEN_NAMES = (*_NAME_OF_FINGERPRINT.values(), "r50k_base")

FromFile = BytePairTokenizer | CharacterTokenizer | HuggingFaceTokenizer


def load(
    name_or_path: str | Path,
    pattern: str | None = None,
    special_tokens: Mapping[str, int] | None = None,
) -> Tokenizer:
    """Loads, in this order of looking:

    - a name in `TIKTOKEN_NAMES`, such as 'gpt2', through tiktoken (write './gpt2' for a folder of that name);
    - a folder with a `tokenizer.json`, or that file;
    - a folder with `vocab.json` and `merges.txt`, or one of the two: byte-level BPE as it was saved before 2020;
    - a folder with a `tokenizer.model`, or that file: SentencePiece's BPE or Unigram;
    - a folder with a `vocab.txt`, or that file: BERT's WordPiece;
    - any other file: tiktoken's rank file, which needs `pattern` and may take `special_tokens`;
    - 'owner/name' on the Hugging Face hub, by the same files.

    Raises FileNotFoundError if there is no such thing, ValueError if a file is not what it should be.
    """
    path = Path(name_or_path)
    if isinstance(name_or_path, str) and name_or_path in TIKTOKEN_NAMES:
        return _load_tiktoken(name_or_path)
    if path.is_dir():
        if (vocabulary := _vocabulary(path)) is None:
            found = sorted(entry.name for entry in path.iterdir())[:8]
            raise FileNotFoundError(f"{path} has no {TOKENIZER_JSON}; found {found}")
        return _load_file(vocabulary)
    if path.is_file():
        return _load_file(path, pattern, special_tokens)
    if _may_be_on_hub(name_or_path):
        return _load_file(_download(str(name_or_path)))
    raise FileNotFoundError(
        f"no tokenizer {str(name_or_path)!r}: neither a file or folder here, nor 'owner/name' on the Hugging Face hub, "
        f"nor one of {', '.join(TIKTOKEN_NAMES)}"
    )


def is_there(folder: Path) -> bool:
    """Whether a folder holds a tokenizer that `load` reads."""
    return _vocabulary(folder) is not None


def _vocabulary(folder: Path) -> Path | None:
    """The file to read of a folder: the first of tokenizer.json, vocab.json with merges.txt, SentencePiece's
    and BERT's."""
    if (folder / TOKENIZER_JSON).is_file():
        return folder / TOKENIZER_JSON
    if vocab_merges.pair(folder / vocab_merges.MERGES) is not None:
        return folder / vocab_merges.MERGES
    return next(
        (folder / name for name in (*carried.SENTENCEPIECE, carried.VOCAB_TXT) if (folder / name).is_file()), None
    )


def _may_be_on_hub(name: str | Path) -> bool:
    """'owner/name', unless a folder called owner is here: then it is a misspelled path."""
    match = re.fullmatch(r"(\w[\w.-]*)/\w[\w.-]*", name) if isinstance(name, str) else None
    return match is not None and not Path(match[1]).is_dir()


def _load_file(path: Path, pattern: str | None = None, special_tokens: Mapping[str, int] | None = None) -> Tokenizer:
    try:
        soundness.refuse_size(path)
        if pattern is not None:
            tokenizer = BytePairTokenizer(rank_file.read(path), pattern, special_tokens)
        elif path.name == carried.VOCAB_TXT:
            tokenizer = _parse_wordpiece(path, _beside(path))
        elif vocab_merges.is_one_of_a_pair(path):
            files = Companions.read(path.parent)
            tokenizer = _parse(vocab_merges.read(path, files), files, path)
        elif path.suffix == ".json":
            files = _beside(path)
            tokenizer = _parse(class_settings.rebuilt(tokenizer_json.read(path), files), files, path)
        elif path.suffix == ".model" and not _is_rank_file(path):
            tokenizer = _parse_sentencepiece(path, _beside(path))
        else:
            raise ValueError(_what_it_is(path))
    except RecursionError:
        raise ValueError(f"{path}: nested too deep: get the file again") from None
    except ValueError as error:
        named = (path.name, vocab_merges.VOCABULARY, vocab_merges.MERGES, *companions.NAMES, chat_templates.JINJA)
        is_placed = any(str(error).startswith(f"{path.with_name(name)}: ") for name in named)
        raise ValueError(str(error) if is_placed else f"{path}: {error}") from None
    tokenizer.name = _NAME_OF_FINGERPRINT.get(tokenizer.fingerprint, tokenizer.name)
    return tokenizer


def _beside(path: Path) -> Companions:
    """The files beside a vocabulary. A file of another name may lie among files of other programs."""
    return Companions.read(path.parent) if path.name in carried.VOCABULARIES else Companions()


def _parse(content: dict, files: Companions, path: Path) -> FromFile:
    """One of ours if it is byte-level BPE or characters, else the library's."""
    soundness.check(content["model"])
    try:
        tokenizer = _ours(content, files)
    except OtherKind:
        tokenizer = _of_library(content, files, path)
    foreign = isinstance(tokenizer, HuggingFaceTokenizer)
    prefix = tokenizer.definition.prefix if foreign else post_processor.prefix_of(content)
    if (not prefix and vocab_merges.is_one_of_a_pair(path)) or post_processor.config_decides(content, files):
        prefix = None
    tokenizer.borders = borders.read(files, tokenizer.token_to_id, tokenizer.vocab_size, prefix)
    tokenizer.chat = chat_templates.read(files)
    return tokenizer


def _ours(content: dict, files: Companions) -> BytePairTokenizer | CharacterTokenizer:
    """Raises OtherKind for a sound file of another tokenizer, ValueError for one that is not sound."""
    if content["model"]["type"] == "WordLevel":
        alphabet, special_tokens = parse_characters(content, files)
        return CharacterTokenizer(alphabet, special_tokens=special_tokens)
    ranks, pattern, special_tokens = tokenizer_json.parse_bpe(content, files)
    try:
        return BytePairTokenizer(ranks, pattern, special_tokens)
    except ValueError as error:  # bytes without a token, ids with gaps
        raise OtherKind(str(error)) from None


def _of_library(content: dict, files: Companions, path: Path) -> HuggingFaceTokenizer:
    """The library's tokenizer, with the files to be copied; of a file of another name only that."""
    carry = carried.read(path.parent) if files.folder else {TOKENIZER_JSON: path.read_bytes()}
    if (saved := sentencepiece.of_saved(content, files, carry)) is not None:
        return saved
    return HuggingFaceTokenizer(define(content, files), carry)


def _parse_sentencepiece(path: Path, files: Companions) -> FromFile:
    """The borders that the model was trained with, where no file names a beginning or an end."""
    model = model_file.parse(path.read_bytes())
    tokenizer = sentencepiece.of_model(model, files, carried.read(path.parent) if files.folder else {})
    found = borders.read(files, tokenizer.token_to_id, tokenizer.vocab_size)
    if not files.tokenizer_config and found.begin is None and found.end is None:
        stops = () if model.end is None else (model.end,)
        found = borders.Borders(model.begin, model.end, stops, model.pad)
    tokenizer.borders, tokenizer.chat = found, chat_templates.read(files)
    return tokenizer


def _parse_wordpiece(path: Path, files: Companions) -> HuggingFaceTokenizer:
    """BERT's vocabulary, with the settings of tokenizer_config.json."""
    files = bert_class.as_bert(files)
    tokenizer = HuggingFaceTokenizer(define(vocab_file.content(path, files), files), carried.read(path.parent))
    found = borders.read(files, tokenizer.token_to_id, tokenizer.vocab_size)
    tokenizer.borders, tokenizer.chat = found, chat_templates.read(files)
    return tokenizer


def _is_rank_file(path: Path) -> bool:
    """Whether a .model is OpenAI's form, lines of base64 and rank, as Llama 3 was first published."""
    with path.open("rb") as file:
        return re.match(rb"[A-Za-z0-9+/]+=* \d+\r?\n", file.read(256)) is not None


def _what_it_is(path: Path) -> str:
    """Why a file that is no JSON is not read without a pattern, and what to give instead."""
    with path.open("rb") as file:
        beginning = file.read(64)
    if b"\0" in beginning:
        return "not a tokenizer that is read here: give a tokenizer.json, or the folder that holds one"
    return (
        "a file of ranks only: it holds neither the split pattern nor the special tokens. Give a tokenizer.json, or "
        "the folder that holds one"
    )


def _load_tiktoken(name: str) -> BytePairTokenizer:
    from tiktoken_ext.openai_public import ENCODING_CONSTRUCTORS

    try:
        encoding = ENCODING_CONSTRUCTORS[name]()
    except OSError as error:
        folder = os.environ.get("TIKTOKEN_CACHE_DIR")
        where = f"not in TIKTOKEN_CACHE_DIR={folder}" if folder else "TIKTOKEN_CACHE_DIR is not set"
        raise FileNotFoundError(
            f"the vocabulary of {name!r} is not on this machine ({where}) and cannot be downloaded ({error}); "
            f"set TIKTOKEN_CACHE_DIR to a folder filled on a machine with network access by "
            f"`python -c \"import tiktoken; tiktoken.get_encoding('{name}')\"` with the same variable set"
        ) from None
    return BytePairTokenizer(encoding["mergeable_ranks"], encoding["pat_str"], encoding["special_tokens"], name)


def _download(repository: str) -> Path:
    """The vocabulary's file in the hub's cache, with the small files beside it where the repository has them."""
    from huggingface_hub import hf_hub_download

    reasons: list[Exception] = []
    for names in ((TOKENIZER_JSON,), (vocab_merges.VOCABULARY, vocab_merges.MERGES), (carried.SENTENCEPIECE[0],)):
        try:
            found = [Path(hf_hub_download(repository, name)) for name in names][-1]
            break
        except (OSError, ValueError) as error:
            reasons.append(error)
    else:
        raise FileNotFoundError(
            f"no tokenizer {repository!r}: it is not a file or folder here, and the Hugging Face hub does not give "
            f"its tokenizer.json ({reasons[0]})"
        )
    for name in (*companions.NAMES, chat_templates.JINJA):
        with contextlib.suppress(OSError, ValueError):
            hf_hub_download(repository, name)
    return found
