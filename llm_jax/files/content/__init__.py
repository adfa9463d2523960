"""What a file is, by its first bytes, and its text, whatever it is packed in.

recognise.py    compression, encoding, or the name of a format that is no text
streams.py      the bytes of a file unpacked, and its text as UTF-8 without a byte order mark
"""

from llm_jax.files.content.recognise import UTF8, Content, Form, recognise
from llm_jax.files.content.streams import Utf8Reader, open_utf8, read_text

__all__ = ["UTF8", "Content", "Form", "Utf8Reader", "open_utf8", "read_text", "recognise"]
