from functools import partial
from itertools import chain

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.decode import loop, padding
from llm_jax.decode.choose import rule
from llm_jax.decode.options import Sampling
from llm_jax.decode.padding import bucket
from llm_jax.kernels.plan import FORMULAS, ON_CPU, ON_GPU
from llm_jax.layers import cache as kv
from llm_jax.models import decoder

PROMPTS = [[7, 3, 250], list(range(20)), [299], [5, 5, 5, 5, 5]]
GREEDY = Sampling(temperature=0.0)
NO_STOP = jnp.zeros(0, jnp.int32)


cached_forward = jax.jit(decoder.forward, static_argnames=("config", "plan"))
head_of = jax.jit(decoder.logits, static_argnames="config")


@partial(jax.jit, static_argnames=("config", "plan"))
def logits_of(params, tokens, config, plan):
    hidden, _ = decoder.forward(params, tokens, config, plan)
    return decoder.logits(params, hidden, config)


def full_logits(params, sequence, config, plan):
    """Logits at every position, without a cache; padded to the context, so that one compilation serves all lengths."""
    padded = jnp.array(sequence + [0] * (config.context_length - len(sequence)))
    return np.asarray(logits_of(params, padded[None], config, plan))[0, : len(sequence)]


def greedy_without_cache(params, prompt, config, plan, number):
    sequence = list(prompt)
    for _ in range(number):
        sequence.append(int(full_logits(params, sequence, config, plan)[-1].argmax()))
    return sequence[len(prompt) :]


def test_cached_decode_equals_full_forward_at_every_position(params, config, plan):
    sequences = [np.random.default_rng(i).integers(0, 300, len(p) + 12).tolist() for i, p in enumerate(PROMPTS)]
    lengths = [len(p) for p in PROMPTS]
    tokens = np.zeros((len(PROMPTS), max(lengths)), np.int32)
    for row, length in enumerate(lengths):
        tokens[row, :length] = sequences[row][:length]
    cache = decoder.empty_cache(config, len(PROMPTS), tokens.shape[1], plan.dtype)
    hidden, cache = cached_forward(params, jnp.array(tokens), config, plan, cache)
    cache = kv.extend(kv.forget_padding(cache, jnp.array(lengths)), tokens.shape[1] + 12)
    expected = [full_logits(params, sequence, config, plan) for sequence in sequences]
    prefilled = np.asarray(head_of(params, hidden, config))
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(prefilled[row, :length], expected[row][:length], rtol=1e-5, atol=1e-5)
    for step in range(12):
        new = jnp.array([[sequence[length + step]] for sequence, length in zip(sequences, lengths, strict=True)])
        hidden, cache = cached_forward(params, new, config, plan, cache)
        logits = np.asarray(head_of(params, hidden, config))[:, 0]
        for row, length in enumerate(lengths):
            np.testing.assert_allclose(logits[row], expected[row][length + step], rtol=1e-5, atol=1e-5)


def test_a_prompt_read_in_chunks_equals_full_forward(params, config, plan):
    sequence = np.random.default_rng(9).integers(0, 300, 24).tolist()
    cache = decoder.empty_cache(config, 1, 32, plan.dtype)
    pieces = []
    for start in range(0, 24, 8):
        hidden, cache = cached_forward(params, jnp.array([sequence[start : start + 8]]), config, plan, cache)
        pieces.append(head_of(params, hidden[0], config))
    expected = full_logits(params, sequence, config, plan)
    np.testing.assert_allclose(np.concatenate(pieces), expected, rtol=1e-5, atol=1e-5)


def test_greedy_batch_equals_greedy_without_a_cache(params, config, plan):
    expected = [greedy_without_cache(params, prompt, config, plan, 14) for prompt in PROMPTS]
    assert loop.generate(params, PROMPTS, config, plan, GREEDY, 14) == expected
    assert len({tuple(tokens) for tokens in expected}) == len(PROMPTS)  # else the test would prove little


def test_a_model_can_fill_its_context_to_the_last_position(params, config, plan):
    prompt = list(range(config.context_length - 3))
    expected = greedy_without_cache(params, prompt, config, plan, 3)
    assert loop.generate(params, [prompt], config, plan, GREEDY, 3) == [expected]


