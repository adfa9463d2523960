"""The losses of fine-tuning, each as (Σ weight·loss, Σ weight): a step divides once, after all sums are complete.

    next tokens   −log p(y_t | y_<t) of the trained tokens; a token weighs 1
    preferences   DPO (Rafailov et al. 2023, eq. 7) or IPO (Azar et al. 2023, eq. 17) of pairs; a pair weighs 1
    classes       cross-entropy of a linear head on the last real token's hidden state; an example weighs 1

With ρ = log π(y|x) − log π_ref(y|x), a sum over the answer's tokens, and h = ρ(chosen) − ρ(rejected):

    DPO   −log σ(β·h)        IPO   (h − 1/(2β))²
    the further term   w·(−log π(chosen)/tokens)   (RPO: Pang et al. 2024, eq. 3)

TRL averages IPO's log-probabilities over tokens; the paper sums them, and so does this. Rewards are β·ρ.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from llm_jax.layers.linear import Linear
from llm_jax.layers.loss import counted, log_probability, token_losses
from llm_jax.models import decoder
from llm_jax.shapes import Array, Float
from train.finetune.config import ObjectiveConfig

Sums = dict[str, Float[Array, ""]]


class Batch(NamedTuple):
    """What a step sees, as arrays of JAX or of NumPy.

    B counts rows; of preferences the first half is chosen, the second rejected, pair by pair.
    """

    tokens_BT: Any  # whole numbers [B, T + 1]
    weights_BT: Any  # float32 [B, T]
    """Of the targets, `tokens_BT[:, 1:]`; 0: not trained. Of a classifier: 1 at the last real token's place, else 0."""
    segments_BT: Any = None  # whole numbers [B, T]
    """Packed rows: which example each input belongs to."""
    reference_B: Any = None  # float32 [B]
    """Preferences: log-probability of the row's answer under the starting parameters."""
    labels_B: Any = None  # whole numbers [B]
    """Classes: the number of the row's class."""


class Objective(NamedTuple):
    """One task's loss, hashable for `jit`."""

    sums: Callable[..., tuple[Float[Array, ""], Sums]]
    """(decoder, head, batch, model, plan) → Σ weight·loss and further sums, by name of the metric."""
    weight: Callable[..., Float[Array, ""]]
    """(batch, model) → Σ weight."""
    groups: int = 1
    """Parts of the batch whose rows belong together: row i of every part stays in one micro-batch."""
    unit: str = "nats per token"
    measured: Callable[..., tuple[Float[Array, ""], dict[str, Array]]] | None = None
    """As `sums`, with what only an evaluation needs; None: `sums`."""


def objective(task: str, config: ObjectiveConfig) -> Objective:
    """The objective of a task."""
    if task == "dpo":
        unit = "nats per pair" if config.preference == "dpo" else "per pair"
        return Objective(partial(preferences, config=config), pairs, groups=2, unit=unit)
    if task == "classify":
        return Objective(classes, examples, unit="nats per example", measured=classes_confused)
    return Objective(next_tokens, targets)


def next_tokens(
    params: decoder.Decoder, head: Linear | None, batch: Batch, model: Any, plan: decoder.Plan
) -> tuple[Float[Array, ""], Sums]:
    """Cross-entropy of the trained tokens."""
    hidden_BTD = hidden_states(params, batch, model, plan)
    targets_BT, weights_BT = counted(batch.tokens_BT[:, 1:], batch.weights_BT, model.vocab_size)

    def loss(hidden: Array, head_VD: Array, targets: Array, weights: Array) -> Array:
        chunks = fitting_chunks(plan, hidden.shape[1])
        return plan.kernels.cross_entropy(hidden, head_VD, targets, weights, model.vocab_size, chunks)[0]

    def of_rows(head_VD: Array, hidden_BTD: Array, targets_BT: Array, weights_BT: Array) -> tuple[Array]:
        return (plan.kernels.total_of(loss, hidden_BTD, head_VD, targets_BT, weights_BT),)

    arguments = (params.head_VD, hidden_BTD, targets_BT, weights_BT)
    (total,) = of_rows(*arguments) if plan.constrain is None else plan.constrain.summed(of_rows, *arguments)
    return total, {}


def preferences(
    params: decoder.Decoder,
    head: Linear | None,
    batch: Batch,
    model: Any,
    plan: decoder.Plan,
    config: ObjectiveConfig,
) -> tuple[Float[Array, ""], Sums]:
    """DPO or IPO, with rewards (β included), margin and the share of pairs whose chosen answer has the larger one."""
    assert batch.reference_B is not None
    policy_B = answer_log_probabilities(params, batch, model, plan)
    is_pair_P = is_pair(batch, model)
    rewards_B = config.beta * (policy_B - batch.reference_B)
    chosen_P, rejected_P = jnp.split(rewards_B, 2)
    margin_P = chosen_P - rejected_P
    if config.preference == "ipo":
        losses_P = (margin_P / config.beta - 1 / (2 * config.beta)) ** 2
    else:
        losses_P = -jax.nn.log_sigmoid(margin_P)
    if config.sft_weight:
        tokens_P = jnp.split(batch.weights_BT.sum(axis=1), 2)[0]
        losses_P += config.sft_weight * -jnp.split(policy_B, 2)[0] / jnp.maximum(tokens_P, 1)

    def total(values_P):
        return jnp.where(is_pair_P, values_P, 0).sum()

    return total(losses_P), {
        "reward_chosen": total(chosen_P),
        "reward_rejected": total(rejected_P),
        "reward_margin": total(margin_P),
        "reward_accuracy": total((margin_P > 0).astype(jnp.float32)),
    }


