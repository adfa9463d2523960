"""Faults that only a model with Llama's parts can have, planted in a tiny one. `planted` prints their figures."""

import contextlib
import dataclasses
from collections.abc import Iterator
from unittest.mock import patch

import jax.numpy as jnp
from planting import AFTER_ATTENTION, AFTER_MLP, Fault, changing, computing, replacing

from llm_jax.config import llama
from llm_jax.models import decoder
from train.parity.stages import operations
from train.parity.stages.models_compared import ModelsCompared

# Heads that share keys and values, another number of them than they are, and widths that differ from one another.
LLAMA = llama(vocab_size=211, context_length=48, d_model=32, n_heads=4, n_kv_heads=2, n_layers=1, mlp_width=48)


def _other_settings(**fields):
    return changing(lambda ours: dataclasses.replace(ours, config=dataclasses.replace(ours.config, **fields)))


def _positions_from_one(rotation, config, positions):
    return rotation(config, positions + 1)


def _neighbours(_, x, by):
    """Pairs dimensions 2i and 2i + 1, as the paper writes it and as files of other programs are stored."""
    cos, sin = (c[..., None, :] for c in (by.cos, by.sin))
    even, odd = x[..., ::2], x[..., 1::2]
    return jnp.stack([even * cos - odd * sin, odd * cos + even * sin], axis=-1).reshape(x.shape).astype(x.dtype)


def _every_other_head(causal_attend, q, k, v):
    """Head i of the queries takes head i % K of the keys instead of i // (N/K)."""
    shared = q.shape[2] // k.shape[2]
    return causal_attend(q, *(jnp.tile(x, (1, 1, shared, 1)) for x in (k, v)))


@contextlib.contextmanager
def _gate_and_up_exchanged(models: ModelsCompared) -> Iterator[ModelsCompared]:
    right = decoder.mlp

    def mlp(layer, *arguments):
        return right(dataclasses.replace(layer, gate=layer.up, up=layer.gate), *arguments)

    with patch.object(decoder, "mlp", mlp), patch.object(operations, "mlp", mlp):
        yield models


ROTARY = ("operations", "rotary positions")

LLAMA_FAULTS = (
    Fault("θ 100,000 instead of 10,000", _other_settings(rotary_theta=100000.0), ROTARY, AFTER_ATTENTION),
    # In the model nothing differs: a score depends on how far query and key are apart.
    Fault("rotary positions from 1", replacing(decoder, "rotation", _positions_from_one), ROTARY),
    Fault("rotary pairs of neighbours", replacing(decoder, "rotate", _neighbours), ROTARY, AFTER_ATTENTION),
    Fault(
        "RMS norm's ε 1e-6 instead of 1e-5",
        _other_settings(norm_epsilon=1e-6),
        ("operations", "RMS norm"),
        AFTER_ATTENTION,
    ),
    Fault(
        "head i of queries with head i % K of keys",
        computing(causal_attend=_every_other_head),
        ("operations", "attention"),
        AFTER_ATTENTION,
    ),
    Fault("gate and up exchanged", _gate_and_up_exchanged, ("operations", "SwiGLU"), AFTER_MLP),
)
