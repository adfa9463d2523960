"""A trie as a double array (Aoe 1989), in the form that Darts-clone reads: SentencePiece's table of characters.

A unit is 32 bits: the label of the edge that leads to it (bits 0 to 7), whether its node ends a key (bit 8), and the
offset (from bit 10 on) whose exclusive or with the unit's own place is the base of its children. The child by label c
lies at base ^ c; where a key ends, the unit at the base itself holds the value, with bit 31 set.
"""

from collections.abc import Mapping

import numpy as np

BLOCK = 256  # base ^ label stays inside one
TRIED = 2  # open blocks that are tried for a node with several children; nodes with one child fill the gaps
LEAF, IS_VALUE = 1 << 8, 1 << 31
LARGEST = 1 << 21  # places that an offset reaches without Darts' extension bit


def build(values: Mapping[bytes, int]) -> bytes:
    """The units, little-endian. Keys are not empty and hold no zero byte.

    Raises ValueError for more keys than offsets reach.
    """
    nodes = _trie(values)
    bases, size = _placed(nodes)
    if size > LARGEST:
        raise ValueError(f"a table of {size:,} units; at most {LARGEST:,} can be written")
    units = np.zeros(size, np.uint32)
    _fill_unused(units, bases)
    units[0] = bases[0] << 10  # of the root, at place 0
    for base, (children, value) in zip(bases, nodes, strict=True):
        if value is not None:
            units[base] = IS_VALUE | value
        for label, child in children.items():
            place = base ^ label
            ends = LEAF if nodes[child][1] is not None else 0
            units[place] = (place ^ bases[child]) << 10 | ends | label
    return units.astype("<u4").tobytes()


Node = tuple[dict[int, int], int | None]  # label → number of the child; the value of the key that ends here


def _trie(values: Mapping[bytes, int]) -> list[Node]:
    nodes: list[Node] = [({}, None)]
    for key, value in values.items():
        at = 0
        for label in key:
            child = nodes[at][0].get(label)
            if child is None:
                child = nodes[at][0][label] = len(nodes)
                nodes.append(({}, None))
            at = child
        nodes[at] = (nodes[at][0], value)
    return nodes


def _placed(nodes: list[Node]) -> tuple[list[int], int]:
    """(the base of each node, units). No two have one base; nodes with many children are placed first."""
    wanted = [[*([0] if value is not None else []), *children] for children, value in nodes]
    bases, is_base = [0] * len(nodes), {0}  # at base 0 a zero byte would lead back to the root
    blocks: list[set[int]] = [set(range(1, BLOCK))]  # free places; 0 is the root's
    open_blocks = [0]
    for number in sorted(range(len(nodes)), key=lambda n: -len(wanted[n])):
        labels = wanted[number]
        while True:
            tried = open_blocks[-TRIED:] if len(labels) > 1 else open_blocks[:1]
            found = ((block, _base(labels, blocks[block], is_base)) for block in tried)
            block, base = next(((block, base) for block, base in found if base is not None), (0, None))
            if base is not None:
                break
            if len(labels) > 1 or len(open_blocks) == 1:
                open_blocks.append(len(blocks))
                blocks.append(set(range(len(blocks) * BLOCK, (len(blocks) + 1) * BLOCK)))
            if len(labels) == 1:
                del open_blocks[0]  # nearly full
        bases[number] = base
        is_base.add(base)
        blocks[block] -= {base ^ label for label in labels}
    return bases, len(blocks) * BLOCK


def _base(labels: list[int], free: set[int], is_base: set[int]) -> int | None:
    """A base in this block, not taken, whose places for `labels` are all free."""
    if len(free) < len(labels):
        return None
    for place in free:
        base = place ^ labels[0]
        if base not in is_base and all(base ^ label in free for label in labels[1:]):
            return base
    return None


def _fill_unused(units: np.ndarray, bases: list[int]) -> None:
    """Gives each unit, until it is used, a label by which no base leads to it."""
    taken = set(bases)
    for start in range(0, len(units), BLOCK):
        unused = next((base for base in range(start, start + BLOCK) if base not in taken), start)
        units[start : start + BLOCK] = np.arange(start, start + BLOCK) ^ unused
