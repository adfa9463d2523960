"""Recognises a file by its first bytes and reads its text, compressed or not, in any Unicode encoding.

formats.py      the first bytes of known formats
recognise.py    compression and encoding of a file, or the name of a format that is no text
unpack.py       the bytes of a compressed file
streams.py      the text of a file as UTF-8 without a byte order mark
"""

from llm_jax.files.content.recognise import UTF8, Content, Form, recognise
from llm_jax.files.content.streams import Utf8Reader, open_utf8, read_text

__all__ = ["UTF8", "Content", "Form", "Utf8Reader", "open_utf8", "read_text", "recognise"]
