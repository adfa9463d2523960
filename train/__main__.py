"""`python -m train COMMAND`: prepare data, train, compare."""

import sys

from llm_jax import backend
from llm_jax.command_line import Commands, run

COMMANDS: Commands = {
    "quickstart": (
        "train.quickstart",
        "text → tokenizer → trained GPT-2 → Hugging Face directory, in minutes on a CPU",
    ),
    "by-hand": ("train.by_hand", "one example through a two-layer network, every value and derivative as on paper"),
    "digits": (
        "train.digits",
        "handwritten digits: gradients by hand, our autodiff, JAX or PyTorch, step by step the same",
    ),
    "makemore": ("train.makemore.command", "names and the like, from counting to a Transformer, with a look inside"),
    "prepare": ("train.prepare", "text, JSONL, parquet or a Hugging Face dataset → token shards and manifest.json"),
    "curate": ("train.curate", "FineWeb's filters and deduplication, on this machine or SLURM, to shards (datatrove)"),
    "verify": ("train.verify", "check every shard of a prepared folder: header, hash, id range"),
    "pretrain": ("train.pretrain", "train a GPT-2 on prepared shards; stop and resume at any time"),
    "parity": (
        "train.parity.command",
        "our GPT-2 against PyTorch's: activations, gradients, optimizer, loss curve, decoding",
    ),
    "submit": ("train.submit", "hand a command to SLURM: renders its script, shows or submits it, says how to follow"),
    "status": ("train.status", "how a run is doing: SLURM's word on its job, and its metrics"),
    "jupyter": ("train.jupyter", "JupyterLab for you alone, here or on a compute node (slurm/jupyter.sbatch)"),
    "compare": ("train.compare", "two runs, or a run and a published curve, side by side: where they part"),
}

if __name__ == "__main__":
    backend.keep_memory()
    sys.exit(run("python -m train", __doc__ or "", COMMANDS))
