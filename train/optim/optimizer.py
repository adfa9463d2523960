"""AdamW or Muon over a tree of parameters; dimension letters say which leaf is a matrix.

The transformations return a *direction*; the step multiplies it by −lr, which is a function of the step alone. So the
learning rate that is logged is the one that was applied, and a skipped step does not shift the schedule.

AdamW (Loshchilov & Hutter 2019): weight decay, decoupled, on matrices only. Muon (Jordan et al. 2024) orthogonalises
the momentum of the hidden matrices; embeddings, biases and gains stay with AdamW. Muon's update is scaled to the root
mean square of an AdamW update (Liu et al. 2025, eq. 4), so one learning rate serves both.

`update` takes one argument more than optax's: with `finite=False` the state stays as it was.

The number of dimensions does not tell a matrix: the bias of q, k and v has two, and so has a stacked gain. The letters
do: a matrix maps from or to the residual stream, or from or to the rank of an adapter, so it has D or J and at least
one other letter. L (stacked layers) and A (stacked micro-batches) do not count.
"""

import math
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from train.optim.config import OptimizerConfig, ScheduleConfig

MUON_RMS = 0.2  # an AdamW update's typical root mean square (Liu et al. 2025, §2.2)


def learning_rate(config: ScheduleConfig, peak: float, total_steps: int, step: int) -> float:
    """The rate applied at `step`, counted from 0; warm-up reaches the peak at step `warmup_steps`.

    noam is the paper's own: its step s counts from 1 and its peak is at s = warm-up.
    """
    if config.schedule == "noam":
        s, w = step + 1, max(config.warmup_steps, 1)
        return peak * min(s / w, math.sqrt(w / s))
    warmup = (step + 1) / (config.warmup_steps + 1)
    low = config.final_fraction
    after = 1.0
    if config.schedule == "cosine":
        span = max(1, total_steps - 1 - config.warmup_steps)
        progress = min(max((step - config.warmup_steps) / span, 0), 1)
        after = low + (1 - low) * 0.5 * (1 + math.cos(math.pi * progress))
    elif config.schedule == "wsd":
        decay_steps = max(1, round(config.decay_fraction * total_steps))
        after = low + (1 - low) * min((total_steps - step) / decay_steps, 1)
    return peak * min(warmup, after)


def noam_peak(d_model: int, warmup_steps: int) -> float:
    """The highest rate of D^−½·min(s^−½, s·w^−3/2) (Vaswani et al. 2017, eq. 3), reached at s = w: 1/√(D·w)."""
    return (d_model * max(warmup_steps, 1)) ** -0.5


def is_matrix(letters: str) -> bool:
    """Whether these dimension letters are those of a matrix from or to the residual stream, or of an adapter's."""
    kept = [letter for letter in letters if letter not in "LA"]
    return bool({"D", "J"} & set(kept)) and len(kept) > 1  # "DD" is one


def is_hidden_matrix(letters: str) -> bool:
    """A matrix between hidden features: not the embedding of a vocabulary or of positions."""
    return is_matrix(letters) and not set(letters) & {"V", "P"}


def make_optimizer(config: OptimizerConfig, letters: Any) -> optax.GradientTransformationExtraArgs:
    """Gradients → direction (to be multiplied by −lr). `letters`: a tree of dimension letters."""
    adam = scale_by_adam(config.beta_1, config.beta_2, config.adam_epsilon)
    if config.optimizer == "muon":
        muon = optax.chain(
            _keep_unless_finite(
                scale_by_muon(
                    beta=config.muon_momentum, weight_dimension_numbers=lambda updates: _muon_axes(updates, letters)
                )
            ),
            _scale_to_adam_rms(letters),
        )
        labels = jax.tree.map(lambda axes: "muon" if is_hidden_matrix(axes) else "adam", letters)
        direction = optax.partition({"muon": muon, "adam": adam}, labels)
    else:
        direction = adam
    decay = optax.add_decayed_weights(config.weight_decay, mask=jax.tree.map(is_matrix, letters))
    clip = _clip(config.clip_norm) if config.clip_norm else optax.identity()
    return optax.with_extra_args_support(optax.chain(clip, direction, decay))


