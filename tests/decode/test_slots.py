"""Continuous batching gives each request what it gets alone, whatever comes and goes beside it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.decode import loop, slots
from llm_jax.decode.choose import rule_of_rows
from llm_jax.decode.options import Sampling
from llm_jax.decode.padding import LENGTH_MULTIPLE, bucket
from llm_jax.models import decoder

ROWS, COLUMNS = 3, 48
IDLE = Sampling(temperature=0.0)
REQUESTS = [  # prompt, sampling, new tokens, the step at which it arrives
    ([7, 3, 250], Sampling(temperature=1.3, seed=4), 12, 0),
    (list(range(20)), Sampling(temperature=0.0), 20, 0),
    ([299], Sampling(temperature=0.9, top_k=5, seed=9), 47, 2),  # goes round the columns once, to the last
    ([5] * 5, Sampling(temperature=1.3, top_p=0.7, seed=1), 9, 3),
    (list(range(100, 145)), Sampling(temperature=1.1, top_k=100, top_p=0.95, seed=2), 3, 4),
    ([11, 12], Sampling(temperature=1.3, seed=-(2**40)), 12, 20),
]


class Scheduler:
    """The simplest one there can be: first come, first served."""

    def __init__(self, params, config, plan):
        self.params, self.config, self.plan = params, config, plan
        self.state = slots.empty(config, plan, ROWS, COLUMNS)
        self.rows: list[int | None] = [None] * ROWS
        self.tokens: dict[int, list[int]] = {}
        self.scores: dict[int, list[slots.Scores]] = {}

    def join(self, number, row, n_top=0):
        prompt, sampling, _, _ = REQUESTS[number]
        padded = np.zeros(bucket(len(prompt), LENGTH_MULTIPLE), np.int32)
        padded[: len(prompt)] = prompt
        self.state, token, scores = slots.join(
            self.params, self.state, row, padded, len(prompt), sampling.seed,
            rule_of_rows([sampling]), self.config, self.plan, n_top,
        )  # fmt: skip
        self.rows[row] = number
        self.tokens[number], self.scores[number] = [int(token)], [scores]

    def resize(self, rows, columns):
        """Those who are there, in other rows; `rows` names the row each new one comes from."""
        self.state = slots.resize(self.state, jnp.array(rows, jnp.int32), columns)
        self.rows = [self.rows[row] if row not in rows[:new] else None for new, row in enumerate(rows)]

    def step(self, n_top=0):
        samplings = [IDLE if number is None else REQUESTS[number][1] for number in self.rows]
        self.state, tokens, scores = slots.advance(
            self.params, self.state, rule_of_rows(samplings), self.config, self.plan, n_top
        )
        for row, number in enumerate(self.rows):
            if number is not None:
                self.tokens[number].append(int(tokens[row]))
                self.scores[number].append(jax.tree.map(lambda x, row=row: x[row], scores))

    def run(self, order, n_top=0, sizes=()):
        """All requests of `order`, each in the first row that is free; returns tokens by request.

        `sizes`: rows and columns from a step on.
        """
        waiting, step = list(order), 0
        while waiting or any(number is not None for number in self.rows):
            for row, number in enumerate(self.rows):
                if number is not None and len(self.tokens[number]) == REQUESTS[number][2]:
                    self.rows[row] = None
                if self.rows[row] is None and waiting and REQUESTS[waiting[0]][3] <= step:
                    self.join(waiting.pop(0), row, n_top)
            for when, rows, columns in sizes:
                if when == step:
                    self.resize(rows, columns)
            self.step(n_top)
            step += 1
        return {number: tokens[: REQUESTS[number][2]] for number, tokens in self.tokens.items()}


@pytest.fixture(scope="module")
def alone(params, config, plan):
    """Each request by the ordinary loop, on its own; to the end of the context, so that few programs are compiled."""
    return {
        number: loop.generate(params, [prompt], config, plan, sampling, COLUMNS - len(prompt))[0][:new]
        for number, (prompt, sampling, new, _) in enumerate(REQUESTS)
    }


@pytest.mark.long
def test_a_request_gets_the_same_tokens_alone_and_in_a_batch_that_others_join_and_leave(params, config, plan, alone):
    order = list(range(len(REQUESTS)))
    assert Scheduler(params, config, plan).run(order) == alone
    assert Scheduler(params, config, plan).run(order[::-1]) == alone  # other rows, other columns
    assert len({tuple(tokens[:3]) for tokens in alone.values()}) == len(REQUESTS)  # else the test would prove little


EVERY = list(range(len(REQUESTS)))
CHANGES = [  # the requests in order, and from which step on the slots have which rows and columns
    pytest.param(
        EVERY,
        [(1, [2, 0, 1, 0], 64), (19, [0, 1, 2], 48)],
        id="more rows and columns, then as before",
        marks=pytest.mark.long,
    ),
    # Fewer columns than before, for what is left fits in them; then more again, before the column has gone round.
    pytest.param(
        [0, 3, 5], [(step, [0, 1, 2], 24 if step % 2 else 48) for step in range(3, 10)], id="columns come and go"
    ),
    pytest.param(
        EVERY,
        [(1, [2, 0, 1, 0], 48), (6, [3, 1, 0, 2, 2], 64), (7, [4, 2, 1, 0, 3], 50), (19, [0, 1, 2], 48)],
        id="every kind",
        marks=pytest.mark.long,
    ),
]


@pytest.mark.parametrize(("order", "sizes"), CHANGES)
def test_rows_and_columns_may_change_while_requests_are_answered(order, sizes, params, config, plan, alone):
    found = Scheduler(params, config, plan).run(order, sizes=sizes)
    assert found == {number: alone[number] for number in order}


def test_scores_are_the_log_probabilities_of_a_full_forward(params, config, plan):
    run = Scheduler(params, config, plan)
    run.run([1, 3], n_top=4)
    for number in (1, 3):
        prompt, _, new, _ = REQUESTS[number]
        sequence = prompt + run.tokens[number][:new]
        padded = jnp.array(sequence + [0] * (-len(sequence) % slots.PIECE), jnp.int32)
        hidden, _ = decoder.forward(params, padded[None], config, plan)
        expected = np.asarray(jax.nn.log_softmax(decoder.logits(params, hidden[0], config)))
        for step in range(new):
            position = len(prompt) + step - 1
            found = run.scores[number][step]
            np.testing.assert_allclose(found.chosen, expected[position, sequence[position + 1]], atol=1e-5)
            np.testing.assert_allclose(found.top, np.sort(expected[position])[::-1][:4], atol=1e-5)
            assert found.top_ids[0] == expected[position].argmax()
        scored = slots.score(params, padded, config, plan, 4)
        following = np.arange(len(sequence) - 1), np.array(sequence[1:])
        np.testing.assert_allclose(scored.chosen[: len(sequence) - 1], expected[following], atol=1e-5)


@pytest.mark.parametrize("n_top", [0, 1, 5])
def test_a_text_is_scored_with_as_many_of_the_most_likely_tokens_as_are_asked_for(params, config, plan, n_top):
    tokens = jnp.arange(2 * slots.PIECE, dtype=jnp.int32)
    found, most = slots.score(params, tokens, config, plan, n_top), slots.score(params, tokens, config, plan, 7)
    np.testing.assert_array_equal(found.chosen, most.chosen)
    np.testing.assert_array_equal(found.top, most.top[:, :n_top])
    np.testing.assert_array_equal(found.top_ids, most.top_ids[:, :n_top])


def test_a_step_and_a_join_consume_their_cache(params, config, plan):
    run = Scheduler(params, config, plan)
    before = run.state.cache.layers[0].k_RSH
    run.join(0, 0)
    between = run.state.cache.layers[0].k_RSH
    run.step()
    assert before.is_deleted()
    assert between.is_deleted()


def test_one_program_serves_every_row_and_every_number(params, config, plan):
    run = Scheduler(params, config, plan)
    run.join(0, 0)
    run.step()
    compiled = slots._lay_down._cache_size(), slots.advance._cache_size()
    run.join(5, 2)
    run.step()
    assert (slots._lay_down._cache_size(), slots.advance._cache_size()) == compiled