def test_a_cache_grows_when_it_is_full_and_never_for_rows_that_have_stopped(params, config, plan, monkeypatch):
    sizes, grow = [], loop.grow
    monkeypatch.setattr(loop, "grow", lambda state, slots: sizes.append(slots) or grow(state, slots))
    monkeypatch.setattr(loop, "LEAST_SLOTS", 16)
    for module in (loop, padding):
        monkeypatch.setattr(module, "LENGTH_MULTIPLE", 4)
    prompts = [[7, 3, 250], [299]]
    expected = [greedy_without_cache(params, prompt, config, plan, 40) for prompt in prompts]
    for chunk in (1, 7, 40):
        pieces = list(loop.stream(params, prompts, config, plan, GREEDY, 40, chunk=chunk))
        assert [list(chain(*rows)) for rows in zip(*pieces, strict=True)] == expected
    assert sizes == 3 * [32, 44]
    stops = [tokens[15] for tokens in expected]  # beyond the first 16 slots, before the 32nd
    sizes.clear()
    answers = loop.generate(params, prompts, config, plan, GREEDY, 40, stops)
    assert answers == [tokens[: min(map(tokens.index, set(stops) & set(tokens)))] for tokens in expected]
    assert len(sizes) <= 1


def test_prompts_may_be_arrays(params, config, plan):
    prompts = [[7, 3, 250], [5, 5, 5]]
    expected = loop.generate(params, prompts, config, plan, GREEDY, 8)
    for arrays in (np.array(prompts), [np.array(ids, np.uint16) for ids in prompts], [prompts[0], np.array([5] * 3)]):
        assert loop.generate(params, arrays, config, plan, GREEDY, 8) == expected


@pytest.mark.parametrize("chunk", [0, -1])
def test_a_stream_of_no_tokens_at_a_time_is_refused_when_called(params, config, plan, chunk):
    with pytest.raises(ValueError, match=f"chunk must be at least 1 token a row; got {chunk}"):
        loop.stream(params, PROMPTS, config, plan, GREEDY, 4, chunk=chunk)


def test_streaming_gives_the_batch_piece_by_piece(params, config, plan):
    sampling = Sampling(top_k=100, seed=5)
    whole = loop.generate(params, PROMPTS, config, plan, sampling, 11)
    for chunk in (1, 4):
        pieces = list(loop.stream(params, PROMPTS, config, plan, sampling, 11, chunk=chunk))
        assert [list(chain(*rows)) for rows in zip(*pieces, strict=True)] == whole
        assert {len(row) for piece in pieces[1:-1] for row in piece} == {chunk}


def test_a_row_stops_at_its_stop_token_while_the_others_go_on(params, config, plan):
    free = loop.generate(params, PROMPTS, config, plan, Sampling(seed=1), 16)
    stop = free[1][6]
    stopped = loop.generate(params, PROMPTS, config, plan, Sampling(seed=1), 16, [stop, 298])
    for before, after in zip(free, stopped, strict=True):
        ends = [i for i, token in enumerate(before) if token in (stop, 298)]
        assert after == before[: ends[0]] if ends else after == before
    assert len(stopped[1]) <= 6
    assert max(map(len, stopped)) == 16


def test_the_loop_ends_when_every_row_has_stopped(params, config, plan):
    tokens, lengths = np.zeros((2, 16), np.int32), np.array([3, 5], np.int32)
    keys = jax.random.split(jax.random.key(0), 2)
    free = loop.prefill(params, tokens, lengths, 2, keys, rule(GREEDY), NO_STOP, config, plan, 32)
    free = loop.advance(params, free, jnp.int32(9), rule(GREEDY), NO_STOP, config, plan)
    assert int(free.count) == 9
    stops = jnp.unique(free.chosen_BG[:, 2])
    state = loop.prefill(params, tokens, lengths, 2, keys, rule(GREEDY), stops, config, plan, 32)
    state = loop.advance(params, state, jnp.int32(9), rule(GREEDY), stops, config, plan)
    assert int(state.count) <= 3
    assert bool(state.stopped_B.all())


def test_a_prompt_draws_the_same_alone_in_a_batch_and_in_another_bucket(params, config, plan):
    def sampling(seed):
        return Sampling(temperature=1.3, top_k=200, top_p=0.98, seed=seed)

    together = loop.generate(params, PROMPTS, config, plan, sampling(40), 12)
    alone = [loop.generate(params, [p], config, plan, sampling(40 + i), 12)[0] for i, p in enumerate(PROMPTS)]
    assert together == alone
    assert loop.generate(params, PROMPTS, config, plan, sampling(41), 12) != together
    same = [[1] * 20] * 4
    assert len({tuple(row) for row in loop.generate(params, same, config, plan, sampling(0), 12)}) == 4


def test_one_compilation_serves_a_bucket_and_every_setting_of_the_sampler(params, config, plan):
    def run(prompt_length, number, temperature, seed):
        sampling = Sampling(temperature=temperature, top_k=7, seed=seed)
        loop.generate(params, [[1] * prompt_length], config, plan, sampling, number, [9])

    run(3, 16, 0.5, 0)
    before = loop.prefill._cache_size(), loop.advance._cache_size()
    run(15, 8, 0.9, 4)
    run(1, 12, 2.0, 1)
    assert (loop.prefill._cache_size(), loop.advance._cache_size()) == before


