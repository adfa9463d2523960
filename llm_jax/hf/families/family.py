"""What a family of models is in a Hugging Face directory: its class, the names of its tensors, its config.json."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from llm_jax.config import DecoderConfig


class Row(NamedTuple):
    """One tensor: its path in our parameters, its name in the files, and its shape there in our dimension letters."""

    ours: str
    theirs: str
    letters: str  # a space between the dimensions of the file
    is_transposed: bool = False  # the file stores a linear layer as (outputs, inputs), ours is (inputs, outputs)


@dataclass(frozen=True)
class Family:
    """A row of `llm_jax.hf.families`: everything that import and export know about a family."""

    name: str  # as people write it
    model_type: str
    architecture: str  # the class with a head, which an export names
    without_head: str  # the class of some checkpoints whose head is the embedding
    prefix: str  # of all names but the head's, in files of the class with a head
    embedding: str
    head: str
    model: tuple[Row, ...]
    block_prefix: str  # a format string of the layer's number
    block: tuple[Row, ...]  # rows whose path the config's parameters lack are left out
    ignored: tuple[str, ...]  # ends of tensors' names that hold no parameters: masks, frequencies
    read: Callable[[Path, Mapping[str, Any]], DecoderConfig]
    write: Callable[[DecoderConfig], dict[str, Any]]
    fits: Callable[[DecoderConfig], bool]

    def rows(self, config: DecoderConfig) -> Iterator[Row]:
        """The rows of every tensor of this config, blocks counted out; names are without prefix."""
        has = _parts(config)
        for row in (*self.model, *((Row("head", self.head, "V D"),) if not config.tied_head else ())):
            if has(row.ours):
                yield row._replace(ours=f".{row.ours}")
        for i in range(config.n_layers):
            for row in self.block:
                if has(row.ours):
                    name = self.block_prefix.format(i) + row.theirs
                    yield row._replace(ours=f".blocks[{i}].{row.ours}", theirs=name)

    def shape(self, row: Row, config: DecoderConfig) -> tuple[int, ...]:
        """The shape of a tensor in the files."""
        sizes = config.sizes
        return tuple(math.prod(sizes[letter] for letter in group) for group in row.letters.split())

    def saved(self, name: str) -> str:
        """A tensor's name as the class with a head saves it: all but the head have the prefix."""
        return name if name == self.head else self.prefix + name

    def tied(self, config: DecoderConfig) -> frozenset[str]:
        """The names under which one tensor may be stored: embedding and head, where the config ties the two."""
        if not config.tied_head:
            return frozenset()
        return frozenset(prefix + name for prefix in ("", self.prefix) for name in (self.embedding, self.head))


def _parts(config: DecoderConfig) -> Callable[[str], bool]:
    """Whether a config's parameters have the part at a path such as `attention.qkv.q.bias`."""
    absent = set()
    if config.attention_bias == "none":
        absent |= {"attention.qkv.bias", "attention.qkv.q.bias", "attention.qkv.k.bias", "attention.qkv.v.bias"}
    if config.attention_bias != "all":
        absent.add("attention.out.bias")
    if not config.mlp_bias:
        absent |= {"mlp.up.bias", "mlp.gate.bias", "mlp.down.bias"}
    if not config.query_key_norm:
        absent |= {"attention.q_norm.gain", "attention.k_norm.gain"}
    return lambda path: path not in absent
