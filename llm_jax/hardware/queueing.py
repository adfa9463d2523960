"""How long users wait: a server with continuous batching, step by step, on a roofline's times.

Requests arrive at random (a Poisson process). A step gives every admitted sequence one token and computes as much of
waiting prompts as the step has room for, as vLLM's scheduler does (Yu et al. 2022, "Orca", §3; Agrawal et al. 2024,
"Sarathi-Serve", §4: prompts in pieces beside decoding). A request is admitted when the KV-cache has room for its prompt
and its whole answer, so nothing is evicted. Lengths are drawn from an exponential distribution around the given means.
"""

import random
import statistics
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
    """Requests that are simulated; the first tenth, while the server fills up, is not counted."""
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


@dataclass
class _Request:
    arrival: float
    prompt: int
    answer: int
    computed: int = 0  # tokens of the prompt
    given: int = 0  # tokens of the answer
    first: float = 0.0
    last: float = 0.0


@dataclass
class _State:
    now: float = 0.0
    held: int = 0  # tokens reserved in the cache
    row_seconds: float = 0.0
    waiting: deque[_Request] = field(default_factory=deque)
    reading: deque[_Request] = field(default_factory=deque)  # admitted, prompt not yet computed
    decoding: list[_Request] = field(default_factory=list)


def simulate(server: Server, load: Load) -> Waits:
    """Serves all requests of the load and returns how long they waited.

    Raises:
        ValueError: a load without requests, or a request that the cache could never hold.
    """
    requests = _draw(load)
    longest = max(request.prompt + request.answer for request in requests)
    if longest > server.cache_tokens:
        raise ValueError(f"the cache holds {server.cache_tokens:,} tokens, and a request of this load has {longest:,}")
    state, coming = _State(), deque(requests)
    while coming or state.waiting or state.reading or state.decoding:
        if not (state.waiting or state.reading or state.decoding):
            state.now = max(state.now, coming[0].arrival)  # idle until the next request
        while coming and coming[0].arrival <= state.now:
            state.waiting.append(coming.popleft())
        _admit(server, state)
        _step(server, state)
    return _waits(requests[len(requests) // 10 :], requests, state)


def _draw(load: Load) -> list[_Request]:
    if load.rate <= 0 or load.requests < 1 or load.prompt < 1 or load.answer < 1:
        raise ValueError(f"a load needs a rate above 0, and requests, prompt and answer of at least 1; got {load}")
    generator, now, requests = random.Random(load.seed), 0.0, []
    for _ in range(load.requests):
        now += generator.expovariate(load.rate)
        lengths = (max(1, round(generator.expovariate(1 / mean))) for mean in (load.prompt, load.answer))
        requests.append(_Request(now, *lengths))
    return requests


def _admit(server: Server, state: _State) -> None:
    while state.waiting and len(state.reading) + len(state.decoding) < server.most_rows:
        request = state.waiting[0]
        if state.held + request.prompt + request.answer > server.cache_tokens:
            return  # first come, first served
        state.held += request.prompt + request.answer
        state.reading.append(state.waiting.popleft())


def _step(server: Server, state: _State) -> None:
    room = server.most_tokens - len(state.decoding)
    read, done = 0, []
    while state.reading and room > 0:
        request = state.reading[0]
        piece = min(room, request.prompt - request.computed)
        request.computed += piece
        read, room = read + piece, room - piece
        if request.computed == request.prompt:
            done.append(state.reading.popleft())
    contexts = [request.prompt + request.given for request in state.decoding]
    seconds = server.step_seconds(len(contexts), statistics.fmean(contexts) if contexts else 0.0, read)
    state.now += seconds
    state.row_seconds += seconds * len(contexts)
    for request in [*state.decoding, *done]:  # the end of a prompt gives the first token
        request.given += 1
        request.first = request.first or state.now
        request.last = state.now
    finished = [request for request in [*state.decoding, *done] if request.given >= request.answer]
    state.held -= sum(request.prompt + request.answer for request in finished)
    state.decoding = [request for request in [*state.decoding, *done] if request.given < request.answer]


def _waits(counted: Sequence[_Request], requests: Sequence[_Request], state: _State) -> Waits:
    first = [request.first - request.arrival for request in counted]
    each = [(r.last - r.first) / (r.answer - 1) for r in counted if r.answer > 1] or [0.0]
    tokens = sum(request.answer for request in requests)
    began = requests[0].arrival
    return Waits(
        _percentiles(first), _percentiles(each), tokens / (state.now - began), state.row_seconds / (state.now - began)
    )


def _percentiles(values: Sequence[float]) -> tuple[float, float, float]:
    ordered = sorted(values)
    at = [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.95, 0.99)]
    return at[0], at[1], at[2]
