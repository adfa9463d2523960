"""A tiny base and files of examples."""

from finetuning import base, chatting_base, files

__all__ = ["base", "chatting_base", "files"]
