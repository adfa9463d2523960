"""The batch-norm MLP's gradients from `llm_jax.autodiff.by_hand`, under the parameter names of the JAX model."""

import dataclasses

import numpy as np

from llm_jax.autodiff.by_hand.batch_norm_mlp import Parameters, loss_and_gradients
from llm_jax.models.makemore.mlp import CharacterMLP
from train.first_principles.makemore.dataset.examples import Examples


def gradients(params: CharacterMLP, batch: Examples) -> tuple[float, CharacterMLP]:
    """Loss and gradients, without JAX. Raises ValueError for a model without batch norm, which is not derived here."""
    if params.norm is None:
        raise ValueError("gradients by hand are derived for mlp-batchnorm; this model has no batch norm")
    weight_TED = np.asarray(params.hidden.weight)
    arrays = Parameters(
        table_VE=np.asarray(params.embedding),
        w_ID=weight_TED.reshape(-1, weight_TED.shape[-1]),
        b_D=np.asarray(params.hidden.bias),
        gain_D=np.asarray(params.norm.gain),
        bias_D=np.asarray(params.norm.bias),
        u_DV=np.asarray(params.out.weight),
        c_V=np.asarray(params.out.bias),
    )
    loss, found = loss_and_gradients(arrays, batch.inputs, batch.targets)
    return loss, dataclasses.replace(
        params,
        embedding=found.table_VE,
        hidden=dataclasses.replace(params.hidden, weight=found.w_ID.reshape(weight_TED.shape), bias=found.b_D),
        norm=dataclasses.replace(params.norm, gain=found.gain_D, bias=found.bias_D),
        out=dataclasses.replace(params.out, weight=found.u_DV, bias=found.c_V),
    )
