"""A decoder that sees: the patches' order, what the decoder is given, and what is refused."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.config import llama
from llm_jax.models import decoder
from llm_jax.models.vision_language import contrast, cross
from llm_jax.models.vision_language import forward as seeing
from llm_jax.models.vision_language import tower as towers
from llm_jax.models.vision_language.config import VisionConfig, VisionLanguageConfig
from llm_jax.models.vision_language.parameters import init

VISION = VisionConfig(image_size=8, patch_size=4, d_model=16, n_heads=2, n_layers=2, mlp_width=24)
IMAGE = 7
SMALL = VisionLanguageConfig(VISION, llama(vocab_size=20, context_length=16, d_model=16, n_heads=2, n_layers=2), IMAGE)
TOKENS = jnp.array([[IMAGE] * 4 + [3, 5, 9]])


@pytest.fixture(scope="module")
def params():
    return jax.tree.map(lambda x: 4 * x if x.ndim > 1 else x + 0.1, init(jax.random.key(0), SMALL))


@pytest.fixture(scope="module")
def pixels():
    return jnp.asarray(np.random.default_rng(0).normal(size=(1, 8, 8, 3)), jnp.float32)


@pytest.fixture(scope="module")
def logits(plan):
    return jax.jit(partial(seeing.logits, config=SMALL, plan=plan))


def test_patches_are_squares_in_reading_order():
    picture = np.arange(8 * 8 * 3).reshape(1, 8, 8, 3)
    cut = np.asarray(towers.patches(jnp.asarray(picture, jnp.float32), 4))
    assert cut.shape == (1, 4, 48)
    np.testing.assert_array_equal(cut[0, 1], picture[0, :4, 4:].reshape(-1))
    np.testing.assert_array_equal(cut[0, 2], picture[0, 4:, :4].reshape(-1))


def test_the_answer_depends_on_every_patch(params, pixels, logits):
    before = logits(params, TOKENS, pixels)[0, -1]
    for y, x in np.ndindex(2, 2):
        changed = pixels.at[0, 4 * y, 4 * x, 0].add(3.0)
        assert jnp.abs(logits(params, TOKENS, changed)[0, -1] - before).max() > 1e-3, (y, x)


def test_no_patch_stands_behind_the_text_that_it_is_read_by(params, pixels, logits):
    """The decoder stays causal: a later word changes nothing before it."""
    before = logits(params, TOKENS, pixels)
    after = logits(params, TOKENS.at[0, -1].set(2), pixels)
    np.testing.assert_allclose(before[0, :-1], after[0, :-1], atol=1e-5)


def test_the_kth_placeholder_gets_the_kth_vector(params):
    vectors = jnp.arange(4.0)[None, :, None] + jnp.zeros((1, 4, 16))
    tokens = jnp.array([[3, IMAGE, IMAGE, 5, IMAGE, IMAGE]])
    put = np.asarray(seeing.embed(params.text, tokens, vectors, IMAGE))
    np.testing.assert_array_equal(put[0, [1, 2, 4, 5], 0], [0, 1, 2, 3])
    np.testing.assert_array_equal(put[0, [0, 3]], np.asarray(params.text.token_embedding)[[3, 5]])


def test_embeddings_from_outside_equal_the_decoders_own(params, plan):
    config = SMALL.text
    tokens = jnp.array([[1, 2, 3, 4]])
    own, _ = decoder.forward(params.text, tokens, config, plan)
    given, _ = decoder.forward(params.text, 0 * tokens, config, plan, embedded_BTD=params.text.token_embedding[tokens])
    np.testing.assert_array_equal(own, given)


def test_the_class_token_and_the_last_layer_reach_no_answer(params, pixels, logits):
    """LLaVA takes the patches of the layer before the last."""
    before = logits(params, TOKENS, pixels)
    tower = params.tower
    silent = jax.tree.map(jnp.zeros_like, tower.blocks[-1])
    changed = dataclasses.replace(
        tower, blocks=(*tower.blocks[:-1], silent), norm_after=jax.tree.map(jnp.zeros_like, tower.norm_after)
    )
    np.testing.assert_array_equal(before, logits(dataclasses.replace(params, tower=changed), TOKENS, pixels))


def test_normalised_pixels_have_the_means_taken_out():
    grey = jnp.broadcast_to(jnp.array(VISION.mean, jnp.float32), (1, 8, 8, 3))
    assert jnp.abs(towers.normalised(grey, VISION)).max() < 1e-6
    white = towers.normalised(jnp.ones((1, 8, 8, 3)), VISION)
    np.testing.assert_allclose(white[0, 0, 0], (1 - np.array(VISION.mean)) / np.array(VISION.std), rtol=1e-5)


def test_quick_gelu_is_clips():
    x = jnp.linspace(-3, 3, 7)
    np.testing.assert_allclose(towers.quick_gelu(x), x / (1 + np.exp(-1.702 * x)), rtol=1e-6)


@pytest.mark.parametrize("count", [3, 5, 8])
def test_placeholders_that_are_not_the_patches_are_refused(count):
    with pytest.raises(ValueError, match=f"{count} placeholders.* need 4"):
        seeing.check_placeholders([IMAGE] * count + [3], 1, SMALL)
    seeing.check_placeholders([IMAGE] * 4 + [3], 1, SMALL)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("image_size", 10, "patch_size must divide image_size"),
        ("d_model", 15, "n_heads must divide d_model"),
        ("std", (1.0, 0.0, 1.0), "std must be three numbers"),
        ("n_layers", 0, "at least 1"),
        ("norm_epsilon", 2.0, "norm_epsilon must lie"),
    ],
)
def test_a_tower_that_makes_no_sense_is_refused(field, value, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(VISION, **{field: value})


def test_pictures_of_another_size_are_refused(params, plan):
    with pytest.raises(ValueError, match=r"8 × 8 pixels.*\(4, 8, 3\)"):
        towers.tower(params.tower, jnp.zeros((1, 4, 8, 3)), VISION, plan)


@pytest.mark.parametrize("layer", [0, -3])
def test_a_feature_layer_that_is_not_there_is_refused(layer):
    with pytest.raises(ValueError, match="feature_layer must lie"):
        dataclasses.replace(SMALL, feature_layer=layer)


@pytest.fixture(scope="module")
def crossing(params):
    layers = cross.init(jax.random.key(3), SMALL.text, 5, 12)
    vectors = jnp.asarray(np.random.default_rng(1).normal(size=(1, 5, 12)), jnp.float32)
    return params.text, layers, vectors


def test_cross_attention_begins_as_the_decoder_was(crossing, plan):
    text, layers, vectors = crossing
    tokens = jnp.array([[1, 2, 3]])
    plain, _ = decoder.forward(text, tokens, SMALL.text, plan)
    np.testing.assert_array_equal(cross.forward(text, layers, tokens, vectors, SMALL.text, plan), plain)


@pytest.mark.parametrize("number", [0, 1])
def test_every_cross_attention_layer_brings_every_patch_to_every_position(crossing, plan, number):
    text, layers, vectors = crossing
    opened = [dataclasses.replace(layer, gate=jnp.float32(n == number)) for n, layer in enumerate(layers)]
    call = jax.jit(lambda given: cross.forward(text, tuple(opened), jnp.array([[1, 2, 3]]), given, SMALL.text, plan))
    before = call(vectors)
    for patch in range(5):
        assert (jnp.abs(call(vectors.at[0, patch].add(2.0)) - before).max(axis=-1) > 1e-4).all()


def test_the_contrastive_loss_is_clips_and_counts_equal_texts_once():
    rng = np.random.default_rng(0)
    seen, said = (rng.normal(size=(4, 8)).astype(np.float32) for _ in range(2))

    def loss(seen, said, same, known):
        return contrast.loss(*map(jnp.asarray, (seen, said, same, known)), jnp.log(3.0))

    known = np.ones(4, bool)
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (seen, said))
    scores = 3.0 * a @ b.T
    rows = np.log(np.exp(scores).sum(axis=1)) - np.diag(scores)
    columns = np.log(np.exp(scores).sum(axis=0)) - np.diag(scores)
    found = loss(seen, said, np.arange(4), known)
    np.testing.assert_allclose(found, (rows.mean() + columns.mean()) / 2, rtol=1e-5)
    said[1] = said[0]
    same = np.array([0, 0, 2, 3])
    without = loss(np.delete(seen, 1, 0), np.delete(said, 1, 0), np.array([0, 2, 3]), known[1:])
    of_three = loss(seen, said, same, np.array([True, False, True, True]))
    np.testing.assert_allclose(of_three, without, rtol=1e-5)
    assert loss(seen, said, same, known) < loss(seen, said, np.arange(4), known)
