"""Runs a whole comparison: options → report."""

import platform
import sys
from typing import Any

import jax
import torch
import transformers
from rich.console import Console

from llm_jax.config import Execution, model_preset
from train.parity.comparison import Comparison
from train.parity.config import ParityConfig
from train.parity.report.values import Promise, Report, promises
from train.parity.sequence_comparison import SequenceComparison
from train.parity.stages import masked_model, models_compared, translation_model
from train.parity.stages import stream as streams
from train.parity.stages.decode import PROMPT
from train.parity.stages.models_compared import ModelsCompared
from train.parity.stages.sequences import SequenceSide
from train.parity.stages.stream import Stream
from train.parity.verdict import Row, fingerprint

LOSS_CHUNKS = 2  # slices of the sequence in which the loss is computed, as in pretraining


def run(options: ParityConfig) -> Report:
    """Loads or draws the weights, runs every section and returns the report.

    Raises:
        ValueError: the model, the data or `--length` do not fit together.
        RuntimeError: `--device gpu`, and JAX or PyTorch sees no GPU.
    """
    device = _device(options)
    execution = Execution(dtype=options.dtype, loss_chunks=LOSS_CHUNKS)
    models = _models(options, execution)
    torch.nn.Module.to(models.theirs, device)  # transformers' own `to` hides its types
    kind = SequenceComparison if isinstance(models.ours, SequenceSide) else Comparison
    comparison = kind(
        models,
        _stream(options, models),
        steps=options.steps,
        learning_rate=options.learning_rate,
        new_tokens=options.new_tokens,
        seed=options.seed,
    )
    rows: list[Row] = []
    with Console(stderr=True).status("") as status:
        for label, section in comparison.sections():
            status.update(label)
            rows += section()
    setup = _setup(options, models) | {"our numbers": fingerprint("".join(row.fingerprint for row in rows).encode())}
    made: list[Promise] = []
    if options.device == "cpu":
        made = promises(rows, models.ours.n_parameters, models.ours.n_layers, options.dtype, options.learning_rate)
    return Report(setup, rows, comparison.curve, made)


def _models(options: ParityConfig, execution: Execution) -> ModelsCompared:
    if options.hf:
        return models_compared.loaded(options.hf, execution)
    if options.preset == "bert-nano":
        return masked_model.drawn(masked_model.BERT_NANO, execution, options.seed)
    if options.preset == "marian-nano":
        return translation_model.drawn(translation_model.MARIAN_NANO, execution, options.seed)
    return models_compared.drawn(model_preset(options.preset), execution, options.seed)


def _stream(options: ParityConfig, models: ModelsCompared) -> Stream:
    config = models.ours.config
    if isinstance(models.ours, SequenceSide) and options.length <= config.context_length:
        return models.ours.stream(options.batch, options.length, options.seed)
    if not PROMPT <= options.length <= config.context_length:
        raise ValueError(
            f"--length must lie between {PROMPT} and the model's context, {config.context_length}; got {options.length}"
        )
    if options.data:
        return streams.prepared(options.data, config.vocab_size, options.batch, options.length, options.steps)
    return streams.drawn(config.vocab_size, options.batch, options.length, options.seed)


def _device(options: ParityConfig) -> str:
    """PyTorch's name of the device. On a GPU, float32 products are computed in full: TF32 is off on both sides."""
    if options.device == "cpu":
        return "cpu"
    if jax.default_backend() != "gpu" or not torch.cuda.is_available():
        seen = f"JAX sees {jax.default_backend()}, PyTorch {'CUDA' if torch.cuda.is_available() else 'no CUDA'}"
        raise RuntimeError(f"--device gpu needs a GPU that both sides can use, but {seen}: use --device cpu")
    if options.dtype == "float32":
        jax.config.update("jax_default_matmul_precision", "highest")
        torch.set_float32_matmul_precision("highest")
    return "cuda"


def _setup(options: ParityConfig, models: ModelsCompared) -> dict[str, Any]:
    return {
        "model": options.hf or options.preset,
        "PyTorch's class": type(models.theirs).__name__,
        "parameters": models.ours.n_parameters,
        "weights": "loaded" if options.hf else f"drawn, seed {options.seed}",
        "dtype": options.dtype,
        "device": f"{jax.devices()[0].device_kind} ({platform.machine()})",
        "attention": models.ours.plan.attention,
        "batch": f"{options.batch} × {options.length} tokens, {options.data or 'drawn by Zipf’s law'}",
        "curve": f"{options.steps} steps, AdamW, peak learning rate {options.learning_rate:g}",
        "versions": f"JAX {jax.__version__}, PyTorch {torch.__version__}, transformers {transformers.__version__}",
        "command": " ".join(["python -m train", *sys.argv[1:]]),
    }
