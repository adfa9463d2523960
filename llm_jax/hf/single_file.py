"""Refuses a file given in place of a model's folder: says what it is, by its first bytes, and how to convert it."""

import struct
from pathlib import Path

LLMC_MODEL = 20240326
LLMC_MODEL_VERSIONS = {3: "float32", 5: "bfloat16"}
LLMC_OTHERS = {
    20240520: "a shard of tokens (llm.c's data)",
    20240801: "a shard of tokens (llm.c's data)",
    20240327: "debugging state of llm.c (gpt2_..._debug_state.bin)",
    20240328: "llm.c's tokenizer",
    20240527: "llm.c's training state (state_….bin), which holds the optimizer and not the model",
}
WANTED = "expected a Hugging Face directory, the folder of a run, or owner/name on the hub"


def refuse(path: Path) -> None:
    """Raises ValueError, with what the file is and how to convert it, if `path` is a file.

    A folder without a config.json that holds a checkpoint of llm.c counts as that checkpoint.
    """
    if path.is_dir() and not (path / "config.json").exists():
        path = next(filter(_is_llmc_model, sorted(path.glob("*.bin"))), path)
    if path.is_file():
        raise ValueError(f"{path}: {describe(path)}; {WANTED}")


def describe(path: Path) -> str:
    """What a file is, with the cure where there is one."""
    with path.open("rb") as file:
        head = file.read(32)
    words = struct.unpack("<8i", head) if len(head) == 32 else (0,) * 8
    if words[0] == LLMC_MODEL:
        return _llmc(path, words)
    if words[0] in LLMC_OTHERS:
        return f"{LLMC_OTHERS[words[0]]}, no model"
    if head[:4] == b"GGUF":
        return "a model in llama.cpp's format (GGUF), which is not read here: take the directory that it was made from"
    if head[:4] == b"PK\3\4" or head[:2] == b"\x80\2":
        return "weights in pickle format, which can run code when they are opened: convert them to model.safetensors"
    if head[8:9] == b"{" and path.suffix == ".safetensors":
        return f"a file of weights; its config and tokenizer lie beside it: give the folder, {path.parent}"
    return "a file that holds no model"


def _llmc(path: Path, words: tuple[int, ...]) -> str:
    _, version, context, vocabulary, layers, heads, width, _ = words
    if version not in LLMC_MODEL_VERSIONS:
        return f"a checkpoint of llm.c of version {version}, which is older than its export script (versions 3 and 5)"
    dtype = LLMC_MODEL_VERSIONS[version]
    return (
        f"a checkpoint of llm.c (GPT-2 of {layers} layers, {heads} heads, width {width}, context {context}, "
        f"{vocabulary} ids, {dtype}). Convert it with llm.c's own script: "
        f"`python dev/eval/export_hf.py --input {path} --output DIR --dtype {dtype}`, then give DIR"
    )


def _is_llmc_model(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == struct.pack("<i", LLMC_MODEL)
