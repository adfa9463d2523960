"""Section 4: one AdamW step against `torch.optim.AdamW`, with clipping and a decay mask.

From identical gradients, parameters and both moments must agree up to rounding. Each side decides by its own rule which
tensors decay: ours by dimension letters, PyTorch's by the usual one, tensors of two or more dimensions (in
transformers' layout the qkv bias has one). The clipping threshold is half the gradient's norm, so that clipping takes
effect. PyTorch adds 1e-6 to the norm that it divides by and optax does not: a relative difference of 1e-6/norm in the
moments.

PyTorch's float32 norm on a CPU loses squares that are small compared with their running sum: it is off by 2e-4 for six
million numbers and by 3e-3 for GPT-2's embedding. The norm has a row of its own; the steps clip by a norm that is
summed in float64.

From each side's own gradients the first step is not a smooth function: m/√v is g/|g|, the gradient's sign. Where
rounding decides the sign, two correct implementations step in opposite directions, 2·lr apart. These rows are shown
because everyone who compares trained weights meets them. Their yardstick goes through the same step, so it contains
such flips too.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
import torch

from llm_jax.models import decoder
from train.optim.config import OptimizerConfig
from train.optim.optimizer import make_optimizer
from train.parity.compare import Tensors, Theirs, compare, gather
from train.parity.rounding import FLOAT32
from train.parity.stages.models_compared import ModelsCompared, Ours
from train.parity.verdict import Row
from train.pretrain.step import TrainState, make_train_step

STEP = "AdamW step"
NORM = "gradient norm"


def given_step_rows(models: ModelsCompared, gradients: decoder.Decoder, config: OptimizerConfig) -> list[Row]:
    """Rows of one step from the same gradients on both sides: the norm, parameters and moments, always in float32."""
    ours = _our_given_step(models.ours, gradients, config)
    given = {name: torch.tensor(x) for name, x in models.ours.to_hf(gradients).items()}
    rows = {NORM: compare(STEP, {NORM: ours[NORM]}, gather(Theirs(_Tensors(given), _their_norm), FLOAT32))[0]}
    # Block by block: parameters and moments of a whole model, copied twice in float64, would fill the memory.
    trained = {name: one for name, one in models.theirs.named_parameters() if one.requires_grad}
    for part in _parts(trained):
        evaluate = partial(_their_given_step, given=given, ours=models.ours, config=config)
        gathered = gather(Theirs(_Tensors(part), evaluate), FLOAT32)
        rows |= {row.name: row for row in compare(STEP, {name: ours[name] for name in gathered.theirs}, gathered)}
    return [rows[name] for name in ours]


class _Tensors(torch.nn.Module):
    """Named tensors as a module's parameters, so that `gather` can copy and cast them, and an optimizer step them."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.names = list(tensors)
        self.tensors = torch.nn.ParameterList(tensors.values())

    def named(self) -> dict[str, torch.Tensor]:
        return dict(zip(self.names, self.tensors, strict=True))


