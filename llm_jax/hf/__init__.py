"""Hugging Face directories, which transformers, vLLM and lm-evaluation-harness read.

names       one table: HF tensor name ↔ our parameter, and its shape there
config      HF config.json ↔ DecoderConfig; a setting that this code does not compute is refused by name
tensors     safetensors files, read only after their headers have been checked
directory   load a directory or hub name; export a run, reload it, compare logits
"""

from llm_jax.hf.directory import ExportReport, Loaded, check, export, export_run, load

__all__ = ["ExportReport", "Loaded", "check", "export", "export_run", "load"]
