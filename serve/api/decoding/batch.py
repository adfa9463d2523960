"""The rows on the device: their number and length, a prompt that joins, and one step for all rows.

It knows prompts, samplings and rows, not requests: the engine (`serve.api.decoding.engine`) knows which request has
which row.
JAX is imported inside functions, because the command line imports this module.
"""

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_jax.decode.options import Adjustment, Sampling
from serve.api.decoding.sizes import Size, Sizes

if TYPE_CHECKING:
    from llm_jax.config import DecoderConfig
    from llm_jax.decode.slots import Scores
    from llm_jax.models import decoder
    from serve.models import Sight

MOST_TOP = 20  # log-probabilities beside the chosen one; one program computes all or none
IDLE = Sampling(temperature=0.0)
UNCHANGED = Adjustment()

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scored:
    """A token, its log-probability, and the most likely tokens with theirs."""

    token: int
    logprob: float | None  # None for the first token of a prompt
    top: tuple[tuple[int, float], ...] = ()


class Batch:
    """The slots and their possible sizes. `n_top` is the number of most likely tokens that a row reports."""

    def __init__(
        self,
        params: "decoder.Decoder",
        config: "DecoderConfig",
        plan: "decoder.Plan",
        rows: int,
        columns: int,
        sight: "Sight | None" = None,
    ):
        """`rows` is the largest number of rows, `columns` the longest sequence, which is rounded up."""
        import jax

        from llm_jax.decode import slots

        columns = -(-columns // slots.PIECE) * slots.PIECE
        self._most_top = min(MOST_TOP, config.vocab_size)
        self.config, self.sizes = config, Sizes(Size(rows, columns))
        self._params, self._plan, self._sight = params, plan, sight
        # Allocates the largest size once and drops it: if memory is too small for it, the server must not start.
        self._slots = jax.block_until_ready(slots.empty(config, plan, rows, columns))
        self.size = self.sizes.fitting([])
        self._slots = slots.empty(config, plan, *self.size)

    @property
    def is_whole(self) -> bool:
        """False after a failure in a step that had consumed the rows: their next state does not exist."""
        import jax

        try:
            jax.block_until_ready(self._slots)
        except RuntimeError:  # they were donated to a failed step, or their own computation failed
            return False
        return True

    def resize(self, size: Size, used: Sequence[int]) -> bool:
        """Moves the rows `used` to the first rows of another size; False if memory does not hold both sizes."""
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
            del self._slots  # frees its memory for the new one
            self._slots = slots.empty(self.config, self._plan, *size)
        self.size = size
        return True

    def join(
        self,
        row: int,
        prompt: Sequence[int],
        sampling: Sampling,
        n_top: int,
        adjustment: Adjustment = UNCHANGED,
        adapter: int = 0,
        pictures: Sequence[np.ndarray] = (),
    ) -> Scored:
        """Puts a prompt into a row, and returns its first new token. `adapter`: its number, from 1; 0: none.

        `pictures` are squares of a model that sees, and the prompt has a placeholder for each of their patches.
        """
        from llm_jax.decode import adjust, slots
        from llm_jax.decode.choose import rule_of_rows

        vocab_size, one = self.config.vocab_size, None
        if adjustment.changes_logits and self._slots.adjusted is None:
            self._slots = dataclasses.replace(self._slots, adjusted=adjust.unchanged(self.size.rows, vocab_size))
        if self._slots.adjusted is not None:  # the row may still hold those of an earlier request
            one = adjust.row_of(adjustment, prompt, vocab_size)
        tokens_T = _padded(prompt, self.sizes.most.columns)
        self._slots, token, scores = slots.join(
            self._params,
            self._slots,
            row,
            tokens_T,
            len(prompt),
            sampling.seed,
            rule_of_rows([sampling]),
            self.config,
            self._plan,
            self._most_top if n_top else 0,
            one,
            adapter,
            self._embedded(tokens_T, pictures),
        )
        return _scored(int(token), scores, n_top)

    def _embedded(self, tokens_T: np.ndarray, pictures: Sequence[np.ndarray]) -> Any:
        """The embeddings of a prompt with pictures; None for one without."""
        if not pictures:
            return None
        from llm_jax.models.vision_language.prompt import embed_prompt

        sight = self._sight
        assert sight is not None
        pixels_IYXC = np.stack(list(pictures))
        return embed_prompt(self._params, sight.tower, sight.projector, tokens_T, pixels_IYXC, sight.config, self._plan)

    def advance(
        self, samplings: Sequence[Sampling | None], n_tops: Sequence[int], adjusted: bool = False
    ) -> list[Scored]:
        """One token for every row.

        Args:
            samplings: of each row; None for an unused row.
            n_tops: most likely tokens that each row reports.
            adjusted: whether any row's logits are changed. If not, the step is the program without changes.
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

    def score(self, prompt: Sequence[int], n_top: int, adapter: int = 0) -> list[Scored]:
        """Scores the prompt's own tokens, each given those before it. Uses no row."""
        from llm_jax.decode import slots

        tokens, most_top = _padded(prompt, self.sizes.most.columns), self._most_top if n_top else 0
        scores = _on_host(slots.score(self._params, tokens, self.config, self._plan, most_top, np.int32(adapter)))
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
