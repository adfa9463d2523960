"""The ways to join pictures and a language model: what each is given, where its loss is, and that it learns."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.command_line import run as front_door
from llm_jax.config import llama
from llm_jax.hf import llava
from llm_jax.models import decoder
from llm_jax.models.vision_language import cross
from llm_jax.models.vision_language.parameters import VisionLanguage, init_projector, init_tower
from train.__main__ import COMMANDS
from train.first_principles.digits import data as digits
from train.vision import drawing, flops, looking, page
from train.vision.config import VisionRunConfig
from train.vision.data import composites, words
from train.vision.fusion import base
from train.vision.fusion.contrastive import Contrastive
from train.vision.fusion.cross import Cross
from train.vision.fusion.cross import Parameters as CrossParameters
from train.vision.fusion.early import DRAWN_WEIGHT, SEEN_WEIGHT, Early
from train.vision.fusion.early import Parameters as EarlyParameters
from train.vision.fusion.embedded import SHARES, Embedded
from train.vision.fusion.pipeline import Pipeline
from train.vision.fusion.seeing import by_part
from train.vision.training import CHUNK, Stage

SMALL = VisionRunConfig(seeds=1, width=32, layers=2, batch_size=8, codes=16, code_patch=8, test_pictures=4)


@pytest.fixture(scope="module")
def task():
    world = composites.world(digits.load("embedded"), 4)
    return base.Task(world, words.words_of(world), SMALL)


@pytest.fixture(scope="module")
def sample(task):
    return jax.tree.map(jnp.asarray, task.world.tests["test"])


@pytest.fixture(scope="module")
def embedded(task):
    way = Embedded(task)
    keys = jax.random.split(jax.random.key(0), 3)
    tower, text = init_tower(keys[0], way.config.vision), decoder.init(keys[1], way.config.text)
    return way, VisionLanguage(tower, init_projector(keys[2], way.config), text)


@pytest.fixture(scope="module")
def early(task):
    way = Early(task)
    return way, way.fit_codes(0)


def test_the_loss_is_on_the_answer_alone(task, sample, embedded):
    way, _ = embedded
    row = way.rows_of(sample)
    tokens, weights, branches = (np.asarray(x) for x in (row.tokens_BT, row.weights_BT, row.branches_BT))
    assert (weights[branches == 0] == 0).all()
    for b, firsts in enumerate(np.asarray(row.first_BM)):
        for m, first in enumerate(firsts):
            np.testing.assert_array_equal(np.flatnonzero(weights[b] * (branches[b] == m + 1)), [first, first + 1])
            said = task.words.tokenizer.decode(tokens[b, first : first + 2].tolist())
            assert said == f" {task.world.answers[int(sample.answer_BM[b, m])]}<|endoftext|>"


@pytest.mark.parametrize("name", ["pipeline", "early", "embedded", "cross"])
def test_a_question_among_others_is_answered_as_if_it_were_asked_alone(task, sample, embedded, early, name):
    """Hidden states at every token of the answer, whatever else is asked about the picture."""
    way, params = embedded
    text, tower = params.text, params.tower

    def hidden(sample):
        if name == "embedded":
            row = way.rows_of(sample)
            return row, way.hidden(params, sample, row)
        if name == "early":
            other, codes = early
            row = other._asked(codes, sample)
            return row, other.hidden(decoder.init(jax.random.key(0), other.config), row)
        if name == "cross":
            other = Cross(task)
            layers = cross.init(jax.random.key(1), other.config, 16, 32)
            opened = tuple(dataclasses.replace(layer, gate=jnp.float32(1)) for layer in layers)
            row = other.rows_of(sample)
            return row, other.hidden(CrossParameters(tower, opened, text), sample, row)
        row = base.rows(task.words, way.reading.caption(sample.labels_BK), sample)
        return row, way.reading.hidden(text, row)

    def at_answers(sample):
        row, hidden_BTD = hidden(sample)
        places = row.first_BM[..., None] - 1 + jnp.arange(2)
        return np.asarray(hidden_BTD[jnp.arange(len(places))[:, None, None], places])

    together = at_answers(sample)
    for m in range(task.world.n_asked):
        alone = sample._replace(question_BM=sample.question_BM[:, m : m + 1], answer_BM=sample.answer_BM[:, m : m + 1])
        np.testing.assert_allclose(at_answers(alone)[:, 0], together[:, m], atol=2e-5)
    other = sample._replace(pixels_BYXC=jnp.roll(sample.pixels_BYXC, 1, 0), labels_BK=jnp.roll(sample.labels_BK, 1, 0))
    assert (np.abs(at_answers(other) - together).max(axis=(-1, -2)) > 1e-4).all()  # every question sees the picture


def test_each_patch_names_the_part_that_it_lies_in(task):
    """With weights that let a patch's vector say where it is, the loss asks patch and part to agree."""
    side = 4
    place_P = jnp.arange(side * side)[None, :, None]
    parts = np.asarray(by_part(place_P, 4))[0, :, :, 0]
    np.testing.assert_array_equal(parts, [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]])
    np.testing.assert_array_equal(np.asarray(by_part(place_P, 1))[0, 0, :, 0], np.arange(16))


