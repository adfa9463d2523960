"""The encoder: what may see what, both places of the norm, pooling and the contrastive loss."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.models.encoder import classifier, contrast, masking, pooling
from llm_jax.models.encoder.config import EncoderConfig
from llm_jax.models.encoder.forward import forward, masked_logits
from llm_jax.models.encoder.parameters import dimension_letters, init

SMALL = EncoderConfig(
    vocab_size=40, context_length=12, d_model=16, n_heads=2, n_layers=2, mlp_width=24, has_masked_head=True
)


def jitter(tree, key=1):
    """Biases and gains that are not 0 and 1, so that leaving one out is seen."""
    keys = iter(jax.random.split(jax.random.key(key), len(jax.tree.leaves(tree))))
    return jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(next(keys), leaf.shape), tree)


@pytest.fixture(scope="module")
def params():
    return jitter(init(jax.random.key(0), SMALL))


@pytest.fixture(scope="module")
def states(plan):
    return jax.jit(partial(forward, plan=plan), static_argnames="config")


def test_every_token_sees_every_other_one_and_no_padding(params, states):
    tokens = jnp.arange(1, 9)[None]
    everything = jnp.ones((1, 8), bool)
    before = states(params, tokens, everything, config=SMALL)
    after = states(params, tokens.at[0, 7].set(30), everything, config=SMALL)
    assert (jnp.abs(after - before).max(axis=-1) > 1e-3).all()  # the first sees the last: no causal mask
    hidden_last = everything.at[0, 7].set(False)
    before = states(params, tokens, hidden_last, config=SMALL)[:, :7]
    after = states(params, tokens.at[0, 7].set(30), hidden_last, config=SMALL)[:, :7]
    np.testing.assert_array_equal(before, after)


def test_segments_and_positions_change_the_states(params, states):
    tokens, everything = jnp.full((1, 8), 3), jnp.ones((1, 8), bool)
    plain = states(params, tokens, everything, config=SMALL)
    assert jnp.abs(plain[0, 0] - plain[0, 1]).max() > 1e-3  # the same token at two positions
    second = states(params, tokens, everything, config=SMALL, segments_BT=jnp.ones((1, 8), int))
    assert jnp.abs(plain - second).max() > 1e-3


def test_pre_norm_adds_to_the_stream_and_post_norm_normalises_it(params, states):
    """With the half blocks' outputs at zero, pre-norm is one norm of the embedding; post-norm is three and more."""
    silent = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf * 0 if ".out" in jax.tree_util.keystr(path) or ".down" in jax.tree_util.keystr(path)
        else leaf, params
    )  # fmt: skip
    tokens, everything = jnp.arange(1, 9)[None], jnp.ones((1, 8), bool)
    x = np.asarray(params.token_embedding[tokens] + params.position_embedding[:8] + params.segment_embedding[0])

    def norm(layer, x):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True)) * layer.gain + layer.bias

    pre = states(silent, tokens, everything, config=dataclasses.replace(SMALL, norm="pre"))
    np.testing.assert_allclose(pre, norm(params.norm, x), atol=2e-5)
    expected = norm(params.norm, x)
    for block in params.blocks:
        expected = norm(block.norm_2, norm(block.norm_1, expected))
    np.testing.assert_allclose(states(silent, tokens, everything, config=SMALL), expected, atol=2e-5)


def test_rows_longer_than_the_positions_are_refused(params, plan):
    with pytest.raises(ValueError, match="at most 12 tokens, the model's positions; got 13"):
        forward(params, jnp.zeros((1, 13), int), jnp.ones((1, 13), bool), SMALL, plan)


def test_an_encoder_without_the_head_says_so(params, plan):
    bare = dataclasses.replace(params, masked_head=None)
    with pytest.raises(ValueError, match="has_masked_head=True"):
        masked_logits(bare, jnp.zeros((1, 2, 16)), SMALL, plan)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("n_heads", 3, "must divide d_model; got d_model=16, n_heads=3"),
        ("vocab_size", 0, "at least 1; got 0"),
        ("norm_epsilon", 2.0, "between 0 and 1"),
    ],
)
def test_a_config_refuses_nonsense(field, value, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(SMALL, **{field: value})


def test_the_masked_mean_counts_tokens_alone():
    hidden = jnp.array([[[1.0, 2.0], [3.0, 4.0], [100.0, 100.0]], [[7.0, 7.0]] * 3])
    mean = pooling.masked_mean(hidden, jnp.array([[True, True, False], [False, False, False]]))
    np.testing.assert_allclose(mean, [[2.0, 3.0], [0.0, 0.0]])
    np.testing.assert_allclose(pooling.normalise(jnp.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0.0, 0.0]])


def test_the_graded_loss_asks_for_the_order_of_the_cosines():
    a, b = np.random.default_rng(1).normal(size=(2, 4, 3))
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    gold = np.array([0.0, 3.0, 3.0, 5.0])
    expected = np.log(
        1 + sum(np.exp((cosine[i] - cosine[j]) / 0.5) for i in range(4) for j in range(4) if gold[i] < gold[j])
    )
    loss = contrast.graded(jnp.array(a), jnp.array(b), jnp.array(gold), 0.5)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_fifteen_percent_are_chosen_and_of_these_80_10_10_are_masked_replaced_and_kept():
    """Within four standard errors; the loss is on all that are chosen, and on nothing else."""
    tokens = jnp.tile(jnp.arange(4, 104), (400, 10))
    may = jnp.ones(tokens.shape, bool).at[:, 500:].set(False)
    inputs, weights = (np.asarray(x) for x in masking.mask_tokens(jax.random.key(0), tokens, may, 3, (4, 104)))
    chosen, tokens = weights == 1, np.asarray(tokens)
    assert set(np.unique(weights)) == {0.0, 1.0}
    assert not chosen[:, 500:].any()
    np.testing.assert_array_equal(inputs[~chosen], tokens[~chosen])
    n = int(chosen.sum())
    assert abs(n / 200_000 - 0.15) < 4 * np.sqrt(0.15 * 0.85 / 200_000)
    masked, kept = inputs[chosen] == 3, inputs[chosen] == tokens[chosen]
    for share, expected in ((masked, 0.8), (kept, 0.1 + 0.1 / 100)):  # a random token may be the one that was there
        assert abs(share.mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / n)
    random = inputs[chosen][~masked & ~kept]
    assert random.min() == 4
    assert random.max() == 103
    again = masking.mask_tokens(jax.random.key(0), jnp.asarray(tokens), may, 3, (4, 104))
    np.testing.assert_array_equal(again.inputs_BT, inputs)


def test_the_pooled_head_reads_the_first_token_or_the_mean(plan):
    head = jax.tree.map(lambda p: p + 0.1, classifier.init_head(jax.random.key(0), 16, 3))
    hidden = jax.random.normal(jax.random.key(1), (2, 4, 16))
    is_token = jnp.array([[True] * 4, [True, True, False, False]])
    for pooling_name, pooled in (("cls", hidden[:, 0]), ("mean", pooling.masked_mean(hidden, is_token))):
        found = classifier.class_logits(head, hidden, is_token, plan, pooling_name)
        expected = np.tanh(pooled @ head.dense.weight + head.dense.bias) @ head.out.weight + head.out.bias
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_every_axis_has_a_letter(params):
    letters = dimension_letters(SMALL)
    assert jax.tree.structure(letters) == jax.tree.structure(params)
    assert all(len(a) == b.ndim for a, b in zip(jax.tree.leaves(letters), jax.tree.leaves(params), strict=True))
