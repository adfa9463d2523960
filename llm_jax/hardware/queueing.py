"""How long users wait: a server with continuous batching, simulated on a roofline's times.

Requests arrive at random (a Poisson process). A step gives every admitted sequence one token and computes as much of
waiting prompts as the step has room for, as vLLM's scheduler does (Yu et al. 2022, "Orca", §3; Agrawal et al. 2024,
"Sarathi-Serve", §4: prompts in pieces beside decoding). A request is admitted when the KV-cache has room for its
prompt; its answer takes room token by token. Where none is left, the request admitted last gives its room back, waits,
and is read again as far as it was (Kwon et al. 2023, "PagedAttention", §4.5: recomputation). Lengths are drawn from an
exponential distribution around the given means and cut at the context.

Between two events (a request comes, ends, or has to give way) all steps are alike, so they are taken in one leap.
"""

import bisect
import heapq
import math
import random
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Load:
    rate: float
    """Requests a second."""
    prompt: int
    """Tokens of a prompt, on average."""
    answer: int
    """Tokens of an answer, on average."""
    requests: int = 400
    """Requests that are counted."""
    around: int = 40
    """Requests before them, while the server fills up, and after them, so that the last ones are not alone."""
    longest: int | None = None
    """Tokens of prompt and answer together, at most: the context."""
    seed: int = 0


@dataclass(frozen=True)
class Server:
    step_seconds: Callable[[int, float, int], float]
    """(sequences that decode, mean tokens in their caches, tokens of prompts) → seconds of a step."""
    cache_tokens: int
    """Tokens that the KV-cache holds."""
    most_rows: int = 256
    """Sequences at once."""
    most_tokens: int = 8192
    """Tokens that one step computes: of prompts, and one for each sequence that decodes."""


@dataclass(frozen=True)
class Waits:
    """Seconds at percentiles, by (50, 95, 99)."""

    first_token: tuple[float, float, float]
    per_token: tuple[float, float, float]
    """Between two tokens of an answer, averaged over the answer."""
    tokens_per_second: float
    """New tokens of all requests together."""
    rows: float
    """Sequences that decode in a step, on average over time."""
    waiting: int
    """Requests not yet admitted when the last one comes; many where they come faster than they are answered."""


@dataclass
class _Request:
    arrival: float
    prompt: int
    answer: int
    given: int = 0  # tokens of the answer, up to where it last began to decode
    size: int = 0  # tokens in the cache when it began to decode
    unread: int = 0  # of these, tokens that are not computed yet
    since: int = 0  # the step at which it began to decode
    stints: int = 0  # how often it was admitted
    first: float = 0.0
    last: float = 0.0


@dataclass
class _State:
    now: float = 0.0
    steps: int = 0
    in_reading: int = 0  # tokens in the cache of admitted requests whose prompts are not computed yet; counted whole
    in_decoding: int = 0  # of those that decode
    given: int = 0  # tokens of answers
    row_seconds: float = 0.0
    waiting: deque[_Request] = field(default_factory=deque)
    reading: deque[_Request] = field(default_factory=deque)
    decoding: dict[int, _Request] = field(default_factory=dict)  # by id, in the order in which they began
    ends: list[tuple[int, int, int, _Request]] = field(default_factory=list)  # heap: last step, id, stint

    @property
    def held(self) -> int:
        return self.in_reading + self.in_decoding


def simulate(server: Server, load: Load) -> Waits:
    """Serves all requests of the load and returns how long the counted ones waited.

    Raises:
        ValueError: a load without requests, or a request that the cache could never hold.
    """
    requests = _draw(load)
    longest = max(request.prompt + request.answer for request in requests)
    if longest > server.cache_tokens:
        raise ValueError(f"the cache holds {server.cache_tokens:,} tokens, and a request of this load has {longest:,}")
    state, coming, waiting, marks = _State(), deque(requests), 0, []
    borders = {id(requests[load.around]), id(requests[load.around + load.requests - 1])}
    while coming or state.waiting or state.reading or state.decoding:
        if not (state.waiting or state.reading or state.decoding):
            state.now = max(state.now, coming[0].arrival)  # idle until the next request
        while coming and coming[0].arrival <= state.now:
            if id(coming[0]) in borders:
                marks.append((state.now, state.given, state.row_seconds))
            state.waiting.append(coming.popleft())
        _admit(server, state)
        waiting = len(state.waiting) if coming else waiting
        _give_way(server, state)
        if state.reading:
            _read_and_decode(server, state)
        else:
            _decode(server, state, coming[0].arrival if coming else math.inf)
        _end(state)
    if load.requests == 1:
        marks = [(requests[load.around].arrival, 0, 0.0)]
    marks.append((state.now, state.given, state.row_seconds))
    return _waits(requests[load.around : load.around + load.requests], marks, waiting)


