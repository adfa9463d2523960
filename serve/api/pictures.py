"""Pictures in a chat's messages: OpenAI's parts of type `image_url`, as `data:` URLs → squares of the model's size.

Nothing is fetched: a server that loads addresses from requests can be sent to any address inside its network. A request
has at most `MOST` pictures; each is decoded within bounds (`llm_jax.files.pictures`). Its content decides what it is,
not the type that the URL declares.
"""

import base64
import binascii
import re

import numpy as np

from llm_jax.files import pictures

MOST = 8  # pictures of a request
HEAD = 1_000  # most characters of a `data:` URL before its content
DATA = re.compile(r'\s*data:(?:[^",]|"[^"]*")*;\s*base64\s*,', re.IGNORECASE)  # RFC 2397; parameters may be quoted
BLANKS = dict.fromkeys(map(ord, " \t\r\n"))  # base64 may come in lines


class Pictures:
    """The pictures of one request; `add` is called for each part, in order."""

    def __init__(self, side: int):
        self._side = side
        self.squares: list[np.ndarray] = []

    def add(self, url: str, where: str) -> None:
        """Decodes one. Raises ValueError that begins with its place in the request."""
        if len(self.squares) == MOST:
            raise ValueError(f"{where}: a request may have {MOST} pictures: leave the others out")
        self.squares.append(pictures.resized(pictures.read(content_of(url, where), where), self._side))


def content_of(url: str, where: str) -> bytes:
    """The bytes in a `data:` URL. Raises ValueError for another address or encoding, and for too many bytes."""
    scheme = url[:HEAD].lstrip().split(":", 1)[0]
    if scheme.lower() != "data":
        raise ValueError(
            f"{where}: pictures are read from data: URLs alone, such as data:image/png;base64,…, and none is fetched; "
            f"got one that begins with {scheme[:20]!r}"
        )
    if not (found := DATA.match(url[:HEAD])):
        raise ValueError(f"{where} is not encoded in base64: send it as data:image/png;base64,…")
    encoded = url[found.end() :].translate(BLANKS)
    if len(encoded) > pictures.MOST_BYTES * 4 // 3 + 4:
        raise ValueError(f"{where} has more than {pictures.MOST_BYTES:,} bytes, the most: send a smaller picture")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{where} is not encoded in base64: encode the picture's file again") from None
