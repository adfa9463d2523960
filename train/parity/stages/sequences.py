"""An encoder or an encoder–decoder against transformers' class: activations, gradients, steps, as for decoders.

What the two have in common: a side (`SequenceSide`) knows its forward pass, its loss, its names, and where PyTorch's
model computes the same activations. `masked_model` and `translation_model` are the two sides. Compared as for decoders,
by the same rule: every activation and gradient, AdamW from the same and from each side's own gradients, the losses of
some training steps. Operations alone and accumulated gradients are compared by the decoders, which call the same layers
and take the same step.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.nn import functional as F

from llm_jax.inspect import recorder
from llm_jax.kernels.plan import Plan
from llm_jax.models.watch import Watch, unwatched
from llm_jax.shapes import Array
from train.optim.config import OptimizerConfig
from train.optim.optimizer import make_optimizer
from train.parity.stages.step import Training
from train.parity.stages.stream import Stream
from train.pretrain.step import TrainState

FIRST_ORDINARY = 4  # ids before it: padding, begin, end, mask

Places = dict[str, tuple[torch.nn.Module, bool]]  # name of an activation → module, and whether its input is meant


class Pass(NamedTuple):
    """What a forward pass ends with."""

    logits_BTV: Any
    losses_BT: Any  # of every position, also where its weight is 0
    mean: Any  # Σ weight·loss / Σ weight


class LossOfStep(NamedTuple):
    loss: Array


@dataclass(frozen=True)
class SequenceSide(ABC):
    """Our model, and what the comparison has to know of both."""

    config: Any
    plan: Plan
    params: Any

    @property
    def n_parameters(self) -> int:
        return sum(leaf.size for leaf in jax.tree.leaves(self.params))

    @property
    @abstractmethod
    def n_layers(self) -> int: ...

    @property
    @abstractmethod
    def letters(self) -> Any:
        """A tree like the parameters, of dimension letters."""

    @abstractmethod
    def to_hf(self, tree: Any) -> dict[str, Any]:
        """A tree like the parameters → transformers' tensors by name."""

    @abstractmethod
    def by_parameter(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """Tensors by transformers' names → by ours."""

    @abstractmethod
    def forward(self, params: Any, batch: Any, watch: Watch = unwatched) -> Pass:
        """Our forward pass, with the loss of training."""

    @abstractmethod
    def their_forward(self, model: Any, batch: Any) -> Pass:
        """PyTorch's."""

    @abstractmethod
    def places(self, model: Any) -> Places:
        """Where PyTorch's model computes the activations that our forward pass shows to `watch`."""

    @abstractmethod
    def stream(self, batch: int, length: int, seed: int) -> Stream:
        """Step → batch, drawn at random."""


def our_activations(side: SequenceSide, batch: Any) -> dict[str, Array]:
    """What `watch` sees, then logits, the loss of each token and the mean loss."""
    names: list[str] = []

    @jax.jit
    def run(params: Any, batch: Any):
        streams, watch = recorder()
        end = side.forward(params, batch, watch)
        names[:] = streams
        return list(streams.values()), end

    streams, end = run(side.params, jax.tree.map(jnp.asarray, batch))
    named = dict(zip(names, streams, strict=True))
    return named | {"logits": end.logits_BTV, "loss of each token": end.losses_BT, "mean loss": end.mean}


def our_gradients(side: SequenceSide, batch: Any) -> Any:
    run = jax.jit(jax.grad(lambda params, batch: side.forward(params, batch).mean))
    return run(side.params, jax.tree.map(jnp.asarray, batch))


def our_training(side: SequenceSide, config: OptimizerConfig) -> Training:
    """A training step of the mean loss by the project's optimizer."""
    optimizer = make_optimizer(config, side.letters)

    def start(params: Any) -> TrainState:
        params = jax.tree.map(jnp.copy, params)
        zero = jnp.zeros((), jnp.int32)
        return TrainState(params, optimizer.init(params), zero, zero, jax.random.key(0))

    @jax.jit
    def step(state: TrainState, batch: Any, rate: Array) -> tuple[TrainState, LossOfStep]:
        given: Any = state.params
        loss, gradients = jax.value_and_grad(lambda params: side.forward(params, batch).mean)(given)
        direction, moments = optimizer.update(gradients, state.optimizer, given)
        params = jax.tree.map(lambda p, d: p - rate * d, given, direction)
        return dataclasses.replace(state, params=params, optimizer=moments), LossOfStep(loss)

    return Training(cast(Any, start), step)


def their_pass(model: Any, batch: Any, side: SequenceSide) -> dict[str, Any]:
    """PyTorch's activations (read by hooks) and gradients, by our names. The model keeps its gradients."""
    activations: dict[str, torch.Tensor] = {}
    hooks = [_hook(activations, name, *place) for name, place in side.places(model).items()]
    end = side.their_forward(model, batch)
    for hook in hooks:
        hook.remove()
    end.mean.backward()
    gradients = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
    activations |= {"logits": end.logits_BTV, "loss of each token": end.losses_BT, "mean loss": end.mean}
    return {**activations, **side.by_parameter(gradients)}


def their_losses(logits: torch.Tensor, targets_BT: np.ndarray, weights_BT: np.ndarray, smoothing: float = 0.0) -> Pass:
    """PyTorch's loss of each position and their weighted mean; in float32 or float64."""
    wide = logits.float() if logits.dtype == torch.bfloat16 else logits
    targets = torch.as_tensor(targets_BT, device=logits.device).long()
    losses = F.cross_entropy(wide.flatten(0, 1), targets.flatten(), reduction="none", label_smoothing=smoothing)
    weights = torch.as_tensor(weights_BT, device=logits.device).to(wide.dtype)
    losses = losses.view(targets.shape)
    return Pass(logits, losses, (losses * weights).sum() / weights.sum())


def ids(seed: int, step: int, shape: tuple[int, int], vocab_size: int) -> np.ndarray:
    """Ordinary ids by Zipf's law; a function of the seed and the step."""
    totals = np.cumsum(1 / np.arange(1, vocab_size - FIRST_ORDINARY + 1))
    uniform = np.random.default_rng((seed, step)).random(shape)
    return (FIRST_ORDINARY + np.searchsorted(totals / totals[-1], uniform)).astype(np.int32)


def lengths(batch: int, length: int) -> np.ndarray:
    """The tokens of each row: all of them, fewer, and fewer still, so that every batch has padding."""
    return np.array([max(3, length - (row % 3) * (length // 3)) for row in range(batch)])


def _hook(activations: dict[str, Any], name: str, module: torch.nn.Module, its_input: bool):
    if its_input:
        return module.register_forward_pre_hook(lambda _, inputs: activations.__setitem__(name, inputs[0]))
    return module.register_forward_hook(lambda _, inputs, out: activations.update({name: out}))
