r"""A window of characters, fused two by two, layer by layer (after van den Oord et al. 2016, "WaveNet").

    c1  c2  c3  c4  c5  c6  c7  c8      embeddings
     \  /    \  /    \  /    \  /       two neighbours → D features, batch norm, tanh
      h1      h2      h3      h4
        \    /          \    /          the same again, until one is left
         …                …             and a linear layer to the logits

One hidden layer over eight characters would mix all of them at once; here each layer joins pairs of neighbours, with
the same weights for every pair. The window is 2^layers long. Left out of WaveNet: dilated convolutions
(the same function for all windows of a text at once), gates, residual and skip connections.
"""

import dataclasses
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from llm_jax.kernels.linear import linear_on_cpu as linear  # models this small are trained on CPUs
from llm_jax.layers import batch_norm as bn
from llm_jax.layers.batch_norm import BatchNorm, batch_norm
from llm_jax.layers.linear import Linear, init_linear
from llm_jax.models.makemore.letters import letters
from llm_jax.models.makemore.mlp import LAST_LAYER_GAIN, TANH_GAIN
from llm_jax.models.watch import Watch, unwatched
from llm_jax.shapes import Array, Float, Int, Key, pytree


@dataclass(frozen=True)
class Config:
    vocab_size: int
    """Characters, the line's end among them."""
    context: int = 8
    """Characters in the window; a power of two."""
    embedding: int = 24
    """Width of a character's embedding."""
    width: int = 128
    """Features of every fused pair."""

    def __post_init__(self) -> None:
        if self.context < 2 or self.context & (self.context - 1):
            raise ValueError(f"the window is fused two by two: context must be 2, 4, 8, …; got {self.context}")


@pytree
class Fuse:
    """Two neighbours of E features → D features. Batch norm has the bias."""

    weight: Float[Array, "2 E D"]
    norm: BatchNorm


@pytree
class WaveNet:
    embedding: Float[Array, "V E"]
    layers: tuple[Fuse, ...]
    out: Linear  # D → V


def init(key: Key[Array, ""], config: Config) -> WaveNet:
    n_layers = config.context.bit_length() - 1
    embedding_key, out_key, *keys = jax.random.split(key, 2 + n_layers)
    widths = [config.embedding] + [config.width] * (n_layers - 1)

    def init_fuse(key: Key[Array, ""], inputs: int) -> Fuse:
        std = TANH_GAIN / math.sqrt(2 * inputs)
        weight = std * jax.random.normal(key, (2, inputs, config.width))
        return Fuse(weight=weight, norm=bn.init_batch_norm(config.width))

    return WaveNet(
        embedding=jax.random.normal(embedding_key, (config.vocab_size, config.embedding)),
        layers=tuple(map(init_fuse, keys, widths)),
        out=init_linear(out_key, (config.width,), (config.vocab_size,), LAST_LAYER_GAIN / math.sqrt(config.width)),
    )


def dimension_letters(params: WaveNet) -> WaveNet:
    vector, table, first, later, out, bias = letters("D VE 2ED 2FD DV V")
    norm = BatchNorm(gain=vector, bias=vector)
    fuses = tuple(Fuse(weight=later if i else first, norm=norm) for i in range(len(params.layers)))
    return WaveNet(embedding=table, layers=fuses, out=Linear(weight=out, bias=bias))


def logits(params: WaveNet, tokens_BT: Int[Array, "B T"], watch: Watch = unwatched) -> Float[Array, "B V"]:
    """Logits of the character after each window."""
    x_BTD = params.embedding[tokens_BT]
    for number, layer in enumerate(params.layers, 1):
        x_BTD = watch(f"tanh {number}", jnp.tanh(batch_norm(layer.norm, fuse(layer, x_BTD))))
    return linear(params.out, x_BTD[:, 0])


def fuse(layer: Fuse, x_BTE: Float[Array, "B T E"]) -> Float[Array, "B T/2 D"]:
    """Positions 2t and 2t + 1 become one. Raises ValueError for an odd number of them."""
    batch, length, width = x_BTE.shape
    if length % 2:
        raise ValueError(f"an even number of positions is fused two by two; got {length}")
    pairs_BT2E = x_BTE.reshape(batch, length // 2, 2 * width)
    return pairs_BT2E @ layer.weight.reshape(2 * width, -1)


def calibrate(params: WaveNet, tokens_BT: Int[Array, "B T"]) -> WaveNet:
    """For evaluation: the same parameters with every norm's moments computed from these windows."""
    x_BTD, layers = params.embedding[tokens_BT], []
    for layer in params.layers:
        x_BTD = fuse(layer, x_BTD)
        layers.append(dataclasses.replace(layer, norm=bn.calibrate(layer.norm, x_BTD)))
        x_BTD = jnp.tanh(batch_norm(layers[-1].norm, x_BTD))
    return dataclasses.replace(params, layers=tuple(layers))
