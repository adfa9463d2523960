"""Adapters in the format of PEFT, which transformers and vLLM load: adapter_config.json and adapter_model.safetensors.

settings    adapter_config.json ↔ LoraConfig; a setting that changes the function and is not computed is refused
matrices    tensors of the file ↔ our adapters
directory   load and export a directory
"""

from llm_jax.hf.peft.directory import BASE, AdapterReport, LoadedAdapter, export, is_adapter, load

__all__ = ["BASE", "AdapterReport", "LoadedAdapter", "export", "is_adapter", "load"]
