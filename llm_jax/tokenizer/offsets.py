"""Which characters of the text each token stands for."""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np


def character_spans(text: str, tokens: Sequence[bytes]) -> list[tuple[int, int]]:
    """(start, stop) for each of `tokens`, whose bytes joined are `text`: the token stands for `text[start:stop]`.

    A token that holds a part of a character spans the whole of it, so the tokens of one split character overlap, as
    they do in Hugging Face's tokenizers.
    """
    if not tokens:
        return []
    stops = list(accumulate(map(len, tokens)))
    starts = [0, *stops[:-1]]
    if not text.isascii():
        begins_character = (np.frombuffer(text.encode(), np.uint8) & 0xC0) != 0x80
        character_of_byte = np.cumsum(begins_character) - 1
        starts = character_of_byte[starts].tolist()
        stops = (character_of_byte[np.array(stops) - 1] + 1).tolist()
    return list(zip(starts, stops, strict=True))
