"""How a narrow encoder or decoder starts: by the rule of Vaswani et al. 2017, which the encoder–decoder follows.

BERT's and GPT-2's deviation, 0.02, is made for a width of some thousand. In a width of 64 or 128 all attention is
uniform at first, and a masked model names the commonest token for thousands of steps, whatever it could learn.
"""

import dataclasses
import math
from typing import Any

import jax

from llm_jax.layers.sinusoids import sinusoids
from train.optim.optimizer import is_matrix


def as_encoder_decoder(params: Any, letters: Any, config: Any) -> Any:
    """Fresh parameters whose matrices have an encoder–decoder's deviations, and whose first positions are sinusoids.

    Args:
        params: of an encoder or a decoder with learned positions.
        letters: a tree like `params`, of dimension letters.
        config: the model's, with `d_model` and `mlp_width`.
    """
    deviation, of_mlp = config.d_model**-0.5, math.sqrt(2 / (config.d_model + config.mlp_width))

    def rescaled(letters: str, leaf: Any) -> Any:
        if not is_matrix(letters):
            return leaf
        drawn = leaf.std(where=leaf != 0)  # rows that pad a decoder's vocabulary are zero
        return leaf * ((of_mlp if "F" in letters else deviation) / drawn)

    params = jax.tree.map(rescaled, letters, params)
    # The encoder–decoder adds sinusoids to √D times its embedding: the same ratio.
    return dataclasses.replace(params, position_embedding=deviation * sinusoids(*params.position_embedding.shape))
