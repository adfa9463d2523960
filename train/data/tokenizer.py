"""The tokenizer that lies beside prepared shards: is it the one that made them?"""

from pathlib import Path

from llm_jax.tokenizer.hf_files.tokenizer_json import TOKENIZER_JSON
from llm_jax.tokenizer.pretrained import load
from llm_jax.tokenizer.protocol import Tokenizer
from train.data import manifest as manifests
from train.data.manifest import Manifest


def verify_tokenizer(folder: Path) -> str:
    """What is wrong with the tokenizer beside a manifest; empty if nothing is, or if one of the two is absent."""
    try:
        if (folder / manifests.FILE_NAME).exists():
            tokenizer_beside(manifests.read(folder))
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def tokenizer_beside(manifest: Manifest) -> Tokenizer | None:
    """The tokenizer that lies beside the shards, None if there is none. Raises ValueError, also for another one."""
    path = manifest.folder / TOKENIZER_JSON
    if not path.exists():
        return None
    tokenizer = load(path)
    refuse_other_tokenizer(manifest, tokenizer)
    return tokenizer


def refuse_other_tokenizer(manifest: Manifest, tokenizer: Tokenizer) -> None:
    """Raises ValueError unless the data was made with this tokenizer: with another one, bits per byte, samples and an
    export would be of another text."""
    data, again = manifest.tokenizer, f"Copy back the {TOKENIZER_JSON} it was prepared with, or prepare the text again."
    # Of shards of others nothing but the name is known.
    known, found = (
        (data.name, tokenizer.name) if data.fingerprint is None else (data.fingerprint, tokenizer.fingerprint)
    )
    if known != found:
        raise ValueError(
            f"{manifest.folder}: prepared with tokenizer {data.name!r} (sha256 {data.fingerprint}); found "
            f"{tokenizer.name!r} (sha256 {tokenizer.fingerprint}). {again}"
        )
    if data.vocab_size != tokenizer.vocab_size:
        raise ValueError(
            f"{manifest.folder / manifests.FILE_NAME}: vocab_size {data.vocab_size:,}; expected "
            f"{tokenizer.vocab_size:,}, as tokenizer {tokenizer.name!r} has. The manifest was edited. {again}"
        )
