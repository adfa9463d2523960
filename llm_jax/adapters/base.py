"""A hash of a base's parameters: adapters are refused on a base with another hash.

Each parameter's bits (float32) are mixed with their place and added up modulo 2³², twice, on the devices that hold
them. Whole numbers add up to the same in any order, so the hash does not depend on devices, mesh or processes, and no
array is gathered. SHA-256 is taken of all the sums, with names and shapes. The hash distinguishes models; it
does not protect from an attacker, who could make a model with the same one.
"""

import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np

from llm_jax.models.decoder_parameters import Decoder
from llm_jax.shapes import Array, Float, UInt

SEEDS = (0x9E3779B9, 0x7F4A7C15)


def base_hash(params: Decoder) -> str:
    """64 hexadecimal digits. bfloat16 or float32 of the same values hash equally."""
    sums = {
        jax.tree_util.keystr(path): (list(leaf.shape), _sums(leaf))
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    content = {name: [shape, [int(number) for number in np.asarray(pair)]] for name, (shape, pair) in sums.items()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@jax.jit
def _sums(leaf: Float[Array, "..."]) -> UInt[Array, "2"]:
    bits = jax.lax.bitcast_convert_type(leaf.astype(jnp.float32), jnp.uint32)
    place = jnp.zeros(leaf.shape, jnp.uint32)
    for axis, size in enumerate(leaf.shape):  # the row-major index, without merging axes that may be sharded
        place = place * np.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, leaf.shape, axis)
    return jnp.stack([_mixed(bits ^ _mixed(place + np.uint32(seed))).sum(dtype=jnp.uint32) for seed in SEEDS])


def _mixed(bits: UInt[Array, "..."]) -> UInt[Array, "..."]:
    """A permutation of 32 bits in which every bit of the result depends on every bit (MurmurHash3's last step)."""
    bits = (bits ^ (bits >> 16)) * np.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> 13)) * np.uint32(0xC2B2AE35)
    return bits ^ (bits >> 16)