def _parts(parameters: Mapping[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """Parameters grouped by module: each block, each embedding, the final norm."""
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in parameters.items():
        prefix = re.sub(r"^\w+\.((\w+\.)?(h|layers?)\.\d+|[^.]+)\..*", r"\1", name)
        parts.setdefault(prefix, {})[name] = tensor
    return list(parts.values())


def _our_given_step(ours: Ours, gradients: decoder.Decoder, config: OptimizerConfig) -> dict[str, Any]:
    optimizer = make_optimizer(config, ours.letters)

    @jax.jit
    def run(params: Any, gradients: Any):
        direction, moments = optimizer.update(gradients, optimizer.init(params), params)
        params = jax.tree.map(lambda p, d: p - config.learning_rate * d, params, direction)
        return optax.tree_utils.tree_norm(gradients), params, moments

    norm, params, moments = run(ours.params, gradients)
    first, second = (optax.tree_utils.tree_get(moments, name) for name in ("mu", "nu"))
    params, first, second = map(ours.to_hf, (params, first, second))
    return {NORM: norm} | _named(params, first, second, ours)


class Training(NamedTuple):
    """The training step of `train pretrain`, compiled once for all sections that train."""

    start: Callable[[decoder.Decoder], TrainState]  # copies the parameters into a new state
    step: Callable[..., tuple[TrainState, Any]]  # state (donated), batch, learning rate → state, measured.loss


def our_training(ours: Ours, config: OptimizerConfig) -> Training:
    """Our training step for this config. JAX compiles it at the first call."""
    optimizer = make_optimizer(config, decoder.dimension_letters(ours.config))

    def start(params: decoder.Decoder) -> TrainState:
        params = jax.tree.map(jnp.copy, params)
        return TrainState(
            params=params,
            optimizer=optimizer.init(cast(Any, params)),
            step=jnp.zeros((), jnp.int32),
            skipped=jnp.zeros((), jnp.int32),
            key=jax.random.key(0),
        )

    return Training(
        start, jax.jit(make_train_step(ours.config, ours.plan, optimizer, micro_batches=1), donate_argnums=0)
    )


def our_own_step(ours: Ours, training: Training, tokens_BT: Any, learning_rate: float) -> dict[str, Any]:
    """Our parameters after one training step."""
    state, _ = training.step(
        training.start(ours.params), jax.tree.map(jnp.asarray, tokens_BT), jnp.float32(learning_rate)
    )
    return _stepped(ours.to_hf(state.params), ours)


def _their_given_step(
    part: _Tensors, given: Mapping[str, torch.Tensor], ours: Ours, config: OptimizerConfig
) -> dict[str, Any]:
    for name, parameter in part.named().items():
        parameter.grad = given[name].to(parameter, copy=True)  # clipping scales it in place
    optimizer = their_optimizer(part, config)
    clip(part, config.clip_norm, given.values())
    optimizer.step()
    moments = {name: optimizer.state[parameter] for name, parameter in part.named().items()}
    first, second = ({name: m[key] for name, m in moments.items()} for key in ("exp_avg", "exp_avg_sq"))
    return _named(part.named(), first, second, ours)


def _their_norm(gradients: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {NORM: torch.nn.utils.get_total_norm([p.detach() for p in gradients.parameters()], foreach=False)}


def their_own_step(model: torch.nn.Module, ours: Ours, config: OptimizerConfig) -> dict[str, Any]:
    """PyTorch's parameters after one step from the gradients that the model holds. The gradients are set to None."""
    clip(model, config.clip_norm)
    for parameter in model.parameters():  # one at a time, to free its moments and gradient before the next
        their_optimizer(_Tensors({"": parameter}), config).step()
        parameter.grad = None
    return _stepped(dict(model.named_parameters()), ours)


def their_optimizer(model: torch.nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW with two groups: matrices decay, vectors do not.

    `foreach` is off, so that `Rounding` sees the operations of each tensor.
    """
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    betas = (config.beta_1, config.beta_2)
    return torch.optim.AdamW(groups, config.learning_rate, betas, config.adam_epsilon, foreach=False)


def clip(model: torch.nn.Module, max_norm: float, gradients: Iterable[torch.Tensor] | None = None) -> None:
    """`clip_grad_norm_`, with the norm summed in float64: of `gradients`, or else of the model's own."""
    parameters = [p for p in model.parameters() if p.grad is not None]
    gradients = gradients or [p.grad for p in parameters if p.grad is not None]
    norms = torch.stack([torch.linalg.vector_norm(g, dtype=torch.float64) for g in gradients])
    norm = torch.linalg.vector_norm(norms).to(parameters[0])
    torch.nn.utils.clip_grads_with_norm_(parameters, max_norm, norm, foreach=False)


def _named(params: Tensors, first: Tensors, second: Tensors, ours: Ours) -> dict[str, Any]:
    named = ours.by_parameter(params)
    named |= {f"{name}: first moment": value for name, value in ours.by_parameter(first).items()}
    return named | {f"{name}: second moment": value for name, value in ours.by_parameter(second).items()}


def _stepped(params: Tensors, ours: Ours) -> dict[str, Any]:
    return {f"{name}: stepped": value for name, value in ours.by_parameter(params).items()}
