"""Continuous batching on paper: waits of one user, of many, and of too many."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_jax.hardware import queueing
from llm_jax.hardware.queueing import Load, Server, simulate


def step_seconds(rows: int, context: float, prompt_tokens: int) -> float:
    """10 ms for any number of sequences, as reading the weights is; 0.1 ms for a token of a prompt."""
    return max(0.010, 1e-4 * prompt_tokens)


SERVER = Server(step_seconds, cache_tokens=100_000)
ALONE = Load(rate=0.001, prompt=1000, answer=50, requests=300)


def test_a_user_alone_waits_for_the_prompt_and_then_a_step_for_each_token():
    waits = simulate(SERVER, ALONE)
    assert waits.per_token == pytest.approx((0.010,) * 3)
    assert waits.first_token[0] == pytest.approx(1000 * 0.693 * 1e-4, rel=0.2)  # the median of an exponential


def test_all_tokens_are_given_and_a_second_server_of_the_same_kind_gives_the_same():
    assert simulate(SERVER, ALONE) == simulate(SERVER, ALONE)


def test_many_users_share_a_step():
    """A hundred times the load at nearly the same time a token: decoding in a batch is nearly free."""
    few, many = (simulate(SERVER, replace(ALONE, rate=rate, prompt=10)) for rate in (0.1, 10))
    assert many.per_token[0] == pytest.approx(few.per_token[0], rel=0.05)
    assert many.tokens_per_second > 50 * few.tokens_per_second
    assert many.rows == pytest.approx(10 * 50 * 0.010, rel=0.25)  # Little's law: rate × time in the system


def test_where_requests_come_faster_than_they_are_served_the_queue_grows():
    short, long = (simulate(SERVER, replace(ALONE, rate=50, requests=n)) for n in (200, 400))
    assert long.first_token[2] > 1.5 * short.first_token[2]
    assert long.waiting > 1.5 * short.waiting > 50


def test_the_waits_do_not_depend_on_how_many_requests_are_simulated():
    """Of 500 who are answered at once, 400 requests would be the first ones of a server that is still empty."""
    load = Load(rate=900, prompt=5, answer=60, around=2000)
    some, more = (simulate(replace(SERVER, most_rows=1000), replace(load, requests=n)) for n in (2000, 8000))
    assert some.rows == pytest.approx(more.rows, rel=0.1)
    assert some.first_token[0] == pytest.approx(more.first_token[0], rel=0.1)
    assert some.waiting == more.waiting == 0


@settings(max_examples=40, deadline=None)
@given(
    rate=st.floats(0.5, 60),
    prompt=st.integers(1, 60),
    answer=st.integers(1, 40),
    cache=st.integers(120, 2000),
    rows=st.integers(1, 20),
    tokens=st.integers(21, 200),
)
def test_leaps_give_what_single_steps_give(rate, prompt, answer, cache, rows, tokens):
    """Steps between two events are alike, so one leap over them must change nothing."""

    def seconds(rows: int, context: float, read: int) -> float:
        return 0.01 + 1e-4 * read + 1e-6 * rows * context

    def one_by_one(server, state, until):
        queueing._pass(state, 1, server.step_seconds(len(state.decoding), state.in_decoding / len(state.decoding), 0))

    server = Server(seconds, cache, rows, tokens)
    load = Load(rate, prompt, answer, requests=60, around=5, longest=120)
    leaps = simulate(server, load)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queueing, "_decode", one_by_one)
        steps = simulate(server, load)
    for name in ("first_token", "per_token", "tokens_per_second", "rows"):
        assert getattr(leaps, name) == pytest.approx(getattr(steps, name), rel=1e-6), name


def test_no_request_is_longer_than_the_context():
    requests = queueing._draw(Load(rate=1, prompt=80, answer=80, requests=500, longest=100))
    assert max(one.prompt + one.answer for one in requests) == 100
    assert min(min(one.prompt, one.answer) for one in requests) == 1


def test_a_small_cache_lets_users_wait_and_loses_none():
    roomy, tight = (
        simulate(replace(SERVER, cache_tokens=tokens), replace(ALONE, rate=20, prompt=100, requests=200))
        for tokens in (100_000, 1_000)
    )
    assert tight.first_token[1] > 3 * roomy.first_token[1]
    assert tight.tokens_per_second < roomy.tokens_per_second


def test_long_prompts_are_read_in_pieces():
    server = replace(SERVER, most_tokens=100)
    waits = simulate(server, replace(ALONE, rate=5, prompt=500, answer=20))
    assert waits.per_token[2] <= 0.0101  # no step is longer than a piece


def test_impossible_loads_are_named():
    with pytest.raises(ValueError, match="the cache holds 100 tokens, and a request of this load has"):
        simulate(replace(SERVER, cache_tokens=100), ALONE)
    with pytest.raises(ValueError, match="a load needs a rate above 0"):
        simulate(SERVER, replace(ALONE, rate=0))
