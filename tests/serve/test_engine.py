"""The engine behind the API, seen from inside: rows, queue, those who leave, and what breaks."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import pytest
from small_models import opinionated

from llm_jax.config import DecoderConfig
from llm_jax.decode import loop, slots
from llm_jax.decode.options import Sampling
from serve.api.decoding.engine import Closing, Ended, Engine, Event, Full, Request, Scored

CONFIG = DecoderConfig(vocab_size=300, context_length=1000, d_model=32, n_heads=2, n_layers=1)
GREEDY = Sampling(temperature=0.0)


@pytest.fixture(scope="module")
def params():
    return opinionated(CONFIG, 6)


@pytest.fixture
def engine(params, plan):
    engine = Engine(params, CONFIG, plan, rows=2, columns=1000, max_waiting=40)
    engine.start()
    yield engine
    engine.close("the test is over", timeout=0)
    engine.join(30)


class Client:
    """Collects what a request gives."""

    def __init__(self, prompt, sampling=GREEDY, new=10, **more):
        self.events: list[Event] = []
        self.ended = threading.Event()
        self.request = Request(prompt, sampling, new, self._deliver, **more)

    def _deliver(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Ended):
            self.ended.set()

    def tokens(self) -> list[int]:
        assert self.ended.wait(60)
        return [event.token for event in self.events if isinstance(event, Scored)]


def until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_20_requests_over_two_rows_get_what_each_gets_alone(params, plan, engine):
    wishes = [
        ([number, 7, 2 * number], Sampling(temperature=1.2, seed=number), 5 + number % 12) for number in range(20)
    ]
    clients = [Client(*wish) for wish in wishes]
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda client: engine.submit([client.request]), clients))
    for client, (prompt, sampling, new) in zip(clients, wishes, strict=True):
        assert client.tokens() == loop.generate(params, [prompt], CONFIG, plan, sampling, new)[0]
        assert client.events[-1] == Ended("length")
    assert engine.running == engine.waiting == 0


def test_the_batch_is_as_large_as_those_who_are_answered_need(params, plan, engine):
    assert engine.size == (1, 256)
    wishes = [([1, 2, 3], GREEDY, 500), (list(range(200)), Sampling(seed=3), 20), ([9], Sampling(seed=5), 400)]
    clients = [Client(*wish) for wish in wishes]
    sizes = set()
    for client in clients:
        deliver = client.request.deliver
        client.request.deliver = lambda event, deliver=deliver: (sizes.add(engine.size), deliver(event))
    engine.submit([clients[0].request])
    until(lambda: len(clients[0].events) > 50)
    engine.submit([client.request for client in clients[1:]])
    for client, (prompt, sampling, new) in zip(clients, wishes, strict=True):
        assert client.tokens() == loop.generate(params, [prompt], CONFIG, plan, sampling, new)[0]
    assert sizes == {(1, 1008), (2, 1008)}
    last = Client([4], new=60)
    engine.submit([last.request])
    last.tokens()
    assert engine.size == (1, 256)


def test_where_memory_does_not_hold_a_larger_batch_beside_this_one_a_request_waits(params, plan, engine, monkeypatch):
    def fail(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(slots, "resize", fail)
    long, short = Client([1, 2], new=100), Client([3], Sampling(seed=3), 200)
    engine.submit([long.request, short.request])
    assert long.tokens() == loop.generate(params, [[1, 2]], CONFIG, plan, GREEDY, 100)[0]
    assert short.tokens() == loop.generate(params, [[3]], CONFIG, plan, Sampling(seed=3), 200)[0]
    assert engine.n_steps == 99 + 199  # one after the other


def test_a_stop_token_ends_a_request_and_is_not_delivered(engine):
    free = Client([5, 6])
    engine.submit([free.request])
    stop = free.tokens()[4]
    stopped = Client([5, 6], stop_tokens=frozenset({stop}))
    engine.submit([stopped.request])
    assert stopped.tokens() == free.tokens()[: free.tokens().index(stop)]
    assert stopped.events[-1] == Ended("stop")


def test_who_leaves_frees_the_row_at_once_for_those_who_wait(engine):
    leaving = [Client([1, number], new=990) for number in range(2)]
    waiting = Client([9], new=3)
    engine.submit([client.request for client in leaving])
    until(lambda: all(client.events for client in leaving))
    engine.submit([waiting.request])
    engine.cancel([client.request for client in leaving])
    assert len(waiting.tokens()) == 3
    assert engine.running == 0
    assert engine.n_steps < 900  # the long ones were not decoded to their end


def test_a_full_queue_refuses_all_of_a_request_and_takes_the_next_when_there_is_room(engine):
    running = [Client([1], new=900) for _ in range(2)]
    engine.submit([client.request for client in running])
    until(lambda: engine.running == 2)
    engine.submit([Client([2], new=1).request for _ in range(39)])
    with pytest.raises(Full, match="39 requests are waiting, the most is 40"):
        engine.submit([Client([3]).request for _ in range(2)])
    last = Client([3], new=2)
    engine.submit([last.request])
    engine.cancel([client.request for client in running])
    assert len(last.tokens()) == 2


def test_closing_lets_what_is_there_finish_and_takes_nothing_new(engine):
    clients = [Client([number], new=20) for number in range(5)]
    engine.submit([client.request for client in clients])
    engine.close("good night", timeout=60)
    with pytest.raises(Closing, match="good night"):
        engine.submit([Client([1]).request])
    assert [len(client.tokens()) for client in clients] == [20] * 5
    engine.join(30)
    assert not engine.alive


def test_closing_without_patience_tells_everybody_who_waits(engine):
    clients = [Client([number], new=990) for number in range(5)]
    engine.submit([client.request for client in clients])
    until(lambda: engine.running == 2)
    engine.close("good night", timeout=0)
    for client in clients:
        assert client.ended.wait(60)
        assert client.events[-1] == Ended("error", "good night")


def test_a_device_that_fails_is_told_to_everybody_and_to_health(engine, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(slots, "advance", fail)
    clients = [Client([number], new=5) for number in range(4)]
    engine.submit([client.request for client in clients])
    for client in clients:
        assert client.ended.wait(60)
        assert client.events[-1] == Ended("error", "the engine has failed: RuntimeError")
    assert not engine.alive


def test_what_fails_while_one_prompt_is_read_ends_that_request_and_no_other(params, plan, engine, monkeypatch):
    def fail(*arguments):
        raise ZeroDivisionError

    running = Client([1, 2], new=300)
    engine.submit([running.request])
    until(lambda: len(running.events) > 5)
    monkeypatch.setattr(slots, "score", fail)
    monkeypatch.setattr(slots, "_read", fail)
    unlucky = [Client([3], score_prompt=True), Client([4])]
    engine.submit([client.request for client in unlucky])
    for client in unlucky:
        assert client.ended.wait(60)
        assert client.events == [Ended("error", "this request has failed: ZeroDivisionError")]
    monkeypatch.undo()
    after = Client([5])
    engine.submit([after.request])
    assert after.tokens() == loop.generate(params, [[5]], CONFIG, plan, GREEDY, 10)[0]
    assert running.tokens() == loop.generate(params, [[1, 2]], CONFIG, plan, GREEDY, 300)[0]
    assert engine.alive
    assert not engine.failure


def test_what_fails_while_one_prompt_is_read_and_takes_the_rows_with_it_is_told_to_everybody(engine, monkeypatch):
    def fail(*arguments):
        raise ZeroDivisionError

    told = threading.Event()
    engine.on_failure = told.set
    running = Client([1, 2], new=900)
    engine.submit([running.request])
    until(lambda: len(running.events) > 5)
    monkeypatch.setattr(slots, "_first", fail)  # the slots are consumed before it
    unlucky = Client([3])
    engine.submit([unlucky.request])
    for client in (running, unlucky):
        assert client.ended.wait(60)
        assert client.events[-1] == Ended("error", "the engine has failed: ZeroDivisionError")
    assert told.wait(60)
    assert engine.failure == "the engine has failed: ZeroDivisionError"
    assert not engine.alive


def test_a_prompt_is_scored_without_a_row_to_its_last_token_beyond_a_multiple_of_the_bucket(engine):
    prompt = [number % 300 for number in range(1000)]
    client = Client(prompt, new=0, score_prompt=True, n_top=2)
    engine.submit([client.request])
    assert client.ended.wait(60)
    scores, end = client.events
    assert end == Ended("length")
    assert isinstance(scores, list)
    assert [scored.token for scored in scores] == prompt
    assert scores[0].logprob is None
    assert all(scored.top[0][1] >= scored.top[1][1] and scored.logprob <= scored.top[0][1] for scored in scores[1:])
    assert engine.size == (1, 256)
