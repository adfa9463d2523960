"""Requests → tokens: one thread that owns the device and decodes whatever has been asked for, all of it together.

    submit   any thread: a request joins the queue, or is refused when the queue is full
    step     the engine's thread: a waiting request takes a free row, then every row gets its next token; the batch is
             as large as those who are being answered need (`serve.sizes`)
    deliver  what a request gave, called in the engine's thread with each event

One prompt at most is read between two steps, so that those who are being answered wait for one prompt and not for all.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from llm_jax.decode.options import Sampling
from serve.sizes import Size, Sizes

if TYPE_CHECKING:
    from llm_jax.config import GPTConfig
    from llm_jax.decode.slots import Scores
    from llm_jax.models import gpt

MOST_TOP = 20  # log-probabilities beside the chosen one; one program computes all or none
IDLE = Sampling(temperature=0.0)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scored:
    """A token and what the model thought of it: its log-probability, and the most likely tokens with theirs."""

    token: int
    logprob: float | None  # None for the first token of a prompt
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Ended:
    """No more tokens. `error` where the request could not be finished."""

    reason: Literal["stop", "length", "error"]
    error: str = ""


Event = Scored | list[Scored] | Ended  # a new token, the prompt's own tokens, the end


@dataclass(eq=False)
class Request:
    """One sequence to decode."""

    prompt: Sequence[int]
    sampling: Sampling
    max_new_tokens: int  # 0: only the prompt is scored
    deliver: Callable[[Event], None]
    stop_tokens: frozenset[int] = frozenset()
    n_top: int = 0
    score_prompt: bool = False
    n_new: int = field(default=0, init=False)
    cancelled: bool = field(default=False, init=False)  # set by anybody who no longer wants it


class Full(Exception):
    """The queue is full."""


class Closing(Exception):
    """The server is about to end."""


class Engine:
    """The rows, the queue and the thread."""

    def __init__(
        self, params: "gpt.GPT", config: "GPTConfig", how: "gpt.Plan", rows: int, columns: int, max_waiting: int
    ):
        """`rows`: requests answered at once; `columns`: tokens of the longest sequence; `max_waiting`: requests without
        a row.
        """
        import jax

        from llm_jax.decode import slots

        columns = -(-columns // slots.PIECE) * slots.PIECE
        self._most_top = min(MOST_TOP, config.vocab_size)
        self.config, self.sizes, self.max_waiting = config, Sizes(Size(rows, columns)), max_waiting
        self._params, self._how = params, how
        # The largest first, and dropped: where memory is too small for it, the server must not start.
        self._slots = jax.block_until_ready(slots.empty(config, how, rows, columns))
        self.size = self.sizes.fitting([])
        self._slots = slots.empty(config, how, *self.size)
        self._rows: list[Request | None] = [None] * self.size.rows
        self._waiting: deque[Request] = deque()
        self._changed = threading.Condition()
        self._closing = ""  # why, once it is so
        self._abort = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.n_steps = 0

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() and not self._closing

    @property
    def running(self) -> int:
        """Rows in use."""
        return sum(request is not None for request in self._rows)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def submit(self, requests: Sequence[Request]) -> None:
        """All of them or none. Raises Full or Closing."""
        with self._changed:
            if self._closing or not self._thread.is_alive():
                raise Closing(self._closing or "the engine has ended")
            if len(self._waiting) + len(requests) > self.max_waiting:
                raise Full(
                    f"{len(self._waiting)} requests are waiting, the most is {self.max_waiting}: try again later"
                )
            self._waiting.extend(requests)
            self._changed.notify()

    def cancel(self, requests: Sequence[Request]) -> None:
        """Nobody wants these any more: their rows are free from the next step on."""
        with self._changed:
            for request in requests:
                request.cancelled = True
            self._changed.notify()

    def close(self, why: str, timeout: float) -> None:
        """No new requests; those here get `timeout` seconds, then an error. Returns at once."""
        with self._changed:
            self._closing = self._closing or why
            self._changed.notify()
        timer = threading.Timer(timeout, self._give_up)
        timer.daemon = True
        timer.start()

    def join(self, timeout: float) -> None:
        """Waits for the thread to end, which it does after `close`."""
        self._thread.join(timeout)

    def _give_up(self) -> None:
        with self._changed:
            self._abort = True
            self._changed.notify()

    def _run(self) -> None:
        try:
            while self._wait_for_work():
                self._free_cancelled()
                self._admit()
                if self.running:
                    self._resize(self.sizes.after(self.size, self._lengths()))
                    self._step()
        except Exception as error:  # whatever XLA raises: those who wait must not wait for ever
            logger.exception("the engine has failed")
            self._closing = f"the engine has failed: {type(error).__name__}"
        finally:
            with self._changed:
                self._closing = self._closing or "the engine has ended"
                left = [*(request for request in self._rows if request), *self._waiting]
                self._waiting.clear()
                self._rows = [None] * len(self._rows)
            for request in left:
                request.deliver(Ended("error", self._closing))

    def _wait_for_work(self) -> bool:
        """False when it is time to end."""
        with self._changed:
            while not (self._waiting or self.running or self._closing):
                self._changed.wait()
            return not self._abort and bool(self._waiting or self.running)

    def _free_cancelled(self) -> None:
        with self._changed:
            self._rows = [None if request and request.cancelled else request for request in self._rows]
            self._waiting = deque(request for request in self._waiting if not request.cancelled)

    def _admit(self) -> None:
        """One waiting request takes a free row."""
        with self._changed:
            if not self._waiting or self.running == self.sizes.most.rows:
                return
            lengths = [*self._lengths(), _length(self._waiting[0])]
        size = self.sizes.at_least(self.size, lengths) if self.running else self.sizes.fitting(lengths)
        if not self._resize(size):
            return  # until others have ended
        with self._changed:
            request, row = self._waiting.popleft(), self._rows.index(None)
            self._rows[row] = request  # from here on it is known to `_run`, should the device fail
        if request.score_prompt:
            request.deliver(self._score(request))
        if request.max_new_tokens == 0:
            self._rows[row] = None
            request.deliver(Ended("length"))
            return
        from llm_jax.decode import slots
        from llm_jax.decode.choose import rule_of_rows

        self._slots, token, scores = slots.join(
            self._params,
            self._slots,
            row,
            _padded(request.prompt, self.sizes.most.columns),
            len(request.prompt),
            request.sampling.seed,
            rule_of_rows([request.sampling]),
            self.config,
            self._how,
            self._most_top if request.n_top else 0,
        )
        self._take(row, request, _scored(int(token), scores, request.n_top))

    def _lengths(self) -> list[int]:
        return [_length(request) for request in self._rows if request]

    def _resize(self, size: Size) -> bool:
        """The same requests in a batch of another size, in its first rows; False where memory does not hold both."""
        import jax

        from llm_jax.decode import slots

        if size == self.size:
            return True
        used = [row for row, request in enumerate(self._rows) if request]
        unused = size.rows - len(used)
        if used:
            rows_B = np.array([*used, *[0] * unused], np.int32)
            try:
                self._slots = jax.block_until_ready(slots.resize(self._slots, rows_B, size.columns))
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                logger.info("no memory for a batch of %d × %d beside %d × %d", *size, *self.size)
                return False
        else:
            del self._slots  # its memory is free for the new one
            self._slots = slots.empty(self.config, self._how, *size)
        self._rows = [*(self._rows[row] for row in used), *[None] * unused]
        self.size = size
        return True

    def _step(self) -> None:
        """One token for every row."""
        from llm_jax.decode import slots
        from llm_jax.decode.choose import rule_of_rows

        rule = rule_of_rows([request.sampling if request else IDLE for request in self._rows])
        n_top = self._most_top if any(request and request.n_top for request in self._rows) else 0
        self._slots, token_B, scores_B = slots.advance(self._params, self._slots, rule, self.config, self._how, n_top)
        self.n_steps += 1
        tokens, scores = np.asarray(token_B), _on_host(scores_B)
        for row, request in enumerate(self._rows):
            if request:
                self._take(row, request, _scored(int(tokens[row]), _row(scores, row), request.n_top))

    def _take(self, row: int, request: Request, scored: Scored) -> None:
        """A new token of a request: delivered, and the row freed if it was the last."""
        request.n_new += 1
        reason: Literal["stop", "length"] | None = "length" if request.n_new == request.max_new_tokens else None
        if scored.token in request.stop_tokens:
            reason = "stop"
        else:
            request.deliver(scored)
        if reason:
            self._rows[row] = None
            request.deliver(Ended(reason))

    def _score(self, request: Request) -> list[Scored]:
        """The prompt's own tokens with their log-probabilities, each given those before it."""
        from llm_jax.decode import slots

        n_top = self._most_top if request.n_top else 0
        tokens = _padded(request.prompt, self.sizes.most.columns)
        scores = _on_host(slots.score(self._params, tokens, self.config, self._how, n_top))
        rest = [_scored(token, _row(scores, t), request.n_top) for t, token in enumerate(request.prompt[1:])]
        return [Scored(request.prompt[0], None), *rest]


def _length(request: Request) -> int:
    """The columns it needs: none to score a prompt, which has a cache of its own."""
    return len(request.prompt) + request.max_new_tokens if request.max_new_tokens else 0


def _padded(prompt: Sequence[int], columns: int) -> np.ndarray:
    """The prompt in an array of its bucket's length, which is never longer than a row."""
    from llm_jax.decode.loop import LENGTHS, bucket

    tokens_T = np.zeros(min(bucket(len(prompt), LENGTHS), columns), np.int32)
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
