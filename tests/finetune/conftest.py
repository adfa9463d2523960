"""A tiny base and files of examples."""

from finetuning import base, files

__all__ = ["base", "files"]
