"""`load`: a tokenizer by name or path.

OpenAI's vocabularies come through tiktoken, which looks in the folder `TIKTOKEN_CACHE_DIR` first and downloads what is
not there; Hugging Face ones are read from their `tokenizer.json` alone. No code from a file is ever run.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from llm_jax.tokenizer import rank_file, tokenizer_json
from llm_jax.tokenizer.bpe import BytePairTokenizer
from llm_jax.tokenizer.characters import CharacterTokenizer, parse_characters
from llm_jax.tokenizer.protocol import Tokenizer
from llm_jax.tokenizer.tokenizer_json import TOKENIZER_JSON

# The same vocabulary has the same name, whichever file it came from. A change of these is a change of meaning.
_NAME_OF_FINGERPRINT = {
    "d46ef5313000dd2993ab9bf6416f9060c0d5e3d9a459cb1c1a3b9c024a1ce20a": "gpt2",
    "c41f92a2122cabfb4cd5a8b2fe38fcc4e4b2ec71436ec602063413e9b7329e46": "cl100k_base",
    "3b729d210ad351e26a9df2484f8367b7d724fc4b0a5fb3396d6c4deaaa9ad12a": "o200k_base",
}
TIKTOKEN_NAMES = tuple(_NAME_OF_FINGERPRINT.values())


def load(
    name_or_path: str | Path,
    pattern: str | None = None,
    special_tokens: Mapping[str, int] | None = None,
) -> Tokenizer:
    """Loads, in this order of looking:

    - 'gpt2', 'cl100k_base' or 'o200k_base', through tiktoken (write './gpt2' for a folder of that name);
    - a folder with a `tokenizer.json`, or that file: byte-level BPE or what `CharacterTokenizer.save` wrote;
    - any other file: tiktoken's rank file, which needs `pattern` and may take `special_tokens`;
    - 'owner/name' on the Hugging Face hub, by its `tokenizer.json`.

    Raises FileNotFoundError if there is no such thing, ValueError if a file is not what it should be.
    """
    path = Path(name_or_path)
    if isinstance(name_or_path, str) and name_or_path in TIKTOKEN_NAMES:
        return _load_tiktoken(name_or_path)
    if path.is_dir():
        if not (path / TOKENIZER_JSON).is_file():
            found = sorted(entry.name for entry in path.iterdir())[:8]
            raise FileNotFoundError(f"{path} has no {TOKENIZER_JSON}; found {found}")
        return _load_file(path / TOKENIZER_JSON)
    if path.is_file():
        return _load_file(path, pattern, special_tokens)
    if _may_be_on_hub(name_or_path):
        return _load_file(_download(str(name_or_path)))
    raise FileNotFoundError(
        f"no tokenizer {str(name_or_path)!r}: neither a file or folder here, nor 'owner/name' on the Hugging Face hub, "
        f"nor one of {', '.join(TIKTOKEN_NAMES)}"
    )


def _may_be_on_hub(name: str | Path) -> bool:
    """'owner/name', unless a folder called owner is here: then it is a path with a slip of the pen."""
    match = re.fullmatch(r"(\w[\w.-]*)/\w[\w.-]*", name) if isinstance(name, str) else None
    return match is not None and not Path(match[1]).is_dir()


def _load_file(path: Path, pattern: str | None = None, special_tokens: Mapping[str, int] | None = None) -> Tokenizer:
    try:
        if path.suffix == ".json":
            tokenizer = _parse_tokenizer_json(tokenizer_json.read(path))
        elif pattern is None:
            raise ValueError("a file of ranks only: say load(path, pattern=…), for GPT-2's pattern GPT2_PATTERN")
        else:
            tokenizer = BytePairTokenizer(rank_file.read(path), pattern, special_tokens)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    tokenizer.name = _NAME_OF_FINGERPRINT.get(tokenizer.fingerprint, tokenizer.name)
    return tokenizer


def _parse_tokenizer_json(content: dict) -> BytePairTokenizer | CharacterTokenizer:
    kind = content["model"].get("type")
    if kind == "WordLevel":
        return CharacterTokenizer(parse_characters(content))
    if kind != "BPE":
        raise ValueError(f"it holds a {kind!r} model; expected 'BPE' (byte-level) or 'WordLevel' (characters)")
    return BytePairTokenizer(*tokenizer_json.parse_bpe(content))


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
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, TOKENIZER_JSON))
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"no tokenizer {repository!r}: it is not a file or folder here, and the Hugging Face hub does not give its "
            f"tokenizer.json ({error})"
        ) from None
