"""Where a decoder that sees looks: how much of an answer's position comes from each patch.

Attention is followed through the layers (attention rollout, Abnar & Zuidema 2020): half of a position's state stays,
half is the mean of its heads' weights. In the first layer the answer's position may look at the words alone, which have
looked at the picture; one layer's weights would not show that.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from llm_jax.kernels.attention.in_pieces import masked_softmax
from llm_jax.models.vision_language import forward
from llm_jax.models.vision_language.tower import normalised
from llm_jax.shapes import Array, Float
from train.vision.data.world import Sample


def followed(way: Any, params: Any, sample: Sample) -> np.ndarray:
    """The share of each patch (B, P) in the positions from which the first answers are read; `way` is `Embedded`."""
    plan, config = way.task.plan, way.config

    def look(params: Any, sample: Sample) -> Float[Array, "B P"]:
        recorded: list[Array] = []

        def attend(q_BTNH: Array, k_BTKH: Array, v_BTKH: Array) -> Array:
            recorded.append(_weights(q_BTNH, k_BTKH))
            return plan.kernels.causal_attend(q_BTNH, k_BTKH, v_BTKH)

        watched = plan._replace(kernels=plan.kernels._replace(causal_attend=attend))
        row = way.rows_of(sample._replace(question_BM=sample.question_BM[:, :1], answer_BM=sample.answer_BM[:, :1]))
        pixels = normalised(sample.pixels_BYXC, config.vision)
        forward.forward(params, row.tokens_BT[:, :-1], pixels, config, watched)
        rolled_BTS = _rollout(recorded)
        answer_BS = jnp.take_along_axis(rolled_BTS, (row.first_BM - 1)[:, :1, None], axis=1)[:, 0]
        return answer_BS[:, : config.vision.n_patches]

    return np.asarray(jax.jit(look)(params, sample))


def _weights(q_BTNH: Array, k_BTKH: Array) -> Float[Array, "B T S"]:
    """The mean of the heads' attention weights."""
    k_BTNH = jnp.repeat(k_BTKH, q_BTNH.shape[2] // k_BTKH.shape[2], axis=2)
    position_T = jnp.arange(q_BTNH.shape[1])
    mask_BTS = (position_T[:, None] >= position_T)[None]
    scores_BNTS = jnp.einsum("BTNH,BSNH->BNTS", q_BTNH, k_BTNH)
    return masked_softmax(scores_BNTS, mask_BTS, q_BTNH.shape[3]).mean(axis=1)


def _rollout(weights: list[Array]) -> Float[Array, "B T S"]:
    """The product over the layers of (weights + identity)/2."""
    rolled_BTS = jnp.eye(weights[0].shape[1])[None]
    for weights_BTS in weights:
        rolled_BTS = (weights_BTS + jnp.eye(weights_BTS.shape[1])) / 2 @ rolled_BTS
    return rolled_BTS
