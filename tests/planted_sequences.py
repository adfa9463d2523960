"""Faults that only an encoder or an encoder–decoder can have, planted in tiny ones."""

import contextlib
import dataclasses
from unittest.mock import patch

import jax.numpy as jnp
from planting import Fault, changing, replacing

from llm_jax.models.encoder import forward as encoder
from llm_jax.models.encoder.config import EncoderConfig
from llm_jax.models.encoder_decoder import forward as translation
from llm_jax.models.encoder_decoder.config import EncoderDecoderConfig
from train.parity.stages import masked_model

BERT = EncoderConfig(
    vocab_size=211, context_length=32, d_model=32, n_heads=2, n_layers=2, mlp_width=48, has_masked_head=True
)
MARIAN = EncoderDecoderConfig(
    vocab_size=211, context_length=32, d_model=32, n_heads=2, n_encoder_layers=1, n_decoder_layers=1, mlp_width=48
)


def _other_settings(**fields):
    return changing(lambda ours: dataclasses.replace(ours, config=dataclasses.replace(ours.config, **fields)))


def _pre_norm(ours):
    """The same parameters computed as pre-norm. The last norms are the last block's, so that only the place differs."""
    params = dataclasses.replace(
        ours.params,
        encoder_norm=ours.params.encoder_blocks[-1].norm_2,
        decoder_norm=ours.params.decoder_blocks[-1].norm_3,
    )
    return dataclasses.replace(ours, params=params, config=dataclasses.replace(ours.config, norm="pre"))


def _padding_attended(attend, q, k, v, mask):
    return attend(q, k, v, jnp.ones_like(mask))


def _sees_the_future(ours):
    def attend(q, k, v):
        return translation.attend(q, k, v, jnp.ones((1, q.shape[1], k.shape[1]), bool))

    return dataclasses.replace(ours, plan=ours.plan._replace(kernels=ours.plan.kernels._replace(causal_attend=attend)))


def _cosines_first(sinusoids, length, width):
    return jnp.roll(sinusoids(length, width), width // 2, axis=1)


def _unscaled(embed, params, tokens, config, plan, positions=None):
    smaller = dataclasses.replace(params, token_embedding=params.token_embedding / config.d_model**0.5)
    return embed(smaller, tokens, config, plan, positions)


@contextlib.contextmanager
def _masks_shifted(models):
    right = masked_model.MaskedSide.forward

    def forward(self, params, batch, *more):
        return right(self, params, batch._replace(weights_BT=jnp.roll(batch.weights_BT, 1, axis=1)), *more)

    with patch.object(masked_model.MaskedSide, "forward", forward):
        yield models


EMBEDDED = ("activations", "source embedding")

MARIAN_FAULTS = (
    Fault(
        "source mask not applied in cross-attention",
        replacing(translation, "attend", _padding_attended),
        ("activations", "decoder block 1, after attention to the source"),
    ),
    Fault("causal mask missing", changing(_sees_the_future), ("activations", "decoder block 1, after attention")),
    Fault("sinusoid halves exchanged", replacing(translation, "sinusoids", _cosines_first), EMBEDDED),
    Fault("embedding not scaled by √D", replacing(translation, "embed", _unscaled), EMBEDDED),
    Fault("pre-norm where post-norm", changing(_pre_norm), ("activations", "encoder block 1, after attention")),
)
BERT_FAULTS = (
    Fault(
        "padding attended",
        replacing(encoder, "attend", _padding_attended),
        ("activations", "block 1, after attention"),
    ),
    Fault("mask of the loss shifted", _masks_shifted, ("activations", "mean loss")),
    Fault("pre-norm where post-norm", _other_settings(norm="pre"), ("activations", "embedding")),
)
