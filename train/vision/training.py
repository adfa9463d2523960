"""The training loop of a small model, compiled whole: `lax.scan` over steps, each drawing its own batch.

On a CPU a step of a model this small takes a millisecond or two, and so does calling it from Python. So many steps are
one program; between two calls the loss is shown and Ctrl-C is heard. AdamW, a warm-up, then half a cosine to zero.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from llm_jax.command_line import interrupts
from llm_jax.shapes import Array
from train.vision.data.world import Sample, World

CHUNK = 20  # steps in a call
WARM_UP = 0.1  # share of the steps
CLIP = 1.0  # of the gradient's norm
DECAY = 0.05
Loss = Callable[[Any, Any, Sample, Array], Array]
Progress = Callable[[str, int, int, float], None]  # stage, steps done, steps in all, loss


@dataclass(frozen=True, eq=False)
class Stage:
    """Some parameters trained while others stay.

    `loss(trained, fixed, sample, key)` is the mean loss of a batch.
    """

    name: str
    loss: Loss
    flops: int  # of one example
    rate: float  # largest learning rate

    def steps(self, budget: float, batch: int) -> int:
        """Steps that the budget pays for, in whole calls."""
        return max(1, round(budget / (self.flops * batch * CHUNK))) * CHUNK

    @cached_property
    def _programs(self) -> dict[Any, Any]:
        return {}

    def run(
        self, trained: Any, fixed: Any, world: World, budget: float, batch: int, seed: int, progress: Progress
    ) -> tuple[Any, dict[str, Any]]:
        """The trained parameters, and what is to be said about it.

        Raises ValueError if the loss is no longer finite.
        """
        steps = self.steps(budget, batch)
        optimizer, program = self._program(world, steps, batch)
        state, losses = optimizer.init(trained), []
        trained = jax.tree.map(jnp.array, trained)  # a copy, for the program overwrites its arguments
        for first in range(0, steps, CHUNK):
            interrupts.check()
            trained, state, some = program(trained, state, fixed, world.store, jax.random.key(seed), jnp.int32(first))
            losses += np.asarray(some).tolist()
            if not np.isfinite(losses[-1]):
                raise ValueError(f"{self.name}: the loss is no longer finite after {first + CHUNK} steps: lower --rate")
            progress(self.name, first + CHUNK, steps, float(np.mean(losses[-CHUNK:])))
        used = self.flops * batch * steps
        return trained, {"stage": self.name, "steps": steps, "flops": used, "losses": losses}

    def _program(self, world: World, steps: int, batch: int) -> tuple[optax.GradientTransformation, Any]:
        key = (id(world), steps, batch)
        if key not in self._programs:
            self._programs[key] = self._compiled(world, steps, batch)
        return self._programs[key]

    def _compiled(self, world: World, steps: int, batch: int) -> tuple[optax.GradientTransformation, Any]:
        warm_up = max(1, round(WARM_UP * steps))
        schedule = optax.warmup_cosine_decay_schedule(0.0, self.rate, warm_up, steps)
        optimizer = optax.chain(
            optax.clip_by_global_norm(CLIP), optax.adamw(schedule, b2=0.98, weight_decay=DECAY, mask=_matrices)
        )

        def program(trained: Any, state: Any, fixed: Any, store: Any, key: Array, first: Array):
            def step(carry: tuple[Any, Any], number: Array):
                trained, state = carry
                sample = world.draw(store, key, number * batch, batch)
                of_step = jax.random.fold_in(jax.random.fold_in(key, 1 << 30), number)
                loss, gradient = jax.value_and_grad(self.loss)(trained, fixed, sample, of_step)
                updates, state = optimizer.update(gradient, state, trained)
                return (optax.apply_updates(trained, updates), state), loss

            (trained, state), losses = jax.lax.scan(step, (trained, state), first + jnp.arange(CHUNK))
            return trained, state, losses

        return optimizer, jax.jit(program, donate_argnums=(0, 1))


def _matrices(tree: Any) -> Any:
    """Weight decay is for matrices."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, tree)
