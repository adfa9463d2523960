from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.models import decoder
from llm_jax.scoring import likelihood
from llm_jax.scoring.likelihood import score, scorer
from llm_jax.scoring.requests import Request, cut, encode_request, windows


@pytest.fixture(scope="module")
def call(params, config, plan):
    return scorer(params, config, plan)


@pytest.fixture(scope="module")
def log_probabilities(params, config, plan):
    """All next-token log-probabilities of a sequence, by the plain formula; compiled once, for the whole context."""

    @jax.jit
    def compute(tokens):
        hidden, _ = decoder.forward(params, tokens[None], config, plan)
        return jax.nn.log_softmax(decoder.logits(params, hidden[0], config))

    def of(ids):
        return np.asarray(compute(np.array(list(ids) + [0] * (config.context_length - len(ids)))))

    return of


def random_requests(seed: int, lengths) -> list[Request]:
    rng = np.random.default_rng(seed)
    return [Request(rng.integers(0, 257, a).tolist(), rng.integers(0, 257, b).tolist()) for a, b in lengths]


def test_log_likelihoods_are_those_of_the_plain_formula_in_any_batch(call, log_probabilities, config):
    lengths = [(1, 1), (3, 9), (30, 34), (20, 45), (1, 64), (16, 1), (15, 2), (7, 7)]
    requests = random_requests(0, lengths)
    answers = score(requests, call, config.context_length)
    for request, answer in zip(requests, answers, strict=True):
        ids = [*request.context, *request.continuation]
        table = log_probabilities(ids[:-1])[len(request.context) - 1 : len(ids) - 1]
        expected = table[np.arange(len(request.continuation)), request.continuation]
        np.testing.assert_allclose(answer.log_probabilities, expected, rtol=1e-5, atol=1e-5)
        assert answer.log_likelihood == pytest.approx(expected.sum(), rel=1e-5)
        assert answer.best.tolist() == table.argmax(-1).tolist()
        top = np.sort(table, axis=-1)
        np.testing.assert_allclose(answer.margins, top[:, -1] - top[:, -2], atol=1e-4)
    alone = [score([request], call, config.context_length)[0].log_likelihood for request in requests]
    np.testing.assert_allclose(alone, [a.log_likelihood for a in answers], rtol=1e-5)


def test_a_sequence_scored_in_slices_equals_one_scored_whole(params, config, plan, monkeypatch):
    tokens = jnp.array(np.random.default_rng(1).integers(0, 257, (3, 49)))
    whole = likelihood.token_scores(params, tokens, config, plan)
    monkeypatch.setattr(likelihood, "SLICE", 16)
    sliced = likelihood.token_scores(params, tokens, config, plan)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(sliced), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_what_greedy_decoding_writes_is_greedy_and_a_changed_token_is_not(call, log_probabilities, config):
    ids = [5, 6, 7]
    for _ in range(6):
        ids.append(int(log_probabilities(ids)[len(ids) - 1].argmax()))
    changed = [*ids[:-1], (ids[-1] + 1) % 257]
    greedy, other = score([Request(ids[:3], ids[3:]), Request(ids[:3], changed[3:])], call, config.context_length)
    assert greedy.is_greedy
    assert not other.is_greedy


def test_a_thousand_requests_need_few_programs(params, config, plan):
    compiled = jax.jit(partial(likelihood.token_scores, config=config, plan=plan))
    rng = np.random.default_rng(2)
    requests = random_requests(3, rng.integers(1, 30, (1000, 2)))
    score(requests, lambda tokens: compiled(params, tokens), config.context_length)
    assert compiled._cache_size() <= 4


def test_scoring_leaves_when_asked(call, config):
    assert score(random_requests(4, [(3, 3)]), call, config.context_length, should_stop=lambda: True) is None


def test_progress_counts_every_request_once(call, config):
    counts: list[int] = []
    score(random_requests(5, [(3, 3)] * 70 + [(40, 3)]), call, config.context_length, progress=counts.append)
    assert sum(counts) == 71


def test_rows_are_a_multiple_of_what_the_devices_need(config):
    shapes = []

    def record(tokens):
        shapes.append(tokens.shape)
        zeros = np.zeros((tokens.shape[0], tokens.shape[1] - 1))
        return likelihood.TokenScores(zeros, zeros.astype(int), zeros)

    score(random_requests(6, [(3, 3)] * 5), record, config.context_length, rows_multiple=8)
    assert shapes == [(8, 17)]


def test_what_does_not_fit_is_cut_from_the_left():
    assert cut(Request([1, 2, 3, 4], [5, 6]), 4) == Request([2, 3, 4], [5, 6])  # 6 is predicted, never read
    assert cut(Request([1, 2], [5, 6]), 4) == Request([1, 2], [5, 6])
    with pytest.raises(ValueError, match=r"continuation has 5 tokens; the model's context is 4"):
        cut(Request([1], [1, 2, 3, 4, 5]), 4)


def test_spaces_between_context_and_continuation_belong_to_the_continuation(bytes_tokenizer):
    request = encode_request(bytes_tokenizer, "a  ", "b")
    assert (bytes(request.context), bytes(request.continuation)) == (b"a", b"  b")


def test_an_empty_context_is_the_start_of_a_document(bytes_tokenizer):
    assert encode_request(bytes_tokenizer, "", "b") == Request([256], [ord("b")])
    assert encode_request(bytes_tokenizer, "", "<|endoftext|>b") == Request([256], [ord("b")])


def test_an_empty_continuation_is_refused(bytes_tokenizer):
    with pytest.raises(ValueError, match=r"nothing to score: '' adds no token to 'abc'"):
        encode_request(bytes_tokenizer, "abc", "")


@pytest.mark.parametrize("length", [1, 3, 4, 5, 8, 9, 30])
def test_windows_score_every_id_once_with_as_much_context_as_fits(length):
    pieces = list(windows(range(length), [-1], 4))
    assert [token for piece in pieces for token in piece.continuation] == list(range(length))
    assert pieces[0].context == [-1]
    for piece in pieces[1:]:
        assert len(piece.context) + len(piece.continuation) == 5
        assert piece.context[-1] == piece.continuation[0] - 1


def test_an_empty_document_has_no_windows():
    assert list(windows([], [-1], 4)) == []