def test_names_are_likeliest_over_a_parts_patches_and_unknown_ones_have_no_loss(task, sample):
    seeing = Pipeline(task).seeing
    params = seeing.init(jax.random.key(0))
    log_p = np.asarray(seeing.log_p(params, sample.pixels_BYXC))
    assert log_p.shape == (4, 4, 4, 2, 10)
    np.testing.assert_allclose(np.exp(log_p).sum(axis=-1), 1, rtol=1e-5)
    assert (log_p[..., 0, 5:] == -np.inf).all()  # there are five colours
    names = np.asarray(seeing.names(params, sample.pixels_BYXC))
    np.testing.assert_array_equal(names, log_p.sum(axis=2).argmax(axis=-1).reshape(4, 8))
    half = sample._replace(labels_BK=sample.labels_BK.at[:, 2:].set(-1))
    wanted = -np.mean([log_p[b, 0, :, k, half.labels_BK[b, k]] for b in range(4) for k in range(2)])
    np.testing.assert_allclose(seeing._loss(params, None, half, jax.random.key(0)), wanted, rtol=1e-5)


def test_there_is_one_placeholder_for_each_patch(sample, embedded):
    way, _ = embedded
    tokens = np.asarray(way.rows_of(sample).tokens_BT)
    assert ((tokens == way.config.image_token).sum(axis=1) == way.config.vision.n_patches).all()


def test_a_pipelines_decoder_sees_no_picture(task, sample):
    way = Pipeline(task)
    params = decoder.init(jax.random.key(0), way.reading.config)
    answer = jax.jit(way.reading.answer)
    black = sample._replace(pixels_BYXC=0 * sample.pixels_BYXC)
    one, other = (answer(params, given, given.labels_BK) for given in (sample, black))
    np.testing.assert_array_equal(one.token_BM, other.token_BM)


def test_the_caption_names_colour_and_digit_of_each_place(task, sample):
    way = Pipeline(task)
    tokens = np.asarray(way.reading.caption(sample.labels_BK))[0]
    labels = np.asarray(sample.labels_BK)[0]
    said = [place[label] for place, label in zip(task.world.places, labels, strict=True)]
    assert task.words.tokenizer.decode(tokens.tolist()).split() == said
    unknown = way.reading.caption(-jnp.ones((1, 8), int))
    assert (np.asarray(unknown) == task.words.end).all()


def test_a_right_answer_is_what_greedy_decoding_writes(task):
    """`is_right` needs every token of the answer and the end, not the first alone."""
    config = llama(vocab_size=6, context_length=8, d_model=32, n_heads=1, n_layers=1, tied_head=False)
    params = decoder.init(jax.random.key(0), config)
    # The hidden states are the wished tokens' rows of the head: so the logits choose these.
    head = jnp.pad(10 * jnp.eye(6, 32), ((0, 122), (0, 0)))
    params = dataclasses.replace(params, head=head)
    row = base.Rows(
        jnp.array([[0, 1, 2, 3, 1, 4, 3]] * 2),
        jnp.array([[0.0, 0, 1, 1, 0, 1, 1]] * 2),
        jnp.array([[0, 1, 1, 1, 2, 2, 2]] * 2),
        jnp.array([[2, 5]] * 2),
    )
    hidden = head[jnp.array([[5, 2, 3, 0, 4, 3], [1, 2, 4, 0, 4, 3]])]
    found = base.answered(params, hidden, row, row.weights_BT, config, task.plan)
    assert found.is_right_BM.tolist() == [[True, True], [False, True]]
    assert found.token_BM.tolist() == [[2, 4], [2, 4]]


