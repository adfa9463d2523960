"""Sections 2 and 3: the residual stream after every half block, logits and loss; the gradient of every parameter.

Our gradient is taken twice: over the whole batch, and accumulated over two micro-batches as the training step does.
PyTorch's is taken over the whole batch, so an accumulation that forgets to divide by two is seen.

The key third of the qkv bias has a row of its own. It adds q·b to all scores of a query, and softmax does not change
under such a shift, so its true gradient is zero. What either model reports is rounding error, and is judged by its
absolute size.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.nn import functional as F

from llm_jax.inspect import recorder
from llm_jax.layers.loss import token_losses
from llm_jax.models import decoder
from llm_jax.shapes import Array, Int
from train.parity.stages.models_compared import Ours, by_parameter
from train.pretrain.step import accumulate_gradients

MICRO_BATCHES = 2

# Modules to hook: the embedding; for each block its second norm (whose input is compared) and the block; the last norm.
Places = tuple[torch.nn.Module, list[tuple[torch.nn.Module, torch.nn.Module]], torch.nn.Module]


def our_activations(ours: Ours, tokens_BT: np.ndarray) -> dict[str, Array]:
    """Residual streams by the recorder's names, then final norm, logits, the loss of each token and the mean loss."""
    names: list[str] = []  # in the order of the computation; a dictionary returned from jit would be sorted by key

    @jax.jit
    def run(params: decoder.Decoder, tokens_BT: Int[Array, "B T+1"]):
        streams, watch = recorder()
        cast = decoder.cast(params, ours.config, ours.plan)
        hidden_BTD, _ = decoder.forward(cast, tokens_BT[:, :-1], ours.config, ours.plan, watch=watch)
        losses_BT = token_losses(hidden_BTD, cast.head_VD, tokens_BT[:, 1:], ours.config.vocab_size)
        total, weight = decoder.loss(cast, tokens_BT[:, :-1], tokens_BT[:, 1:], ours.config, ours.plan)
        logits_BTV = decoder.logits(cast, hidden_BTD, ours.config, ours.plan)
        names[:] = streams
        return list(streams.values()), (hidden_BTD, logits_BTV, losses_BT, total / weight)

    streams, rest = run(ours.params, jnp.asarray(tokens_BT))
    named = dict(zip(names, streams, strict=True))
    return named | dict(zip(("final norm", "logits", "loss of each token", "mean loss"), rest, strict=True))


def our_gradients(ours: Ours, tokens_BT: np.ndarray, micro_batches: int = 1) -> decoder.Decoder:
    """Gradients as the training step computes them."""

    @jax.jit
    def run(params: decoder.Decoder, tokens_BT: Int[Array, "B T+1"]):
        tokens_ABT = tokens_BT.reshape(-1, micro_batches, tokens_BT.shape[-1]).swapaxes(0, 1)
        return accumulate_gradients(params, tokens_ABT, ours.config, ours.plan)[1]

    return run(ours.params, jnp.asarray(tokens_BT))


def their_pass(model: Any, tokens_BT: np.ndarray, ours: Ours) -> dict[str, Any]:
    """PyTorch's activations (read by hooks) and gradients, under the names of `our_activations` and `by_parameter`.

    The model keeps its gradients; those returned are copies.
    """
    activations: dict[str, torch.Tensor] = {}
    places = _gpt2_places if hasattr(model, "transformer") else _llama_places
    embedding, blocks, norm = places(model)
    hooks = [_record(activations, "embedding", embedding)]
    for number, (norm_2, block) in enumerate(blocks, 1):
        hooks.append(_record(activations, f"block {number}, after attention", norm_2, its_input=True))
        hooks.append(_record(activations, f"block {number}, after MLP", block))
    hooks.append(_record(activations, "final norm", norm))
    logits, losses = their_losses(model, tokens_BT)
    for hook in hooks:
        hook.remove()
    losses.mean().backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    activations |= {"logits": logits, "loss of each token": losses, "mean loss": losses.mean()}
    return {**activations, **by_parameter(gradients, ours.config)}


def their_losses(model: torch.nn.Module, tokens_BT: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (B, T, V) and the cross-entropy of each token (B, T). The latter is computed in float32 or float64."""
    ids = torch.as_tensor(tokens_BT, device=next(model.parameters()).device).long()
    logits = model(ids[:, :-1], use_cache=False).logits
    wide = logits.float() if logits.dtype == torch.bfloat16 else logits
    losses = F.cross_entropy(wide.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return logits, losses.view(ids[:, 1:].shape)


def _gpt2_places(model: Any) -> Places:
    inner = model.transformer
    return inner.drop, [(block.ln_2, block) for block in inner.h], inner.ln_f


def _llama_places(model: Any) -> Places:
    """For Llama's class and those with the same layout: Mistral, Qwen."""
    inner = model.model
    return inner.embed_tokens, [(block.post_attention_layernorm, block) for block in inner.layers], inner.norm


def _record(activations: dict[str, Any], name: str, module: torch.nn.Module, its_input: bool = False):
    """Hooks a module so that its output (or its input) is stored under `name` when the model runs."""
    if its_input:
        return module.register_forward_pre_hook(lambda _, inputs: activations.__setitem__(name, inputs[0]))
    return module.register_forward_hook(lambda _, inputs, out: activations.update({name: out}))
