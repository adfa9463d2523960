"""Section 1: each operation alone, forward and gradient, against PyTorch's.

Our function is the one that the model calls (an MLP with identity matrices gives its GELU, a model without blocks its
embedding), so a fault in a layer is found here, before it reaches the rest of the model. The other side is PyTorch's
function, or is written out as in transformers. The inputs are chosen so that faults show: norms get values as small as
a new model's embeddings, where ε matters; GELU and SiLU get values up to ±6, where GELU's two forms differ.
"""

import dataclasses
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.nn import functional as F
from transformers.activations import ACT2FN, NewGELUActivation

from llm_jax.inspect import recorder
from llm_jax.layers.linear import Linear
from llm_jax.layers.mlp import MLP, mlp
from llm_jax.layers.norm import Norm, RMSNorm
from llm_jax.models import decoder
from train.parity.compare import Gathered, Theirs, compare
from train.parity.stages.attention_operations import attention_operations, rotary, torch_rms_norm
from train.parity.stages.models_compared import ModelsCompared, Ours
from train.parity.stages.operation import Draw, Operation, ours_and_theirs
from train.parity.verdict import Row

SECTION = "operations"
SMALL = 0.03  # standard deviation of a new GPT-2's embeddings: √2·0.02


def operation_rows(
    models: ModelsCompared, tokens_BT: np.ndarray, seed: int, gathered: Callable[[str, Theirs], Gathered]
) -> Iterator[Row]:
    """The rows of every operation, at the model's own shapes.

    Args:
        models: both models.
        tokens_BT: token ids, (B, T + 1).
        seed: seed of the inputs.
        gathered: an operation's name and PyTorch's module → PyTorch's numbers.
    """
    for operation in _operations(models, tokens_BT, np.random.default_rng(seed)):
        ours, theirs = ours_and_theirs(operation, seed)
        yield from compare(SECTION, ours, gathered(operation.name, theirs))


def _operations(models: ModelsCompared, tokens_BT: np.ndarray, rng: np.random.Generator) -> Iterator[Operation]:
    ours = models.ours
    config, plan = ours.config, ours.plan
    batch, length = tokens_BT[:, :-1].shape

    def draw(*shape: int, spread: float = 1.0) -> np.ndarray:
        x = jnp.asarray(spread * rng.normal(size=shape), jnp.float32)
        return np.asarray(x.astype(plan.dtype).astype(jnp.float32))  # exact in the compared format, for both sides

    yield _embedding(ours, tokens_BT[:, :-1], draw)
    yield _norm(models, draw, batch, length)
    if config.gated_mlp:
        yield _gated_mlp(ours, draw, batch, length)
    else:
        yield _activation(ours, draw, batch, length)
    if config.positions == "rotary":
        yield rotary(models, draw, batch, length)
    yield from attention_operations(models, draw, batch, length)
    yield _cross_entropy(ours, tokens_BT[:, 1:], draw)


def _norm(models: ModelsCompared, draw: Draw, batch: int, length: int) -> Operation:
    config, plan = models.ours.config, models.ours.plan
    epsilon, normalise, width = models.their_epsilon, decoder.norm(config, plan), config.d_model
    inputs = {"x": draw(batch, length, width, spread=SMALL), "gain": 1 + draw(width, spread=0.2)}
    if config.norm == "rms":
        return Operation(
            "RMS norm",
            inputs,
            lambda x, gain: normalise(RMSNorm(gain), x.astype(plan.dtype), config.norm_epsilon),
            lambda x, gain: torch_rms_norm(x, gain, epsilon),
        )
    return Operation(
        "layer norm",
        inputs | {"bias": draw(width)},
        lambda x, gain, bias: normalise(Norm(gain, bias), x.astype(plan.dtype), config.norm_epsilon),
        lambda x, gain, bias: F.layer_norm(x, x.shape[-1:], gain, bias, eps=epsilon),
    )


