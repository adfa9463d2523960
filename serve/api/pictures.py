"""Pictures in a chat's messages: OpenAI's parts of type `image_url`, as `data:` URLs → squares of the model's size.

Nothing is fetched: a server that loads addresses from requests can be sent to any address inside its network. A request
has at most `MOST` pictures; each is decoded within bounds (`llm_jax.files.pictures`).
"""

import base64
import binascii
import re

import numpy as np

from llm_jax.files import pictures

MOST = 8  # pictures of a request
DATA = re.compile(r"data:image/[\w.+-]+(?:;[\w.+=-]+)*;base64,", re.IGNORECASE)


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
    """The bytes in a `data:` URL. Raises ValueError for any other address."""
    if not (found := DATA.match(url)):
        scheme = url.split(":", 1)[0][:20]
        raise ValueError(
            f"{where}: pictures are read from data: URLs alone, such as data:image/png;base64,…, and none is fetched; "
            f"got one that begins with {scheme!r}"
        )
    if len(url) > found.end() + pictures.MOST_BYTES * 4 // 3 + 4:
        raise ValueError(f"{where} has more than {pictures.MOST_BYTES:,} bytes, the most: send a smaller picture")
    try:
        return base64.b64decode(url[found.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{where} is not encoded in base64: encode the picture's file again") from None
