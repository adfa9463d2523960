"""Answers that share a question's row get the scores that each gets in a row of its own."""

import jax
import numpy as np
import pytest
from small_models import opinionated

from llm_jax.config import DecoderConfig
from llm_jax.scoring.batches import batches
from llm_jax.scoring.likelihood import run, scorer
from llm_jax.scoring.requests import Request

LLAMA = DecoderConfig(
    vocab_size=257, context_length=64, d_model=32, n_heads=4, n_kv_heads=2, n_layers=2, mlp_width=48, norm="rms",
    positions="rotary", gated_mlp=True, activation="silu", attention_bias="none", mlp_bias=False, tied_head=False,
)  # fmt: skip


def questions(seed: int, shapes) -> list[Request]:
    """For each (tokens of the context, tokens of each answer): the requests."""
    rng = np.random.default_rng(seed)
    requests = []
    for context, answers in shapes:
        ids = rng.integers(0, 257, context).tolist()
        requests += [Request(ids, rng.integers(0, 257, n).tolist()) for n in answers]
    return requests


SHAPES = {
    "endings": [(9, (4, 7, 1, 3)), (20, (5, 5, 5, 6)), (1, (2, 3))],
    "letters": [(12, (1, 1, 1, 1)), (40, (1, 1))],
    "one answer each": [(5, (9,)), (30, (1,)), (1, (1,))],
    "more answers than the context holds": [(30, (20, 20, 20, 3)), (2, (1,) * 100)],
    "cut on the left": [(90, (3, 5)), (64, (1, 1, 60))],
}


@pytest.fixture(scope="module", params=["GPT-2", "Llama"])
def call(request, params, config, plan):
    config = config if request.param == "GPT-2" else LLAMA
    params = params if request.param == "GPT-2" else opinionated(LLAMA, 3)
    return scorer(params, config, plan)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shared_row_gives_every_answer_the_scores_of_a_row_of_its_own(call, shape):
    requests = questions(len(shape), SHAPES[shape])
    found = {}
    for share in (False, True):
        found[share] = [None] * len(requests)
        for batch in batches(requests, 64, share_contexts=share):
            for number, answer in zip(batch.numbers, run(batch, call), strict=True):
                found[share][number] = answer
    for alone, shared in zip(found[False], found[True], strict=True):
        assert shared.log_likelihood == pytest.approx(alone.log_likelihood, rel=1e-5)
        np.testing.assert_allclose(shared.log_probabilities, alone.log_probabilities, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(shared.margins, alone.margins, atol=1e-4)
        assert shared.best.tolist() == alone.best.tolist()
        assert shared.is_greedy == alone.is_greedy


@pytest.mark.parametrize("share", [False, True])
def test_every_request_is_in_one_batch_and_no_row_exceeds_the_context(share):
    requests = [one for shape in SHAPES.values() for one in questions(1, shape)]
    divided = list(batches(requests, 64, rows_multiple=3, budget=400, share_contexts=share))
    assert sorted(number for batch in divided for number in batch.numbers) == list(range(len(requests)))
    for batch in divided:
        assert batch.tokens_BU.shape[0] % 3 == 0
        assert batch.tokens_BU.shape[1] <= 65
    assert [b.tokens_BU.tobytes() for b in batches(requests, 64, 3, 400, share)] == [
        b.tokens_BU.tobytes() for b in divided
    ]


def test_a_question_with_four_endings_is_computed_once():
    requests = questions(0, [(40, (6, 6, 6, 6))] * 8)
    computed = {
        share: sum(batch.tokens_BU.size for batch in batches(requests, 128, share_contexts=share))
        for share in (False, True)
    }
    assert computed[True] < 0.5 * computed[False]


def test_logits_are_computed_up_to_the_last_answer_s_token(call):
    (batch,) = batches(questions(0, [(50, (1, 1, 1, 1))]), 64, share_contexts=True)
    assert int(batch.branches.n_slices) == 1
    scores = jax.tree.map(np.asarray, call(batch.tokens_BU, batch.branches))
    assert (scores.log_probability_BT[:, :16] < 0).all()
    assert (scores.log_probability_BT[:, 16:] == 0).all()
