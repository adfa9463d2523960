"""What every way has in common: it is trained, it is asked, and its loss is on the answers.

A row is what is seen (the prefix), and then M rows of `data.words`: questions that each follow the prefix and know
nothing of one another. So a picture is seen once for all of them, and each is answered as if it had been asked alone.
Whether an answer is right is read from one forward pass over the row with the right answer: greedy decoding writes
exactly that answer if and only if every one of its tokens has the largest logit after those before it.
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
    def asked_length(self) -> int:
        """Tokens of all questions about a training picture."""
        return self.world.n_asked * self.words.length

    @property
    def plan(self) -> Plan:
        return decoder.make_plan(Execution(dtype="float32"))


class Rows(NamedTuple):
    """Rows of tokens; the weights say where the loss is."""

    tokens_BT: Int[Array, "B T"]
    weights_BT: Float[Array, "B T"]
    branches_BT: Int[Array, "B T"]  # 0: the prefix; k: question k with its answer (`llm_jax.layers.packing`)
    first_BM: Int[Array, "B M"]  # where the answers begin


class Answered(NamedTuple):
    """What a model said."""

    is_right_BM: Bool[Array, "B M"]
    token_BM: Int[Array, "B M"]  # the first token of its answer


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


def rows(words: Words, prefix_BP: Int[Array, "B P"], sample: Sample) -> Rows:
    """The prefix, then questions with their answers; no loss on the prefix."""
    (batch, seen), n_asked = prefix_BP.shape, sample.question_BM.shape[1]
    asked = sample.question_BM, sample.answer_BM
    tokens_BT = jnp.concatenate([prefix_BP, jnp.asarray(words.rows_QAT)[asked].reshape(batch, -1)], axis=1)
    weights_BT = jnp.pad(jnp.asarray(words.weights_QAT)[asked].reshape(batch, -1), ((0, 0), (seen, 0)))
    branches_T = jnp.pad(jnp.repeat(1 + jnp.arange(n_asked), words.length), (seen, 0))
    begins_M = seen + words.length * jnp.arange(n_asked)
    first_BM = begins_M + jnp.asarray(words.first_Q)[sample.question_BM]
    return Rows(tokens_BT, weights_BT, jnp.broadcast_to(branches_T, tokens_BT.shape), first_BM)


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
    is_wrong_BT = (best_BT != rows.tokens_BT[:, 1:]) & (is_answer_BT[:, 1:] != 0)
    numbers_M1 = 1 + jnp.arange(rows.first_BM.shape[1])[:, None]
    is_wrong_BMT = is_wrong_BT[:, None] & (rows.branches_BT[:, None, 1:] == numbers_M1)
    token_BM = jnp.take_along_axis(best_BT, rows.first_BM - 1, axis=1)
    return Answered(~is_wrong_BMT.any(axis=-1), token_BM)


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
