"""Section 1: each operation by itself, forward and gradient, against PyTorch's own.

Ours is the very function the model calls (an MLP with identity matrices is its GELU; a model without blocks is its
embedding), so a fault in a layer is named here, before it has spread. Inputs are drawn where faults show: layer norm
sees values as small as GPT-2's embeddings, where ε counts; GELU sees ±6, where its two forms differ; scores have unit
spread, so a missing 1/√H sharpens the softmax.
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.nn import functional as F
from transformers.activations import ACT2FN, NewGELUActivation

from llm_jax.config import DecoderConfig
from llm_jax.inspect import recorder
from llm_jax.kernels.attention_in_pieces import attend_in_pieces
from llm_jax.layers import cache as kv
from llm_jax.layers.attention import Attention
from llm_jax.layers.linear import Linear
from llm_jax.layers.mlp import MLP, mlp
from llm_jax.layers.norm import Norm
from llm_jax.models import decoder
from train.parity.compare import Gathered, Theirs, compare
from train.parity.stages.models_compared import ModelsCompared, Ours
from train.parity.verdict import Row

SECTION = "operations"
SMALL = 0.03  # spread of a fresh GPT-2's embeddings: √2·0.02


@dataclass(frozen=True)
class Operation:
    """The same function twice, over the same named inputs; every input is differentiated."""

    name: str
    inputs: dict[str, np.ndarray]
    ours: Callable[..., jax.Array]
    theirs: Callable[..., torch.Tensor]


class Inputs(torch.nn.Module):
    """An operation's inputs as parameters, so that they are cast, copied and moved as a model's are."""

    def __init__(self, inputs: dict[str, np.ndarray], cotangent: np.ndarray) -> None:
        super().__init__()
        self.tensors = torch.nn.ParameterDict({name: torch.tensor(value) for name, value in inputs.items()})
        self.cotangent = torch.nn.Buffer(torch.tensor(cotangent))


def operation_rows(
    models: ModelsCompared, tokens_BT: np.ndarray, seed: int, gathered: Callable[[str, Theirs], Gathered]
) -> Iterator[Row]:
    """The rows of every operation, at the model's own shapes. `gathered`: an operation's name and PyTorch's side of
    it → its numbers.
    """
    for operation in _operations(models, tokens_BT, np.random.default_rng(seed)):
        ours, theirs = _ours_and_theirs(operation, seed)
        yield from compare(SECTION, ours, gathered(operation.name, theirs))


def _ours_and_theirs(operation: Operation, seed: int) -> tuple[dict[str, Any], Theirs]:
    """Our output and the gradient of every input for one random cotangent; and how PyTorch computes the same."""
    inputs = {name: jnp.asarray(value) for name, value in operation.inputs.items()}
    shape = jax.eval_shape(lambda given: operation.ours(**given), inputs)
    cotangent = np.random.default_rng(seed + 1).normal(size=shape.shape).astype(np.float32)

    @jax.jit
    def forward_and_gradient(
        given, cotangent
    ):  # arguments both: of constants XLA would make its own interpreter's sums
        out, pull_back = jax.vjp(lambda given: operation.ours(**given), given)
        return out, pull_back(cotangent.astype(out.dtype))[0]

    out, gradients = forward_and_gradient(inputs, jnp.asarray(cotangent))
    ours = {operation.name: out} | {_gradient_name(operation, name): g for name, g in gradients.items()}

    def evaluate(module: Inputs) -> dict[str, torch.Tensor]:
        tensors: dict[str, torch.Tensor] = dict(module.tensors.items())
        out = operation.theirs(**tensors)
        gradients = torch.autograd.grad(out, list(tensors.values()), grad_outputs=module.cotangent.to(out.dtype))
        named = {_gradient_name(operation, name): g for name, g in zip(tensors, gradients, strict=True)}
        return {operation.name: out} | named

    return ours, Theirs(Inputs(operation.inputs, cotangent), evaluate)


def _gradient_name(operation: Operation, name: str) -> str:
    return f"{operation.name}, gradient of {name}"


def _operations(models: ModelsCompared, tokens_BT: np.ndarray, rng: np.random.Generator) -> Iterator[Operation]:
    ours, epsilon = models.ours, models.theirs.config.layer_norm_epsilon
    config, plan, kernels = ours.config, ours.plan, ours.plan.kernels
    batch, length = tokens_BT[:, :-1].shape
    width = config.d_model

    def draw(*shape: int, spread: float = 1.0) -> np.ndarray:
        x = jnp.asarray(spread * rng.normal(size=shape), jnp.float32)
        return np.asarray(x.astype(plan.dtype).astype(jnp.float32))  # both sides start from numbers both can hold

    yield _embedding(ours, tokens_BT[:, :-1], draw)
    yield Operation(
        "layer norm",
        {"x": draw(batch, length, width, spread=SMALL), "gain": 1 + draw(width, spread=0.2), "bias": draw(width)},
        lambda x, gain, bias: kernels.layer_norm(Norm(gain, bias), x.astype(plan.dtype), config.norm_epsilon),
        lambda x, gain, bias: F.layer_norm(x, x.shape[-1:], gain, bias, eps=epsilon),
    )
    # GPT-2's own as the paper writes it: transformers' shorter names compute it by PyTorch's fused kernel.
    activation = NewGELUActivation() if config.activation == "gelu_tanh" else ACT2FN[config.activation]
    identity = Linear(jnp.eye(width), jnp.zeros(width))
    yield Operation(
        "tanh GELU" if config.activation == "gelu_tanh" else config.activation,
        {"x": draw(batch, length, width, spread=2.0)},
        lambda x: mlp(MLP(identity, identity), x.astype(plan.dtype), decoder.activation(config, plan), kernels.linear),
        lambda x: activation(x),
    )
    weights = {
        "x": draw(batch, length, width),
        "qkv": draw(width, 3, config.n_heads, config.d_head, spread=width**-0.5),
        "qkv_bias": draw(3, config.n_heads, config.d_head, spread=0.2),
        "out": draw(config.n_heads, config.d_head, width, spread=width**-0.5),
        "out_bias": draw(width, spread=0.2),
    }
    yield Operation("attention", weights, partial(_attention, config, plan), _torch_attention)
    if plan.attention == "cudnn":
        by_xla = plan._replace(kernels=kernels._replace(causal_attend=attend_in_pieces, projections_apart=None))
        yield Operation("attention by XLA", weights, partial(_attention, config, by_xla), _torch_attention)
    yield Operation("attention with cache", weights, partial(_cached_attention, config, plan), _torch_attention)
    yield _cross_entropy(ours, tokens_BT[:, 1:], draw)


def _embedding(ours: Ours, tokens_BT: np.ndarray, draw: Callable[..., np.ndarray]) -> Operation:
    """Token plus position: what a model without blocks passes to its final norm."""
    config = ours.config

    def embed(token: jax.Array, position: jax.Array) -> jax.Array:
        params = dataclasses.replace(ours.params, token_embedding=token, position_embedding=position, blocks=())
        seen, watch = recorder()
        decoder.forward(params, jnp.asarray(tokens_BT), config, ours.plan, watch=watch)
        return seen["embedding"]

    def torch_embed(token: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        ids = torch.tensor(tokens_BT, device=token.device)
        return F.embedding(ids, token) + F.embedding(torch.arange(ids.shape[1], device=token.device), position)

    token = draw(config.vocab_size, config.d_model, spread=0.02)
    position = draw(config.context_length, config.d_model, spread=0.02)
    return Operation("embedding", {"token": token, "position": position}, embed, torch_embed)


def _cross_entropy(ours: Ours, targets_BT: np.ndarray, draw: Callable[..., np.ndarray]) -> Operation:
    """The mean over all tokens, whose gradient we make in the forward pass, slice by slice."""
    config, plan = ours.config, ours.plan
    targets, ones_BT = jnp.asarray(targets_BT), jnp.ones(targets_BT.shape)

    def mean(hidden: jax.Array, head: jax.Array) -> jax.Array:
        hidden, chunks = hidden.astype(plan.dtype), plan.execution.loss_chunks
        padded = jnp.pad(head, ((0, config.padded_vocab_size - config.vocab_size), (0, 0)))
        total, weight = plan.kernels.cross_entropy(hidden, padded, targets, ones_BT, config.vocab_size, chunks)
        return total / weight

    def torch_mean(hidden: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
        logits = F.linear(hidden, head).flatten(0, 1)
        # Mixed precision takes the loss in float32, whatever the logits are in.
        logits = logits.float() if logits.dtype == torch.bfloat16 else logits
        return F.cross_entropy(logits, torch.as_tensor(targets_BT, device=head.device).long().flatten())

    hidden = draw(*targets_BT.shape, config.d_model)
    return Operation(
        "cross-entropy",
        {"hidden": hidden, "head": draw(config.vocab_size, config.d_model, spread=0.1)},
        mean,
        torch_mean,
    )


def _layer(qkv, qkv_bias, out, out_bias) -> Attention:
    return Attention(qkv=Linear(qkv, qkv_bias), out=Linear(out, out_bias))


def _attention(config: DecoderConfig, plan: decoder.Plan, x, **weights) -> jax.Array:
    return decoder.attention(_layer(**weights), x.astype(plan.dtype), config, plan)[0]


def _cached_attention(config: DecoderConfig, plan: decoder.Plan, x, **weights) -> jax.Array:
    """The first half of the sequence at once, then a token, then the rest: what decoding does, and chunked prefill."""
    batch, length = x.shape[:2]
    cache = kv.empty(1, config.n_heads, config.d_head, batch, length, plan.dtype)
    pieces, start = [], 0
    for end in (length // 2, length // 2 + 1, length):
        cache, window, _ = kv.advance(cache, end - start)
        piece, layer = decoder.attention(
            _layer(**weights), x[:, start:end].astype(plan.dtype), config, plan, cache.layers[0], window
        )
        cache, start = dataclasses.replace(cache, layers=(layer,)), end
        pieces.append(piece)
    return jnp.concatenate(pieces, axis=1)


def _torch_attention(x, qkv, qkv_bias, out, out_bias) -> torch.Tensor:
    """PyTorch's attention, decomposed into its products and softmax so that each of them rounds by itself."""
    q, k, v = ((x @ qkv[:, i].flatten(1) + qkv_bias[i].flatten()).unflatten(-1, qkv.shape[2:]) for i in range(3))
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return mixed.transpose(1, 2).flatten(2) @ out.flatten(0, 1) + out_bias
