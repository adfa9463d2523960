"""Requests → tokens: one thread owns the device and decodes all requests together.

    submit   any thread: a request joins the queue, or is refused when the queue is full
    step     the engine's thread: a waiting request takes a free row, then every row gets its next token; the batch is
             as large as the running requests need (`serve.api.decoding.batch`, `serve.api.decoding.sizes`)
    deliver  a function of the request, called in the engine's thread with each event

At most one prompt is read between two steps: the running requests then wait for one prompt, not for all.

A failure while a prompt is read ends that request alone, if the rows of the others are whole. A failure in a step ends
the engine: `failure` is set, every request gets an error, and no further one is taken.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from serve.api.decoding.batch import Batch, Scored
from serve.api.decoding.requests import Closing, Ended, Event, Full, Request
from serve.api.decoding.sizes import Size

if TYPE_CHECKING:
    from llm_jax.config import DecoderConfig
    from llm_jax.models import decoder
    from serve.models import Sight

__all__ = ["Closing", "Ended", "Engine", "Event", "Full", "Request", "Scored"]

logger = logging.getLogger(__name__)


class Engine:
    """The rows, the queue and the thread."""

    def __init__(
        self,
        params: "decoder.Decoder",
        config: "DecoderConfig",
        plan: "decoder.Plan",
        rows: int,
        columns: int,
        max_waiting: int,
        sight: "Sight | None" = None,
    ):
        """An engine whose thread is not started yet.

        Args:
            params: as `prepare` returns them.
            config: the model.
            plan: how the model is computed.
            rows: sequences decoded at once, at most.
            columns: tokens of the longest sequence.
            max_waiting: sequences that may wait for a row.
            sight: of a model that sees: what turns pictures into vectors.
        """
        self._batch = Batch(params, config, plan, rows, columns, sight)
        self.max_waiting = max_waiting
        self._rows: list[Request | None] = [None] * self.size.rows
        self._waiting: deque[Request] = deque()
        self._changed = threading.Condition()
        self._closing = ""  # the reason, once no request is taken any more
        self._abort = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.n_steps = 0
        self.failure = ""  # the error that has ended the engine; empty after `close`
        self.on_failure: Callable[[], object] = lambda: (
            None
        )  # called in the engine's thread, after every request got its error

    def start(self) -> None:
        self._thread.start()

    @property
    def size(self) -> Size:
        """The batch's present size."""
        return self._batch.size

    @property
    def columns(self) -> list[int]:
        """The lengths that rows may have."""
        return self._batch.sizes.columns()

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
        """Ends requests whose answers nobody reads: their rows are free from the next step on."""
        with self._changed:
            for request in requests:
                request.cancelled = True
            self._changed.notify()

    def close(self, why: str, timeout: float) -> None:
        """Takes no new requests; those here get `timeout` seconds, then an error. Returns at once."""
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
                    self._resize(self._batch.sizes.after(self.size, self._lengths()))
                    self._step()
        except Exception as error:  # of any kind that XLA raises: otherwise clients would wait for ever
            logger.exception("the engine has failed")
            self.failure = f"the engine has failed: {type(error).__name__}"
        finally:
            with self._changed:
                self._closing = self.failure or self._closing or "the engine has ended"
                left = [*(request for request in self._rows if request), *self._waiting]
                self._waiting.clear()
                self._rows = [None] * len(self._rows)
            for request in left:
                request.deliver(Ended("error", self._closing))
            if self.failure:
                self.on_failure()

    def _wait_for_work(self) -> bool:
        """Waits for a request; False when the thread shall end."""
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
            sizes = self._batch.sizes
            if not self._waiting or self.running == sizes.most.rows:
                return
            lengths = [*self._lengths(), _length(self._waiting[0])]
        size = sizes.at_least(self.size, lengths) if self.running else sizes.fitting(lengths)
        if not self._resize(size):
            return  # it waits until others have ended
        with self._changed:
            request, row = self._waiting.popleft(), self._rows.index(None)
            self._rows[row] = request  # now `_run` sends it an error if the device fails
        try:
            self._begin(row, request)
        except Exception as error:  # it ends this request alone, if the rows of the others are whole
            if not self._batch.is_whole:
                raise
            logger.exception("a request has failed")
            self._rows[row] = None
            request.deliver(Ended("error", f"this request has failed: {type(error).__name__}"))

    def _begin(self, row: int, request: Request) -> None:
        """Reads a prompt: delivers its scores where they are asked for, and its first new token."""
        if request.score_prompt:
            request.deliver(self._batch.score(request.prompt, request.n_top, request.adapter))
        if request.max_new_tokens == 0:
            self._rows[row] = None
            request.deliver(Ended("length"))
        else:
            how = (request.sampling, request.n_top, request.adjustment, request.adapter)
            first = self._batch.join(row, request.prompt, *how, pictures=request.pictures)
            self._take(row, request, first)

    def _lengths(self) -> list[int]:
        return [_length(request) for request in self._rows if request]

    def _resize(self, size: Size) -> bool:
        """Moves the requests to the first rows of a batch of another size; False if memory does not hold both."""
        used = [row for row, request in enumerate(self._rows) if request]
        before = self.size
        if not self._batch.resize(size, used):
            return False
        if size != before:
            self._rows = [*(self._rows[row] for row in used), *[None] * (size.rows - len(used))]
        return True

    def _step(self) -> None:
        """One token for every row."""
        samplings = [request and request.sampling for request in self._rows]
        n_tops = [request.n_top if request else 0 for request in self._rows]
        adjusted = any(request.adjustment.changes_logits for request in self._rows if request)
        every = self._batch.advance(samplings, n_tops, adjusted)
        self.n_steps += 1
        for row, (request, scored) in enumerate(zip(self._rows, every, strict=True)):
            if request:
                self._take(row, request, scored)

    def _take(self, row: int, request: Request, scored: Scored) -> None:
        """Delivers a new token of a request, and frees the row if it was the last."""
        request.n_new += 1
        reason: Literal["stop", "length"] | None = "length" if request.n_new == request.max_new_tokens else None
        is_stop = scored.token in request.stop_tokens
        if is_stop:
            reason = "stop"
        else:
            request.deliver(scored)
        if reason:
            self._rows[row] = None
            request.deliver(Ended(reason, stop_token=scored if is_stop else None))


def _length(request: Request) -> int:
    """The columns that it needs; none to score a prompt, which has a cache of its own."""
    return len(request.prompt) + request.max_new_tokens if request.max_new_tokens else 0
