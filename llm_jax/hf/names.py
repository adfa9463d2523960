"""HF tensor name ↔ parameter, for GPT-2. Both directions read this one table.

The third column is the tensor's shape in an HF file, in our dimension letters. HF's Conv1D stores (input, output) as we
do, so tensors are reshaped and never transposed; the embedding loses or gains the rows that pad the vocabulary. A tied
head is not stored.
"""

import math
from collections.abc import Mapping

import jax
import numpy as np

from llm_jax.config import DecoderConfig
from llm_jax.models import decoder

PREFIX = "transformer."
EMBEDDING, HEAD = "wte.weight", "lm_head.weight"

MODEL = (
    ("token_embedding", EMBEDDING, "V D"),
    ("position_embedding", "wpe.weight", "P D"),
    ("norm.gain", "ln_f.weight", "D"),
    ("norm.bias", "ln_f.bias", "D"),
)
BLOCK = (
    ("norm_1.gain", "ln_1.weight", "D"),
    ("norm_1.bias", "ln_1.bias", "D"),
    ("attention.qkv.weight", "attn.c_attn.weight", "D 3NH"),
    ("attention.qkv.bias", "attn.c_attn.bias", "3NH"),
    ("attention.out.weight", "attn.c_proj.weight", "NH D"),
    ("attention.out.bias", "attn.c_proj.bias", "D"),
    ("norm_2.gain", "ln_2.weight", "D"),
    ("norm_2.bias", "ln_2.bias", "D"),
    ("mlp.up.weight", "mlp.c_fc.weight", "D F"),
    ("mlp.up.bias", "mlp.c_fc.bias", "F"),
    ("mlp.down.weight", "mlp.c_proj.weight", "F D"),
    ("mlp.down.bias", "mlp.c_proj.bias", "D"),
)


def table(config: DecoderConfig) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Path of a parameter (as `jax.tree_util.keystr` writes it) → its HF name, without prefix, and shape there."""
    sizes = {
        "V": config.vocab_size,
        "P": config.context_length,
        "D": config.d_model,
        "N": config.n_heads,
        "H": config.d_head,
        "F": config.d_hidden,
        "3": 3,
    }
    rows = [(f".{path}", name, letters) for path, name, letters in MODEL]
    if not config.tied_head:
        rows.append((".head", HEAD, "V D"))
    for i in range(config.n_layers):
        rows += [(f".blocks[{i}].{path}", f"h.{i}.{name}", letters) for path, name, letters in BLOCK]
    return {
        path: (name, tuple(math.prod(sizes[letter] for letter in group) for group in letters.split()))
        for path, name, letters in rows
    }


def tied(config: DecoderConfig) -> frozenset[str]:
    """The names under which one tensor may be stored: embedding and head, where the config ties the two."""
    if not config.tied_head:
        return frozenset()
    return frozenset(prefix + name for prefix in ("", PREFIX) for name in (EMBEDDING, HEAD))


def saved(name: str) -> str:
    """A tensor's name as GPT2LMHeadModel saves it: all but the head have the prefix."""
    return name if name == HEAD else PREFIX + name


def to_hf(params: decoder.Decoder, config: DecoderConfig) -> dict[str, np.ndarray]:
    """Parameters → HF tensors, float32 in memory of the host, with the prefix that GPT2LMHeadModel saves."""
    names = table(config)
    tensors = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name, shape = names[jax.tree_util.keystr(path)]
        rows = leaf[: config.vocab_size] if name in (EMBEDDING, HEAD) else leaf
        tensors[saved(name)] = np.ascontiguousarray(np.asarray(rows, np.float32).reshape(shape))
    return tensors


def from_hf(tensors: Mapping[str, np.ndarray], config: DecoderConfig) -> decoder.Decoder:
    """HF tensors, named without prefix and of the shapes in `table`, → float32 parameters."""
    names = table(config)
    template = jax.eval_shape(lambda key: decoder.init(key, config), jax.random.key(0))

    def take(path, leaf):
        name, _ = names[jax.tree_util.keystr(path)]
        tensor = np.asarray(tensors[name]).astype(np.float32)
        if name in (EMBEDDING, HEAD):
            tensor = np.pad(tensor, ((0, leaf.shape[0] - tensor.shape[0]), (0, 0)))
        return jax.numpy.asarray(tensor.reshape(leaf.shape))

    return jax.tree_util.tree_map_with_path(take, template)
