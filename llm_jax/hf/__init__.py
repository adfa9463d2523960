"""Hugging Face directories, which transformers, vLLM and lm-evaluation-harness read.

families    one table a family: HF tensor name ↔ our parameter, its shape there, fields of the config
names       our parameters ↔ HF tensors, by that table
config      HF config.json ↔ DecoderConfig; a setting that this code does not compute is refused by name
tensors     safetensors files, read only after their headers have been checked
directory   load a directory or hub name; export a model, reload it, compare logits
hub         the files of a model on the hub, from the local cache or downloaded
peft        adapters in PEFT's format: load, export
encoder     directories of sentence encoders (BERT); sentences: texts → vectors
opened      any model; a LoRA run with its base; an adapter for a base that is open
exported    export a run: whole, merged, or its adapters alone
"""

from llm_jax.hf.directory import ExportReport, Loaded, check, export, load
from llm_jax.hf.exported import export_adapter, export_run
from llm_jax.hf.opened import (
    AdaptedRun,
    Described,
    Opened,
    adapter_tokenizer,
    describe,
    load_adapted,
    load_adapter,
    open_base,
    open_model,
)

__all__ = [
    "AdaptedRun",
    "Described",
    "ExportReport",
    "Loaded",
    "Opened",
    "adapter_tokenizer",
    "check",
    "describe",
    "export",
    "export_adapter",
    "export_run",
    "load",
    "load_adapted",
    "load_adapter",
    "open_base",
    "open_model",
]