def test_buckets_lose_at_most_an_eighth_or_their_multiple():
    for size in range(1, 5000):
        assert size <= bucket(size) <= size * 9 / 8
        assert size <= bucket(size, 16) < max(size + 16, size * 9 / 8)
        assert bucket(bucket(size, 16), 16) == bucket(size, 16)
    assert len({bucket(size, 16) for size in range(1, 1025)}) == 32


def test_a_step_consumes_its_cache(params, config, plan):
    keys = jax.random.split(jax.random.key(0), 1)
    arguments = (np.ones((1, 16), np.int32), np.ones(1, np.int32), 1, keys, rule(GREEDY), NO_STOP, config, plan, 32)
    state = loop.prefill(params, *arguments)
    loop.advance(params, state, jnp.int32(2), rule(GREEDY), NO_STOP, config, plan)
    assert state.cache.layers[0].k_RSH.is_deleted()


def test_bfloat16_parameters_are_cast_once_and_float32_ones_not_at_all(params, config, plan):
    assert all(
        a is b for a, b in zip(jax.tree.leaves(loop.prepare(params, plan)), jax.tree.leaves(params), strict=True)
    )
    half = loop.prepare(params, plan._replace(dtype=jnp.dtype("bfloat16")))
    assert half.token_embedding.dtype == half.blocks[0].mlp.up.weight.dtype == jnp.bfloat16
    assert half.norm.gain.dtype == half.position_embedding.dtype == jnp.float32


@pytest.mark.parametrize("kernels", [FORMULAS, ON_CPU, ON_GPU], ids=["formulas", "CPU", "GPU"])
def test_continuations_do_not_depend_on_the_kernels(params, config, plan, kernels):
    prompts = [[3, 1, 4, 1, 5], [9, 2]]
    expected = loop.generate(params, prompts, config, plan, GREEDY, 9)
    plan = plan._replace(kernels=kernels)
    assert loop.generate(loop.prepare(params, plan, 2), prompts, config, plan, GREEDY, 9) == expected
    alone = loop.prepare(params, plan, 1)
    assert loop.generate(alone, prompts[:1], config, plan, GREEDY, 9) == expected[:1]


def test_transposed_weights_for_one_row_give_the_same_logits(params, config, plan):
    plan = plan._replace(kernels=ON_CPU)
    transposed = loop.prepare(params, plan, n_rows=1)
    shape = params.blocks[0].mlp.up.weight.shape
    assert transposed.blocks[0].mlp.up.weight.shape == shape[::-1]
    tokens = jnp.arange(1, 12).reshape(1, -1)
    (one, _), (other, _) = (cached_forward(p, tokens, config, plan) for p in (params, transposed))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    for prompts in ([[1, 2, 3]], [[1, 2, 3], [7] * 9]):
        answers = [loop.generate(p, prompts, config, plan, GREEDY, 8) for p in (params, transposed)]
        assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("prompts", "number", "message"),
    [
        ([], 1, "at least one prompt"),
        ([[1], []], 1, "prompt 2 has no tokens"),
        ([[1]], 0, "max_new_tokens must be at least 1; got 0"),
        ([[1] * 48], 1, "has 48 tokens; the model's context is 48: shorten the prompt to 47"),
        ([[1] * 40], 9, "40 tokens and 9 new ones .* context is 48: ask for 8 or fewer"),
        ([[1], [5, 300]], 3, "prompt 2 holds id 300; the model knows 0…299"),
        ([[-1]], 3, "the prompt holds id -1"),
        (np.array([[5, 300]]), 3, "the prompt holds id 300"),
        (np.array([1, 2, 3]), 3, r"prompt 1 is .*1.*; expected a list of token ids"),
        (np.array([[1.7, 2.9]]), 3, r"the prompt is array\(\[1.7, 2.9\]\); expected a list of token ids"),
        ([[1], np.array([1.0])], 3, "prompt 2 is .* which are whole numbers"),
        ([np.array([[1], [2]])], 3, "the prompt is .* expected a list"),
        ([np.array([True])], 3, "the prompt is .* expected a list"),
        ([[2**70]], 3, "the prompt is .* expected a list"),
    ],
)
def test_what_cannot_be_decoded_is_refused_when_called(params, config, plan, prompts, number, message):
    with pytest.raises(ValueError, match=message):
        loop.stream(params, prompts, config, plan, GREEDY, number)
