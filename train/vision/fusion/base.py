"""What every way has in common: it is trained, it is asked, and its loss is on the answers.

A row is what is seen (the prefix) and then a row of `data.words`. Whether an answer is right is read from one forward
pass over the row with the right answer: greedy decoding writes exactly that answer if and only if every one of its
tokens has the largest logit after those before it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from llm_jax.config import DecoderConfig, Execution
from llm_jax.kernels.plan import Plan
from llm_jax.models import decoder
from llm_jax.shapes import Array, Bool, Float, Int
from train.vision.config import VisionRunConfig
from train.vision.data.words import Words
from train.vision.data.world import Sample, World
from train.vision.training import Progress


@dataclass(frozen=True, eq=False)
class Task:
    """What a way is built for."""

    world: World
    words: Words
    config: VisionRunConfig

    @property
    def plan(self) -> Plan:
        return decoder.make_plan(Execution(dtype="float32"))


class Rows(NamedTuple):
    """Rows of tokens; the weights say where the loss is."""

    tokens_BT: Int[Array, "B T"]
    weights_BT: Float[Array, "B T"]
    first_B: Int[Array, "B"]  # where the answer begins


class Answered(NamedTuple):
    """What a model said."""

    is_right_B: Bool[Array, "B"]
    token_B: Int[Array, "B"]  # the first token of its answer


class Way(Protocol):
    """One fusion for one task."""

    name: str
    task: Task

    def train(self, seed: int, progress: Progress) -> tuple[Any, list[dict[str, Any]]]:
        """The parameters, and a record of each stage."""
        ...

    def answer(self, params: Any, sample: Sample) -> Answered:
        """Answers a batch; called inside of `jit`."""
        ...

    def sizes_of(self, params: Any) -> dict[str, int]:
        """Parameters by part."""
        ...


def rows(words: Words, prefix_BP: Int[Array, "B P"], question_B: Array, answer_B: Array) -> Rows:
    """The prefix, then question and answer; no loss on the prefix."""
    tokens_BT = jnp.concatenate([prefix_BP, jnp.asarray(words.rows_QAT)[question_B, answer_B]], axis=1)
    weights_BT = jnp.pad(jnp.asarray(words.weights_QAT)[question_B, answer_B], ((0, 0), (prefix_BP.shape[1], 0)))
    return Rows(tokens_BT, weights_BT, prefix_BP.shape[1] + jnp.asarray(words.first_Q)[question_B])


def mean_loss(
    params: decoder.Decoder, hidden_BTD: Float[Array, "B T D"], rows: Rows, config: DecoderConfig, plan: Plan
) -> Float[Array, ""]:
    """The mean loss in nats, weighted; `hidden_BTD` are of all tokens but the last."""
    loss, weight = plan.kernels.cross_entropy(
        hidden_BTD, params.head_VD, rows.tokens_BT[:, 1:], rows.weights_BT[:, 1:], config.vocab_size, 1
    )
    return loss / weight


def answered(
    params: decoder.Decoder,
    hidden_BTD: Float[Array, "B T D"],
    rows: Rows,
    is_answer_BT: Array,
    config: DecoderConfig,
    plan: Plan,
) -> Answered:
    """Compares the most likely token of every position with the row's next one, where `is_answer_BT`."""
    best_BT = decoder.logits(params, hidden_BTD, config, plan).argmax(axis=-1)
    is_right_BT = (best_BT == rows.tokens_BT[:, 1:]) | (is_answer_BT[:, 1:] == 0)
    token_B = jnp.take_along_axis(best_BT, rows.first_B[:, None] - 1, axis=1)[:, 0]
    return Answered(is_right_BT.all(axis=1), token_B)


def fresh_decoder(seed: int, config: DecoderConfig) -> decoder.Decoder:
    """A decoder at its first step. GPT-2's deviation of 0.02 suits a width of 768 and more; here it is 1/√width.

    With 0.02 a decoder this narrow looks at nothing in particular for the first thousand steps.
    """

    def init(key: Array) -> decoder.Decoder:
        factor = config.d_model**-0.5 / 0.02
        return jax.tree.map(lambda leaf: factor * leaf if leaf.ndim > 1 else leaf, decoder.init(key, config))

    return fresh(init, seed, 1)


def fresh(init: Callable[..., Any], seed: int, number: int, *arguments: Any) -> Any:
    """Parameters of part `number` of a run."""
    return jax.jit(lambda key: init(key, *arguments))(jax.random.fold_in(jax.random.key(seed), number))