def test_a_code_is_the_nearest_patch_and_painting_shows_it(early):
    way, codes = early
    shown = way.paint(np.asarray(codes), way.first_code + np.arange(16)[None])
    assert shown.shape == (1, 32, 32, 3)
    np.testing.assert_array_equal(
        np.asarray(way.encode(codes, jnp.asarray(shown, jnp.float32)))[0], way.first_code + np.arange(16)
    )


def test_a_token_that_is_no_patch_stays_black(early):
    way, codes = early
    assert (way.paint(np.asarray(codes), np.zeros((1, 16), int)) == 0).all()


def test_early_fusion_has_its_loss_on_pictures_too(early, sample):
    way, codes = early
    asked = way._asked(codes, sample)
    picture = np.asarray(asked.weights_BT)[:, 1 : 1 + way.n_codes]
    np.testing.assert_allclose(picture, SEEN_WEIGHT)
    tokens = np.asarray(asked.tokens_BT)[:, 1 : 1 + way.n_codes]
    assert ((tokens >= way.first_code) & (tokens < way.config.vocab_size)).all()
    drawn = way._to_draw(codes, sample)
    assert drawn.tokens_BT.shape == asked.tokens_BT.shape
    weights = np.asarray(drawn.weights_BT)
    np.testing.assert_allclose(weights[weights > 0], DRAWN_WEIGHT)
    assert (weights > 0).sum() == len(sample.question_BM) * way.n_codes


def test_even_two_pictures_a_step_are_drawn_and_asked_about(early, sample):
    """A quarter of two rows would be none, and a mean over no row is no loss."""
    way, codes = early
    two = jax.tree.map(lambda x: x[:2], sample)
    params = decoder.init(jax.random.key(0), way.config)
    gradient = jax.jit(jax.grad(way._loss))(params, codes, two, jax.random.key(0)).head
    assert np.isfinite(gradient).all()
    is_code = np.arange(len(gradient)) >= way.first_code
    assert np.abs(gradient[is_code]).max() > 0
    assert np.abs(gradient[~is_code]).max() > 0


def test_more_codes_than_patches_are_refused_before_anything_is_trained(task):
    config = dataclasses.replace(SMALL, codes=100_000)
    with pytest.raises(ValueError, match=r"codes must be at most the number of different patches, \d+; got 100000"):
        Early(base.Task(task.world, task.words, config))


@pytest.mark.parametrize("way", [Pipeline, Embedded, Cross, Contrastive])
def test_patches_that_do_not_fill_the_parts_are_refused_before_anything_is_trained(task, way):
    config = dataclasses.replace(SMALL, patch=32)
    with pytest.raises(ValueError, match="--patch must divide 16 pixels"):
        way(base.Task(task.world, task.words, config))


def test_a_drawing_shows_each_picture_once_and_as_many_as_there_are(task, sample, early, tmp_path, monkeypatch):
    """A test of easy-vqa has a row for every question about a picture."""
    way, codes = early
    asked = []
    monkeypatch.setattr(way, "draw", lambda params, labels, seed: asked.append(labels) or np.zeros((3, 32, 32, 3)))
    repeated = jax.tree.map(lambda x: np.asarray(x)[[0, 0, 1, 1, 1, 2, 0]], sample)
    params = EarlyParameters(decoder.init(jax.random.key(0), way.config), codes)
    drawing.drawn(tmp_path / "drawings.png", way, params, repeated, 0)
    np.testing.assert_array_equal(asked[0], np.asarray(sample.labels_BK)[:3])
    assert (tmp_path / "drawings.png").stat().st_size > 1000


def test_attention_shares_of_a_row_come_from_the_picture_and_the_words(embedded, sample):
    way, params = embedded
    shares = looking.followed(way, params, jax.tree.map(lambda x: x[:4], sample))
    assert shares.shape == (4, way.config.vision.n_patches)
    assert (shares > 0).all()
    assert (shares.sum(axis=1) < 1).all()


