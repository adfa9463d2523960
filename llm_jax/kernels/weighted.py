"""A loss computed at the positions that have a weight, and at no others.

In fine-tuning only an answer's positions have a weight, but the formula multiplies every position by the whole
vocabulary: a fifth of all products of SmolLM2. How many positions have a weight is known only when the batch is known.
So a program is compiled for each of a few shares of the positions, and the device runs the smallest one that suffices.

LoRA of SmolLM2 on instructions, four rows a step: 170 → 213 tokens a second (two cores of an AMD EPYC whose units for
AVX-512 are half as wide as others', float32, `benchmarks/finetune.py`).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from llm_jax.shapes import Array, Float, Int

EIGHTHS = (1, 2, 3, 4, 6)  # of the positions; one more program takes all
Loss = Callable[[Array, Array, Array, Array], Array]


def total_of_weighted(
    loss: Loss,
    hidden_BTD: Float[Array, "B T D"],
    head_VD: Float[Array, "V D"],
    targets_BT: Int[Array, "B T"],
    weights_BT: Float[Array, "B T"],
) -> Float[Array, ""]:
    """`loss(hidden, head, targets, weights)`, a sum over positions, of the positions with a weight alone.

    `loss` gets one row of K positions, hidden states [1, K, D]. Its gradients are computed with its value.
    """
    hidden_1RD, targets_1R, weights_1R = (x.reshape(1, -1, *x.shape[2:]) for x in (hidden_BTD, targets_BT, weights_BT))

    @jax.custom_vjp
    def total(hidden_1RD: Array, head_VD: Array) -> Array:
        return _smallest(lambda hidden, *rest: loss(hidden, head_VD, *rest), hidden_1RD, targets_1R, weights_1R)

    def forward(hidden_1RD: Array, head_VD: Array) -> tuple[Array, tuple[Array, Array]]:
        def of_rows(hidden_1KD: Array, targets_1K: Array, weights_1K: Array) -> tuple[Array, Array, Array]:
            of_both = jax.value_and_grad(loss, argnums=(0, 1))
            value, (d_hidden, d_head) = of_both(hidden_1KD, head_VD, targets_1K, weights_1K)
            return value, d_hidden, d_head

        value, d_hidden_1RD, d_head_VD = _smallest(of_rows, hidden_1RD, targets_1R, weights_1R, put_back=1)
        return value, (d_hidden_1RD, d_head_VD)

    def backward(gradients: tuple[Array, Array], d_total: Array) -> tuple[Array, ...]:
        return tuple((d_total * gradient).astype(gradient.dtype) for gradient in gradients)

    total.defvjp(forward, backward)
    return total(hidden_1RD, head_VD)


def sums_of_weighted(
    losses: Loss,
    hidden_BTD: Float[Array, "B T D"],
    head_VD: Float[Array, "V D"],
    targets_BT: Int[Array, "B T"],
    weights_BT: Float[Array, "B T"],
) -> Float[Array, "B"]:
    """`losses(hidden, head, targets, weights)`, a sum for each row, of the positions with a weight alone.

    The backward pass computes the logits again: a row's gradient is scaled by a factor that is known only then.
    """

    @jax.custom_vjp
    def sums(hidden_BTD: Array, head_VD: Array) -> Array:
        return _smallest(lambda hidden, *rest: losses(hidden, head_VD, *rest), hidden_BTD, targets_BT, weights_BT)

    def backward(saved: tuple[Array, Array], d_sums_B: Array) -> tuple[Array, Array]:
        hidden_BTD, head_VD = saved

        def of_rows(hidden_BKD: Array, targets_BK: Array, weights_BK: Array) -> tuple[Array, Array]:
            _, pull = jax.vjp(lambda hidden, head: losses(hidden, head, targets_BK, weights_BK), hidden_BKD, head_VD)
            return pull(d_sums_B)

        return _smallest(of_rows, hidden_BTD, targets_BT, weights_BT, put_back=0)

    sums.defvjp(lambda *saved: (sums(*saved), saved), backward)
    return sums(hidden_BTD, head_VD)


def _smallest(
    function: Callable[..., Any], hidden_BTD: Array, targets_BT: Array, weights_BT: Array, put_back: int | None = None
) -> Any:
    """`function(hidden, targets, weights)` of each row's K first positions that have a weight, K as small as possible.

    `put_back`: which output is like the hidden states. It is written to the places they came from; the others get 0.
    """
    length = weights_BT.shape[1]
    sizes = sorted({-(-length * share // 8) for share in EIGHTHS} | {length})
    has_none_BT = weights_BT == 0
    order_BT = jnp.argsort(has_none_BT, axis=1, stable=True)
    rows_B1 = jnp.arange(len(order_BT))[:, None]

    def of_first(size: int) -> Callable[[Array], Any]:
        def run(hidden_BTD: Array) -> Any:
            if size == length:
                return function(hidden_BTD, targets_BT, weights_BT)
            at_BK = order_BT[:, :size]
            found = function(*(x[rows_B1, at_BK] for x in (hidden_BTD, targets_BT, weights_BT)))
            if put_back is None:
                return found
            whole_BTD = jnp.zeros_like(hidden_BTD).at[rows_B1, at_BK].set(found[put_back])
            return *found[:put_back], whole_BTD, *found[put_back + 1 :]

        return run

    most = (length - has_none_BT.sum(axis=1)).max()
    return jax.lax.switch(jnp.searchsorted(jnp.array(sizes), most), [of_first(size) for size in sizes], hidden_BTD)
