"""AdamW or Muon over a tree of parameters, told by dimension letters which leaf is a matrix.

The transformations return a *direction*; the step multiplies it by −lr, which is a function of the step alone. So the
learning rate that is logged is the one that was applied, and a skipped step does not shift the schedule.

AdamW (Loshchilov & Hutter 2019): weight decay, decoupled, on matrices only. Muon (Jordan et al. 2024) orthogonalises
the momentum of the hidden matrices; embeddings, biases and gains stay with AdamW. Muon's update is scaled to the root
mean square of an AdamW update (Liu et al. 2025, eq. 4), so one learning rate serves both.

Rank cannot tell a matrix: qkv's bias has two dimensions and a stacked gain too. Letters can: a matrix maps the residual
stream to or from something, so its letters hold D and another one (L, the stack, and A do not count).
"""

import math
from typing import Any, cast

import jax
import optax
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from train.optimizer_config import OptimizerConfig, ScheduleConfig

MUON_RMS = 0.2  # an AdamW update's typical root mean square (Liu et al. 2025, §2.2)


def learning_rate(config: ScheduleConfig, peak: float, total_steps: int, step: int) -> float:
    """The rate applied at `step`, counted from 0; warm-up reaches the peak at step `warmup_steps`."""
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


def is_matrix(letters: str) -> bool:
    """Whether these dimension letters are those of a matrix from or to the residual stream."""
    kept = set(letters) - {"L", "A"}
    return "D" in kept and len(kept) > 1


def is_hidden_matrix(letters: str) -> bool:
    """A matrix between hidden features: not the embedding of a vocabulary or of positions."""
    return is_matrix(letters) and not set(letters) & {"V", "P"}


def make_optimizer(config: OptimizerConfig, letters: Any) -> optax.GradientTransformation:
    """Gradients → direction (to be multiplied by −lr). `letters`: a tree of dimension letters."""
    adam = optax.scale_by_adam(b1=config.beta_1, b2=config.beta_2, eps=config.adam_epsilon)
    if config.optimizer == "muon":
        muon = optax.chain(
            scale_by_muon(
                beta=config.muon_momentum, weight_dimension_numbers=lambda updates: _muon_axes(updates, letters)
            ),
            _scale_to_adam_rms(letters),
        )
        labels = jax.tree.map(lambda axes: "muon" if is_hidden_matrix(axes) else "adam", letters)
        direction = optax.partition({"muon": muon, "adam": adam}, labels)
    else:
        direction = adam
    decay = optax.add_decayed_weights(config.weight_decay, mask=jax.tree.map(is_matrix, letters))
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
    return optax.chain(clip, direction, decay)


def muon_dimensions(letters: str) -> MuonDimensionNumbers:
    """Which axes are a matrix's input, which its output; the rest (q, k, v; stacked layers) are separate matrices."""
    width = (letters.index("D"),)
    other = tuple(i for i, letter in enumerate(letters) if letter in "NHF")
    inputs, outputs = (width, other) if width < other else (other, width)
    return MuonDimensionNumbers(reduction_axis=inputs, output_axis=outputs)


def _muon_axes(updates: Any, letters: Any) -> Any:
    """`muon_dimensions` for the leaves Muon sees; a leaf that is AdamW's stays the mask it is."""
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
