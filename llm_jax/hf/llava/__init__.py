"""LLaVA's directories: `LlavaForConditionalGeneration` over CLIP's vision tower and Llama, read and written.

settings   config.json and the processor's files ↔ our configs; what is not computed here is refused by name
names      names of tensors ↔ our parameters
directory  a model: load, export, and compare what was written with what was meant
"""

from llm_jax.hf.llava.directory import Seeing, export, folder_of, is_there, load
from llm_jax.hf.llava.settings import ARCHITECTURE

__all__ = ["ARCHITECTURE", "Seeing", "export", "folder_of", "is_there", "load"]