def scale_by_adam(beta_1: float, beta_2: float, epsilon: float) -> optax.GradientTransformationExtraArgs:
    """Adam's direction (Kingma & Ba 2015, algorithm 1): what optax computes, in an order that XLA can fuse.

    A gradient that is not finite is kept out of the moments first; the direction is computed from the new moments. So
    XLA updates each moment in place, in one pass. Selecting between old and new moments at the end would copy all
    moments, and took 4.6 times as long on a CPU.
    """

    def init(params: Any) -> optax.ScaleByAdamState:
        return optax.ScaleByAdamState(
            count=jnp.zeros((), jnp.int32),
            mu=jax.tree.map(jnp.zeros_like, params),
            nu=jax.tree.map(jnp.zeros_like, params),
        )

    def update(gradients: Any, state: Any, params: Any = None, *, finite: Any = True, **_: Any) -> tuple[Any, Any]:
        count = state.count + jnp.where(finite, 1, 0)
        mu = jax.tree.map(lambda m, g: jnp.where(finite, beta_1 * m + (1 - beta_1) * g, m), state.mu, gradients)
        nu = jax.tree.map(lambda v, g: jnp.where(finite, beta_2 * v + (1 - beta_2) * g * g, v), state.nu, gradients)
        # The bias corrections 1 / (1 − βᵗ) are two numbers. Before the first finite step, t = 0 would give 1/0.
        t = jnp.maximum(count, 1)
        scale_1, scale_2 = 1 / (1 - beta_1**t), 1 / (1 - beta_2**t)
        direction = jax.tree.map(lambda m, v: scale_1 * m / (jnp.sqrt(scale_2 * v) + epsilon), mu, nu)
        return direction, optax.ScaleByAdamState(count=count, mu=mu, nu=nu)

    return optax.GradientTransformationExtraArgs(init, cast(Any, update))


def _clip(largest: float) -> optax.GradientTransformation:
    """Scales the gradient to a global norm of at most `largest`.

    It multiplies by one factor. optax divides every number, and XLA does not replace those divisions.
    """

    def update(gradients: Any, _: Any) -> Any:
        scale = jnp.minimum(1.0, largest / optax.tree_utils.tree_norm(gradients))
        return jax.tree.map(lambda g: g * scale, gradients)

    return optax.stateless(update)


def _keep_unless_finite(inner: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """`inner`, whose state stays as it was with `finite=False`."""

    def update(gradients: Any, state: Any, params: Any = None, *, finite: Any = True, **_: Any) -> tuple[Any, Any]:
        direction, new = inner.update(gradients, state, params)
        return direction, jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, state)

    return optax.GradientTransformationExtraArgs(inner.init, cast(Any, update))


def muon_dimensions(letters: str) -> MuonDimensionNumbers:
    """Which axes are a matrix's input and which its output. Other axes (q, k, v; layers) count separate matrices."""
    width = (letters.index("J" if "J" in letters else "D"),)
    other = tuple(i for i, letter in enumerate(letters) if letter in "NKHFD" and i not in width)
    inputs, outputs = (width, other) if width < other else (other, width)
    return MuonDimensionNumbers(reduction_axis=inputs, output_axis=outputs)


def _muon_axes(updates: Any, letters: Any) -> Any:
    """`muon_dimensions` of Muon's leaves; a leaf of AdamW's is a `MaskedNode` here and stays one."""
    return _map_unmasked(lambda _, axes: muon_dimensions(axes), updates, letters)


def _scale_to_adam_rms(letters: Any) -> optax.GradientTransformation:
    """An orthogonal m×n matrix has root mean square 1/√max(m, n): multiply by 0.2·√max(m, n)."""

    def scale(update, axes):
        dims = muon_dimensions(axes)
        sides = [math.prod(update.shape[i] for i in cast(tuple[int, ...], side)) for side in dims]
        return update * (MUON_RMS * math.sqrt(max(sides)))

    return optax.stateless(lambda updates, _: _map_unmasked(scale, updates, letters))


def _map_unmasked(f, updates: Any, letters: Any) -> Any:
    def is_masked(leaf) -> bool:
        return isinstance(leaf, optax.MaskedNode)

    return jax.tree.map(lambda u, axes: u if is_masked(u) else f(u, axes), updates, letters, is_leaf=is_masked)
