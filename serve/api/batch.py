"""The rows on the device: how many and how long they are, who joins, and one step for all of them.

Knows of prompts, samplings and rows, not of requests: the engine (`serve.api.engine`) says which request has which row.
JAX is imported by what needs it, for the command line reads this module's names at once.
"""

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from llm_jax.decode.options import Adjustment, Sampling
from serve.api.sizes import Size, Sizes

if TYPE_CHECKING:
    from llm_jax.config import GPTConfig
    from llm_jax.decode.slots import Scores
    from llm_jax.models import gpt

MOST_TOP = 20  # log-probabilities beside the chosen one; one program computes all or none
IDLE = Sampling(temperature=0.0)
UNCHANGED = Adjustment()

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scored:
    """A token and what the model thought of it: its log-probability, and the most likely tokens with theirs."""

    token: int
    logprob: float | None  # None for the first token of a prompt
    top: tuple[tuple[int, float], ...] = ()


class Batch:
    """The slots, and the sizes they may have. `n_top` is how many of the likeliest tokens a row wants to see."""

    def __init__(self, params: "gpt.GPT", config: "GPTConfig", plan: "gpt.Plan", rows: int, columns: int):
        """At most so many rows, of at least so many columns."""
        import jax

        from llm_jax.decode import slots

        columns = -(-columns // slots.PIECE) * slots.PIECE
        self._most_top = min(MOST_TOP, config.vocab_size)
        self.config, self.sizes = config, Sizes(Size(rows, columns))
        self._params, self._plan = params, plan
        # The largest first, and dropped: where memory is too small for it, the server must not start.
        self._slots = jax.block_until_ready(slots.empty(config, plan, rows, columns))
        self.size = self.sizes.fitting([])
        self._slots = slots.empty(config, plan, *self.size)

    @property
    def is_whole(self) -> bool:
        """False after a failure that has taken the rows with it: what was to become the next ones is lost."""
        import jax

        try:
            jax.block_until_ready(self._slots)
        except RuntimeError:  # they were consumed, or are themselves what has failed
            return False
        return True

    def resize(self, size: Size, used: Sequence[int]) -> bool:
        """The rows `used` become the first ones of another size; False where memory does not hold both."""
        import jax

        from llm_jax.decode import slots

        if size == self.size:
            return True
        if used:
            rows_B = np.array([*used, *[0] * (size.rows - len(used))], np.int32)
            try:
                self._slots = jax.block_until_ready(slots.resize(self._slots, rows_B, size.columns))
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                logger.info("no memory for a batch of %d × %d beside %d × %d", *size, *self.size)
                return False
        else:
            del self._slots  # its memory is free for the new one
            self._slots = slots.empty(self.config, self._plan, *size)
        self.size = size
        return True

    def join(
        self, row: int, prompt: Sequence[int], sampling: Sampling, n_top: int, adjustment: Adjustment = UNCHANGED
    ) -> Scored:
        """A prompt takes a row: its first new token."""
        from llm_jax.decode import adjust, slots
        from llm_jax.decode.choose import rule_of_rows

        vocab_size, one = self.config.vocab_size, None
        if adjustment.changes_logits and self._slots.adjusted is None:
            self._slots = dataclasses.replace(self._slots, adjusted=adjust.unchanged(self.size.rows, vocab_size))
        if self._slots.adjusted is not None:  # the row may still have another request's
            one = adjust.row_of(adjustment, prompt, vocab_size)
        self._slots, token, scores = slots.join(
            self._params,
            self._slots,
            row,
            _padded(prompt, self.sizes.most.columns),
            len(prompt),
            sampling.seed,
            rule_of_rows([sampling]),
            self.config,
            self._plan,
            self._most_top if n_top else 0,
            one,
        )
        return _scored(int(token), scores, n_top)

    def advance(
        self, samplings: Sequence[Sampling | None], n_tops: Sequence[int], adjusted: bool = False
    ) -> list[Scored]:
        """One token for every row; None is the sampling of a row that nobody uses.

        `adjusted`: somebody's logits are changed. Where nobody's are, the step is the program that knows nothing of it.
        """
        from llm_jax.decode import slots
        from llm_jax.decode.choose import rule_of_rows

        if not adjusted and self._slots.adjusted is not None:
            self._slots = dataclasses.replace(self._slots, adjusted=None)
        rule = rule_of_rows([sampling or IDLE for sampling in samplings])
        n_top = self._most_top if any(n_tops) else 0
        self._slots, token_B, scores_B = slots.advance(self._params, self._slots, rule, self.config, self._plan, n_top)
        tokens, scores = np.asarray(token_B), _on_host(scores_B)
        return [_scored(int(token), _row(scores, row), n_tops[row]) for row, token in enumerate(tokens)]

    def score(self, prompt: Sequence[int], n_top: int) -> list[Scored]:
        """The prompt's own tokens, each given those before it. Takes no row."""
        from llm_jax.decode import slots

        tokens = _padded(prompt, self.sizes.most.columns)
        scores = _on_host(slots.score(self._params, tokens, self.config, self._plan, self._most_top if n_top else 0))
        rest = [_scored(token, _row(scores, t), n_top) for t, token in enumerate(prompt[1:])]
        return [Scored(prompt[0], None), *rest]


def _padded(prompt: Sequence[int], columns: int) -> np.ndarray:
    """The prompt in an array of its bucket's length, which is never longer than a row."""
    from llm_jax.decode.padding import LENGTH_MULTIPLE, bucket

    tokens_T = np.zeros(min(bucket(len(prompt), LENGTH_MULTIPLE), columns), np.int32)
    tokens_T[: len(prompt)] = prompt
    return tokens_T


def _on_host(scores: "Scores") -> "Scores":
    import jax

    return jax.tree.map(np.asarray, scores)


def _row(scores: "Scores", row: int) -> "Scores":
    return type(scores)(scores.chosen[row], scores.top[row], scores.top_ids[row])


def _scored(token: int, scores: "Scores", n_top: int) -> Scored:
    top = zip(np.asarray(scores.top_ids)[:n_top].tolist(), np.asarray(scores.top)[:n_top].tolist(), strict=True)
    return Scored(token, float(scores.chosen), tuple(top))
