"""Recognises a file by its first bytes and reads its text, compressed or not, in any Unicode encoding.

recognise.py    compression, encoding, or the name of a format that is no text
streams.py      the bytes of a file unpacked, and its text as UTF-8 without a byte order mark
"""

from llm_jax.files.content.recognise import UTF8, Content, Form, recognise
from llm_jax.files.content.streams import Utf8Reader, open_utf8, read_text

__all__ = ["UTF8", "Content", "Form", "Utf8Reader", "open_utf8", "read_text", "recognise"]