def _draw(load: Load) -> list[_Request]:
    longest = load.longest or sys.maxsize
    if load.rate <= 0 or load.requests < 1 or load.prompt < 1 or load.answer < 1 or longest < 2:
        raise ValueError(
            f"a load needs a rate above 0, requests, prompt and answer of at least 1, and room for 2 tokens; got {load}"
        )
    generator, now, requests = random.Random(load.seed), 0.0, []
    for _ in range(load.requests + 2 * load.around):
        now += generator.expovariate(load.rate)
        prompt, answer = (max(1, round(generator.expovariate(1 / mean))) for mean in (load.prompt, load.answer))
        prompt = min(prompt, longest - 1)
        requests.append(_Request(now, prompt, min(answer, longest - prompt)))
    return requests


def _admit(server: Server, state: _State) -> None:
    """First come, first served; whoever comes in must not drive another one out in the next step."""
    while state.waiting and len(state.reading) + len(state.decoding) < server.most_rows:
        request = state.waiting[0]
        rows = len(state.decoding) + len(state.reading)
        if rows and state.held + request.prompt + request.given + rows + 1 > server.cache_tokens:
            return
        request.size = request.unread = request.prompt + request.given
        request.stints += 1
        state.in_reading += request.size
        state.reading.append(state.waiting.popleft())


def _give_way(server: Server, state: _State) -> None:
    """Where the next step has no room, those admitted last go back to the queue's front and are read again later."""
    while state.held + len(state.decoding) > server.cache_tokens and len(state.reading) + len(state.decoding) > 1:
        if state.reading:
            request = state.reading.pop()
            state.in_reading -= request.size
        else:
            _, request = state.decoding.popitem()
            more = state.steps - request.since
            state.in_decoding -= request.size + more
            request.given += more
        state.waiting.appendleft(request)


def _read_and_decode(server: Server, state: _State) -> None:
    """One step in which prompts are computed, too."""
    rows, done = len(state.decoding), []
    read, room = 0, max(1, server.most_tokens - rows)
    for request in state.reading:
        piece = min(room, request.unread)
        request.unread -= piece
        read, room = read + piece, room - piece
        if request.unread == 0:
            done.append(request)
        if room == 0:
            break
    _pass(state, 1, server.step_seconds(rows, state.in_decoding / rows if rows else 0.0, read))
    for request in done:  # the end of a prompt gives a token
        state.reading.popleft()
        state.in_reading -= request.size
        state.in_decoding += request.size
        request.given += 1
        state.given += 1
        request.since = state.steps
        request.first = request.first or state.now
        state.decoding[id(request)] = request
        heapq.heappush(state.ends, (state.steps + request.answer - request.given, id(request), request.stints, request))


def _decode(server: Server, state: _State, until: float) -> None:
    """All steps up to the next end, to a full cache, or to `until`, when a request comes.

    A step's seconds grow evenly with the mean context, so several take as long as the middle one does, times their
    number.
    """
    rows = len(state.decoding)
    while not _is_running(state, state.ends[0]):
        heapq.heappop(state.ends)
    context = state.in_decoding / rows
    steps = min(state.ends[0][0] - state.steps, (server.cache_tokens - state.held) // rows)

    def seconds(steps: int) -> float:
        return steps * server.step_seconds(rows, context + (steps - 1) / 2, 0)

    if until < math.inf:
        steps = 1 + bisect.bisect_left(range(1, steps), until - state.now, key=seconds)
    _pass(state, steps, seconds(steps))


def _pass(state: _State, steps: int, seconds: float) -> None:
    rows = len(state.decoding)
    state.steps += steps
    state.now += seconds
    state.given += steps * rows
    state.row_seconds += seconds * rows
    state.in_decoding += steps * rows


def _end(state: _State) -> None:
    while state.ends and (state.ends[0][0] <= state.steps or not _is_running(state, state.ends[0])):
        entry = heapq.heappop(state.ends)
        if _is_running(state, entry):
            request = entry[3]
            request.last = state.now
            state.in_decoding -= request.size + state.steps - request.since
            del state.decoding[id(request)]


def _is_running(state: _State, entry: tuple[int, int, int, _Request]) -> bool:
    """Whether an entry of the heap still holds: its request may have given way since."""
    return entry[1] in state.decoding and entry[3].stints == entry[2]


def _waits(counted: Sequence[_Request], marks: list[tuple[float, int, float]], waiting: int) -> Waits:
    """`marks`: time, tokens and seconds of rows when the first and the last counted request came, and at the end."""
    first = [request.first - request.arrival for request in counted]
    each = [(r.last - r.first) / (r.answer - 1) for r in counted if r.answer > 1] or [0.0]
    began, ended = marks[0], marks[1] if marks[1][0] > marks[0][0] else marks[-1]
    took = ended[0] - began[0]
    tokens, rows = (ended[1] - began[1]) / took, (ended[2] - began[2]) / took
    return Waits(_percentiles(first), _percentiles(each), tokens, rows, waiting)


def _percentiles(values: Sequence[float]) -> tuple[float, float, float]:
    ordered = sorted(values)
    at = [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.95, 0.99)]
    return at[0], at[1], at[2]