def classes(
    params: decoder.Decoder, head: Linear | None, batch: Batch, model: Any, plan: decoder.Plan
) -> tuple[Float[Array, ""], Sums]:
    """Cross-entropy over the classes, and how many examples are classified correctly."""
    loss, accuracy, _ = _sorted(class_logits(params, head, batch, model, plan), batch)
    return loss, {"accuracy": accuracy}


def classes_confused(
    params: decoder.Decoder, head: Linear | None, batch: Batch, model: Any, plan: decoder.Plan
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Also how many examples of each class (rows) the model takes for each (columns)."""
    loss, accuracy, confusion_CC = _sorted(class_logits(params, head, batch, model, plan), batch)
    return loss, {"accuracy": accuracy, "confusion": confusion_CC}


def _sorted(logits_BC: Float[Array, "B C"], batch: Batch) -> tuple[Float[Array, ""], Float[Array, ""], Array]:
    assert batch.labels_B is not None
    n_classes = logits_BC.shape[1]
    losses_B = -log_probability(logits_BC, batch.labels_B)
    is_example_B = batch.weights_BT.sum(axis=1) > 0
    one_hot_BC = jax.nn.one_hot(batch.labels_B, n_classes) * is_example_B[:, None]
    confusion_CC = jnp.einsum("BC,BE->CE", one_hot_BC, jax.nn.one_hot(logits_BC.argmax(axis=1), n_classes))
    return jnp.where(is_example_B, losses_B, 0).sum(), jnp.trace(confusion_CC), confusion_CC


def targets(batch: Batch, model: Any) -> Float[Array, ""]:
    """Σ weight of the trained tokens."""
    return counted(batch.tokens_BT[:, 1:], batch.weights_BT, model.vocab_size)[1].sum()


def pairs(batch: Batch, model: Any) -> Float[Array, ""]:
    """How many pairs a batch has; rows that fill it up have no trained token."""
    return is_pair(batch, model).sum(dtype=jnp.float32)


def examples(batch: Batch, model: Any) -> Float[Array, ""]:
    """How many labelled examples a batch has."""
    return (batch.weights_BT.sum(axis=1) > 0).sum(dtype=jnp.float32)


def is_pair(batch: Batch, model: Any) -> Array:
    """Which pairs have trained tokens in both answers."""
    _, weights_BT = counted(batch.tokens_BT[:, 1:], batch.weights_BT, model.vocab_size)
    chosen_P, rejected_P = jnp.split(weights_BT.sum(axis=1) > 0, 2)
    return chosen_P & rejected_P


def class_logits(
    params: decoder.Decoder, head: Linear | None, batch: Batch, model: Any, plan: decoder.Plan
) -> Float[Array, "B C"]:
    """The head on the hidden state of the last real token, in float32. Padding behind it is never read."""
    assert head is not None
    assert head.bias is not None
    hidden_BTD = hidden_states(params, batch, model, plan)
    last_B1 = batch.weights_BT.argmax(axis=1)[:, None]
    last_BD = jnp.take_along_axis(hidden_BTD, last_B1[..., None], axis=1)[:, 0].astype(jnp.float32)
    return last_BD @ head.weight + head.bias


def answer_log_probabilities(
    params: decoder.Decoder, batch: Batch, model: Any, plan: decoder.Plan
) -> Float[Array, "B"]:
    """log π(answer | prompt) of each row: the sum over its trained tokens, not the mean. Also DPO's reference."""
    hidden_BTD = hidden_states(params, batch, model, plan)
    targets_BT, weights_BT = counted(batch.tokens_BT[:, 1:], batch.weights_BT, model.vocab_size)

    def log_p(hidden: Array, head_VD: Array, targets: Array, weights: Array) -> Array:
        chunks = fitting_chunks(plan, hidden.shape[1])

        def cut(x):
            return jnp.moveaxis(x.reshape(x.shape[0], chunks, -1, *x.shape[2:]), 1, 0)

        def add(total_B, piece):
            hidden, targets, weights = piece
            return total_B - (token_losses(hidden, head_VD, targets, model.vocab_size) * weights).sum(axis=1), None

        # Recomputed in the backward pass: the logits of one slice exist at a time.
        start_B = jnp.zeros(hidden.shape[0], jnp.float32)
        return jax.lax.scan(jax.checkpoint(add), start_B, tuple(map(cut, (hidden, targets, weights))))[0]

    return plan.kernels.sums_of(log_p, hidden_BTD, params.head_VD, targets_BT, weights_BT)


def hidden_states(params: decoder.Decoder, batch: Batch, model: Any, plan: decoder.Plan) -> Float[Array, "B T D"]:
    """The last layer's hidden states, after the final norm."""
    return decoder.forward(params, batch.tokens_BT[:, :-1], model, plan, segments_BT=batch.segments_BT)[0]


def fitting_chunks(plan: decoder.Plan, length: int) -> int:
    """At most the plan's number of slices that divides this length: lengths vary from batch to batch."""
    return max(n for n in range(1, min(plan.execution.loss_chunks, length) + 1) if length % n == 0)
