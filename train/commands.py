"""The commands of `python -m train`: name → (module, one line of help). No command is imported here."""

from llm_jax.command_line import Commands

COMMANDS: Commands = {
    "quickstart": (
        "train.quickstart.command",
        "text → tokenizer → trained GPT-2 → Hugging Face directory, in minutes on a CPU",
    ),
    "by-hand": (
        "train.first_principles.paper.command",
        "one example through a two-layer network, every value and derivative as on paper",
    ),
    "digits": (
        "train.first_principles.digits.command",
        "handwritten digits: gradients by hand, our autodiff, JAX or PyTorch, step by step the same",
    ),
    "makemore": (
        "train.first_principles.makemore.command",
        "names and the like, from counting to a Transformer, with a look inside",
    ),
    "tokenizer": (
        "train.tokenizer.command",
        "learn a tokenizer from text: byte-pair encoding, unigram or WordPiece",
    ),
    "fertility": (
        "train.fertility.command",
        "what the same text costs in each language under several tokenizers, as tables, pictures and a page",
    ),
    "embeddings": (
        "train.embeddings.command",
        "vectors of words from a text or a model: neighbours, analogies, pictures (skip-gram, PPMI)",
    ),
    "sentences": (
        "train.embeddings.sentences.command",
        "a small sentence encoder from pairs of sentences, for `serve search`",
    ),
    "vision": (
        "train.vision.command",
        "a small language model learns to see, three ways, on composed digits or easy-vqa",
    ),
    "prepare": (
        "train.prepare.command",
        "text, JSONL, parquet or a Hugging Face dataset → token shards and manifest.json",
    ),
    "curate": (
        "train.prepare.curation.command",
        "FineWeb's filters and deduplication, on this machine or SLURM, to shards (datatrove)",
    ),
    "critique": (
        "train.critique.command",
        "what curation removes: each rule alone, in order, by language; duplicates; contamination; as one page",
    ),
    "verify": ("train.data.command", "check every shard of a prepared folder: header, hash, id range"),
    "pretrain": ("train.pretrain.command", "train a GPT-2 on prepared shards; stop and resume at any time"),
    "finetune": (
        "train.finetune.command",
        "teach a model by examples: instructions, preferences (DPO) or classes, with LoRA or whole; stop and resume",
    ),
    "architectures": (
        "train.architectures.command",
        "encoder, encoder–decoder and decoder side by side: copy, pronounce, fill gaps; why decoder-only?",
    ),
    "gpu": ("train.gpu.command", "which GPUs train a preset, how long and for how much, and why others do not"),
    "parity": (
        "train.parity.command",
        "our GPT-2, Llama or Qwen against PyTorch's: activations, gradients, optimizer, loss curve, decoding",
    ),
    "submit": (
        "train.submit.command",
        "hand a command to SLURM: renders its script, shows or submits it, says how to follow",
    ),
    "status": ("train.submit.status.command", "how a run is doing: SLURM's word on its job, and its metrics"),
    "jupyter": (
        "train.submit.jupyter.command",
        "JupyterLab for you alone, here or on a compute node (slurm/jupyter.sbatch)",
    ),
    "compare": (
        "train.record.compare.command",
        "two runs, or a run and a published curve, side by side: where they part",
    ),
}
