"""Sections 2 and 3: the residual stream after every half block, logits and loss; the gradient of every parameter.

The gradient is taken twice on our side: of the batch at once, and accumulated over two micro-batches as the training
step does. Theirs is of the batch at once, so an accumulation that forgets to divide by their number is twice too large.

The key third of the qkv bias has a row of its own. It adds q·b to all scores of a query alike, softmax ignores such a
shift, so its true gradient is zero: what either side reports there is rounding, and is judged by its absolute size.
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

# Modules whose outputs are compared: the embedding; each block's second norm (whose input is) and the block; last norm.
Places = tuple[torch.nn.Module, list[tuple[torch.nn.Module, torch.nn.Module]], torch.nn.Module]


def our_activations(ours: Ours, tokens_BT: np.ndarray) -> dict[str, Array]:
    """Residual streams, by the names under which the model is watched; final norm, logits and losses."""
    names: list[str] = []  # in the order of the computation: jit would sort the keys of a dictionary

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
    """The training step's gradients."""

    @jax.jit
    def run(params: decoder.Decoder, tokens_BT: Int[Array, "B T+1"]):
        tokens_ABT = tokens_BT.reshape(-1, micro_batches, tokens_BT.shape[-1]).swapaxes(0, 1)
        return accumulate_gradients(params, tokens_ABT, ours.config, ours.plan)[1]

    return run(ours.params, jnp.asarray(tokens_BT))


def their_pass(model: Any, tokens_BT: np.ndarray, ours: Ours) -> dict[str, Any]:
    """The same names from their model: activations by hooks, gradients (the model keeps its own) by parameter."""
    found: dict[str, torch.Tensor] = {}
    places = _gpt2_places if hasattr(model, "transformer") else _llama_places
    embedding, blocks, norm = places(model)
    hooks = [_keep(found, "embedding", embedding)]
    for number, (norm_2, block) in enumerate(blocks, 1):
        hooks.append(_keep(found, f"block {number}, after attention", norm_2, its_input=True))
        hooks.append(_keep(found, f"block {number}, after MLP", block))
    hooks.append(_keep(found, "final norm", norm))
    logits, losses = their_losses(model, tokens_BT)
    for hook in hooks:
        hook.remove()
    losses.mean().backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    found |= {"logits": logits, "loss of each token": losses, "mean loss": losses.mean()}
    return {**found, **by_parameter(gradients, ours.config)}


def their_losses(model: torch.nn.Module, tokens_BT: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and the cross-entropy of each token; in float32 at least, as transformers takes it."""
    ids = torch.as_tensor(tokens_BT, device=next(model.parameters()).device).long()
    logits = model(ids[:, :-1], use_cache=False).logits
    wide = logits.float() if logits.dtype == torch.bfloat16 else logits
    losses = F.cross_entropy(wide.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return logits, losses.view(ids[:, 1:].shape)


def _gpt2_places(model: Any) -> Places:
    inner = model.transformer
    return inner.drop, [(block.ln_2, block) for block in inner.h], inner.ln_f


def _llama_places(model: Any) -> Places:
    """Those of Llama's class and of those built after it: Mistral, Qwen."""
    inner = model.model
    return inner.embed_tokens, [(block.post_attention_layernorm, block) for block in inner.layers], inner.norm


def _keep(found: dict[str, Any], name: str, module: torch.nn.Module, its_input: bool = False):
    """Writes a module's output (or its input) under `name` when the model runs."""
    if its_input:
        return module.register_forward_pre_hook(lambda _, inputs: found.__setitem__(name, inputs[0]))
    return module.register_forward_hook(lambda _, inputs, out: found.update({name: out}))