def test_flops_of_a_decoder_are_those_that_its_matrices_ask_for():
    config = llama(vocab_size=128, context_length=8, d_model=32, n_heads=1, n_layers=2, mlp_width=96, tied_head=False)
    params = decoder.init(jax.random.key(0), config)
    matrices = sum(leaf.size for leaf in jax.tree.leaves(params.blocks) if leaf.ndim > 1)
    scores = 2 * 2 * 2 * 5 * 5 * 32  # layers × (scores, mean of values) × multiply and add × queries × keys × width
    assert flops.decoder(config, 5, 0) == 2 * 5 * matrices + scores
    assert flops.decoder(config, 5) - flops.decoder(config, 5, 0) == 2 * 5 * 32 * 128


def test_every_way_gets_the_same_compute(task):
    assert sum(SHARES.values()) < 1
    stage = Stage("x", lambda *given: jnp.float32(0), 10**6, 1e-3)
    assert stage.steps(3e9, 100) * 100 * 1e6 == pytest.approx(3e9, rel=0.35)
    assert stage.steps(3e11, 100) == 3000
    assert stage.steps(1, 100) == CHUNK


def test_training_draws_each_example_once_and_stops_where_the_loss_is_lost(task):
    def loss(trained, fixed, sample, key):
        return trained["w"].sum() * jnp.inf

    stage = Stage("broken", loss, 1, 1e-3)
    with pytest.raises(ValueError, match=r"broken: the loss is no longer finite after 20 steps"):
        stage.run({"w": jnp.ones(2)}, None, task.world, 1, 2, 0, lambda *said: None)


def test_a_picture_on_the_page_is_its_pixels():
    import io

    from PIL import Image

    pixels = np.random.default_rng(0).random((4, 4, 3))
    found = np.asarray(Image.open(io.BytesIO(page.png(pixels))))
    np.testing.assert_array_equal(found, (pixels * 255).round().astype(np.uint8))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--width", "40"], "width must be a multiple of 32"),
        (["--petaflops", "-1"], "petaflops must be a number above 0"),
        (["--seeds", "0"], "seeds must be at least 1"),
        (["--patch", "5"], "patch_size must divide image_size"),
        (["--patch", "32"], "--patch must divide 16 pixels, the side of each of the 2 × 2 parts"),
        (["--code-patch", "5"], "code_patch must divide"),
        (["--codes", "100000"], "codes must be at most"),
        (["--data", "nowhere"], "no folder nowhere"),
    ],
)
def test_wrong_flags_are_refused_and_leave_nothing(flags, said, tmp_path, capsys):
    small = ["--test-pictures", "2", "--petaflops", "1e-7", "--fusion", "early", "embedded"]
    wish = [*small[:2], *small[4:], *flags] if "--petaflops" in flags else [*small, *flags]
    if "--patch" in flags:
        wish = [*small[:4], "--fusion", "embedded", *flags]
    assert front_door("train", "", COMMANDS, ["vision", "--runs", str(tmp_path), *wish]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_a_small_run_learns_and_leaves_everything(tmp_path, capsys):
    flags = [
        "--width",
        "32",
        "--layers",
        "2",
        "--seeds",
        "2",
        "--petaflops",
        "1e-4",
        "--test-pictures",
        "20",
        "--rate",
        "3e-3",
    ]
    assert front_door("train", "", COMMANDS, ["vision", "--runs", str(tmp_path), *flags]) == 0
    out = capsys.readouterr().out
    run = tmp_path / "vision"
    assert {path.name for path in run.iterdir()} == {
        *("summary.json", "metrics.jsonl", "loss.png", "mistakes.html", "drawings.png", "attention.png", "model"),
    }
    record = json.loads((run / "summary.json").read_text())
    budget = record["petaflops"] * 1e15
    for way in record["ways"].values():
        assert way["flops"] == pytest.approx(budget, rel=0.25)
    found = record["tests"]["test"]["ways"]
    assert {"pipeline", "pipeline, true words", "early", "embedded", "embedded, shuffled"} <= found.keys()
    chance = record["tests"]["test"]["controls"]["chance"]["all"]
    assert found["pipeline, true words"]["summary"]["all"]["mean"] > 0.3 > chance
    assert "blind" in out
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    first = [line["train_loss"] for line in lines if line["way"] == "embedded" and line["seed"] == 0]
    assert np.mean(first[-CHUNK:]) < np.mean(first[:CHUNK])
    assert llava.load(run / "model").config.vision.image_size == 32