def _activation(ours: Ours, draw: Draw, batch: int, length: int) -> Operation:
    """An MLP whose matrices are identities."""
    config, plan, width = ours.config, ours.plan, ours.config.d_model
    theirs, identity = _torch_activation(config.activation), Linear(jnp.eye(width), jnp.zeros(width))
    return Operation(
        "tanh GELU" if config.activation == "gelu_tanh" else config.activation,
        {"x": draw(batch, length, width, spread=2.0)},
        lambda x: mlp(
            MLP(identity, identity), x.astype(plan.dtype), decoder.activation(config, plan), plan.kernels.linear
        ),
        lambda x: theirs(x),
    )


def _gated_mlp(ours: Ours, draw: Draw, batch: int, length: int) -> Operation:
    """(act(x·gate) ⊙ x·up)·down; x·gate has a standard deviation of 2."""
    config, plan, width, hidden = ours.config, ours.plan, ours.config.d_model, ours.config.d_hidden
    theirs = _torch_activation(config.activation)

    def gated(x: jax.Array, gate: jax.Array, up: jax.Array, down: jax.Array) -> jax.Array:
        layer = MLP(up=Linear(up), down=Linear(down), gate=Linear(gate))
        return mlp(layer, x.astype(plan.dtype), decoder.activation(config, plan), plan.kernels.linear)

    return Operation(
        "SwiGLU" if config.activation == "silu" else f"MLP gated by {config.activation}",
        {
            "x": draw(batch, length, width),
            "gate": draw(width, hidden, spread=2 * width**-0.5),
            "up": draw(width, hidden, spread=width**-0.5),
            "down": draw(hidden, width, spread=hidden**-0.5),
        },
        gated,
        lambda x, gate, up, down: (theirs(x @ gate) * (x @ up)) @ down,
    )


def _torch_activation(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    # The formula of the paper as separate operations; other names of transformers call PyTorch's fused kernel.
    return NewGELUActivation() if name == "gelu_tanh" else ACT2FN[name]


def _embedding(ours: Ours, tokens_BT: np.ndarray, draw: Draw) -> Operation:
    """Token embedding plus learned positions, if any: what a model without blocks passes to its final norm."""
    config = ours.config

    def embed(token: jax.Array, position: jax.Array | None = None) -> jax.Array:
        params = dataclasses.replace(ours.params, token_embedding=token, position_embedding=position, blocks=())
        recorded, watch = recorder()
        decoder.forward(params, jnp.asarray(tokens_BT), config, ours.plan, watch=watch)
        return recorded["embedding"]

    def torch_embed(token: torch.Tensor, position: torch.Tensor | None = None) -> torch.Tensor:
        ids = torch.tensor(tokens_BT, device=token.device)
        embedded = F.embedding(ids, token)
        if position is None:
            return embedded
        return embedded + F.embedding(torch.arange(ids.shape[1], device=token.device), position)

    inputs = {"token": draw(config.vocab_size, config.d_model, spread=0.02)}
    if config.n_positions:
        inputs["position"] = draw(config.n_positions, config.d_model, spread=0.02)
    return Operation("embedding", inputs, embed, torch_embed)


def _cross_entropy(ours: Ours, targets_BT: np.ndarray, draw: Draw) -> Operation:
    """The mean over all tokens. Our kernel computes its gradient in the forward pass, slice by slice."""
    config, plan = ours.config, ours.plan
    targets, ones_BT = jnp.asarray(targets_BT), jnp.ones(targets_BT.shape)

    def mean(hidden: jax.Array, head: jax.Array) -> jax.Array:
        hidden, chunks = hidden.astype(plan.dtype), plan.execution.loss_chunks
        padded = jnp.pad(head, ((0, config.padded_vocab_size - config.vocab_size), (0, 0)))
        total, weight = plan.kernels.cross_entropy(hidden, padded, targets, ones_BT, config.vocab_size, chunks)
        return total / weight

    def torch_mean(hidden: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
        logits = F.linear(hidden, head).flatten(0, 1)
        # Mixed precision computes the loss in float32, whatever format the logits have.
        logits = logits.float() if logits.dtype == torch.bfloat16 else logits
        return F.cross_entropy(logits, torch.as_tensor(targets_BT, device=head.device).long().flatten())

    hidden = draw(*targets_BT.shape, config.d_model)
    return Operation(
        "cross-entropy",
        {"hidden": hidden, "head": draw(config.vocab_size, config.d_model, spread=0.1)},
        mean,
        torch_mean,
    )
