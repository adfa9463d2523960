"""SentencePiece's compiled table of characters as a dictionary.

The table is a trie (`double_array`) over UTF-8; the value of a key is the place of its replacement among texts that a
zero byte ends. SentencePiece reads a text from the left and replaces the longest key that begins at a place, else goes
on by one character. The `tokenizers` library looks up whole grapheme clusters instead, and loses marks.
"""

import re
import struct
from collections import defaultdict
from collections.abc import Collection, Mapping
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from llm_jax.tokenizer.sentencepiece.double_array import LEAF

CHUNK = 4_096  # nodes of the trie at a time: 256 children each
MOST_NODES = 1 << 21  # SentencePiece's own tables have 200,000 beginnings of keys; a circle has no end


@lru_cache(maxsize=8)
def parse(raw: bytes) -> MappingProxyType[str, str]:
    """Stretch of text → its replacement. Raises ValueError for a damaged table."""
    if not raw:
        return MappingProxyType({})
    try:
        (size,) = struct.unpack_from("<I", raw)
        if size % 4 or not 4 <= size <= len(raw) - 4:
            raise ValueError(f"its trie has {size:,} bytes of {len(raw):,}")
        texts = raw[4 + size :]
        found = {}
        for key, place in _keys(np.frombuffer(raw, "<u4", size // 4, offset=4)).items():
            stop = texts.index(b"\0", place)
            found[key.decode()] = texts[place:stop].decode()
    except (struct.error, ValueError) as error:
        raise ValueError(f"its table of characters is damaged ({error}): get the file again") from None
    return MappingProxyType(found)


def _keys(units: np.ndarray) -> dict[bytes, int]:
    """Key → value, all nodes of one depth at once. Keys with the same ending may share nodes."""
    labels = units & 0x800000FF
    offsets = ((units >> 10) << ((units & 0x200) >> 6)).astype(np.int64)
    found: dict[bytes, int] = {}
    names, bases, n_seen = [b""], offsets[:1], 0
    while names:
        next_names: list[bytes] = []
        next_places: list[np.ndarray] = []
        for start in range(0, len(names), CHUNK):
            children = bases[start : start + CHUNK, None] ^ np.arange(256)
            inside = children < len(units)
            children[~inside] = 0
            is_child = inside & (labels[children] == np.arange(256))
            is_child[:, 0] = False  # a zero byte is in no key
            parents, last = np.nonzero(is_child)
            next_places.append(children[parents, last])
            next_names += [names[start + p] + bytes([c]) for p, c in zip(parents.tolist(), last.tolist(), strict=True)]
        places = np.concatenate(next_places)
        if (n_seen := n_seen + len(places)) > MOST_NODES:
            raise ValueError(f"its keys have more than {MOST_NODES:,} beginnings")
        bases = places ^ offsets[places]
        for number in np.nonzero(units[places] & LEAF)[0].tolist():
            if bases[number] >= len(units):
                raise ValueError("its trie points behind its end")
            found[next_names[number]] = int(units[bases[number]] & 0x7FFFFFFF)
        names = next_names
    return found


def where_keys_begin(table: Mapping[str, str]) -> tuple[set[str], dict[str, set[str]]]:
    """The characters that are keys; and of the other keys the second character → those that come before it.

    Letters begin keys, with marks behind them: in most texts a mark is rarer than a letter, so marks are looked for.
    """
    singles = {key for key in table if len(key) == 1}
    before = defaultdict[str, set[str]](set)
    for key in table:
        if key[0] not in singles:
            before[key[1]].add(key[0])
    return singles, dict(before)


def finder(characters: Collection[str]) -> re.Pattern[str]:
    """Finds any of the characters, and all beyond U+FFFF: `re` compares those with one range after another."""
    ranges: list[list[int]] = []
    for code in sorted(code for code in map(ord, characters) if code < 0x10000):
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    ranges.append([0x10000, 0x10FFFF])
    return re.compile(f"[{''.join(f'{re.escape(chr(first))}-{re.escape(chr(last))}' for first, last in ranges)}]")
