"""`load_run` gives back the model a run has saved, without its optimizer, and names what is no run."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import pytest

from llm_jax.checkpoint import Checkpoints, Damaged, load_run
from llm_jax.config import DecoderConfig
from llm_jax.models import decoder
from llm_jax.shapes import pytree
from llm_jax.tokenizer import CharacterTokenizer

CONFIG = DecoderConfig(vocab_size=5, context_length=8, d_model=8, n_heads=2, n_layers=2)


@pytree
class State:
    """As the trainer's: the parameters among other fields."""

    params: decoder.Decoder
    moments: decoder.Decoder
    step: jax.Array


def with_model(**changes) -> str:
    """A run's config.json with another model; ... leaves a field out."""
    model = {name: value for name, value in (vars(CONFIG) | changes).items() if value is not ...}
    return json.dumps({"format": 1, "model": model})


def parameters(seed: int) -> decoder.Decoder:
    return decoder.init(jax.random.key(seed), CONFIG)


@pytest.fixture
def run(tmp_path):
    """A run's folder with checkpoints of steps 1 and 2."""
    folder = tmp_path / "runs" / "tiny"
    folder.mkdir(parents=True)
    content = {"format": 1, "model": dataclasses.asdict(CONFIG), "training": {"seed": 1}}
    (folder / "config.json").write_text(json.dumps(content))
    CharacterTokenizer("abcde").save(folder / "tokenizer")
    checkpoints = Checkpoints(folder / "checkpoints")
    for step in (1, 2):
        checkpoints.save(step, State(params=parameters(step), moments=parameters(9), step=jnp.int32(step)), {})
    checkpoints.close()
    return folder


def test_newest_parameters_config_and_tokenizer_are_loaded(run, assert_equal):
    loaded = load_run(run)
    assert (loaded.step, loaded.config) == (2, CONFIG)
    assert_equal(loaded.params, parameters(2))
    assert loaded.tokenizer.decode(loaded.tokenizer.encode("badec")) == "badec"


def test_older_step_on_request(run, assert_equal):
    assert_equal(load_run(run, step=1).params, parameters(1))
    with pytest.raises(FileNotFoundError, match=r"no checkpoint of step 3 .* it has \[1, 2\]"):
        load_run(run, step=3)


def test_loading_changes_nothing_in_the_folder_of_a_run_that_is_being_written(run):
    (run / "checkpoints" / ".partial-00000003").mkdir()
    before = sorted(run.rglob("*"))
    load_run(run)
    assert sorted(run.rglob("*")) == before


def test_damaged_checkpoint_is_announced_and_the_one_before_it_loaded(run, truncate, caplog, assert_equal):
    truncate(next((run / "checkpoints" / "00000002" / "state").rglob("d/*")), 1)
    loaded = load_run(run)
    assert loaded.step == 1
    assert_equal(loaded.params, parameters(1))
    assert "step 2 is damaged" in caplog.text
    truncate(run / "checkpoints" / "00000001" / "integrity.json", 1)
    with pytest.raises(Damaged, match="no intact checkpoint"):
        load_run(run)


def test_what_is_no_run_is_refused_by_name(run, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere is not a run: there is no such folder"):
        load_run(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"runs is not a run: it has no config\.json"):
        load_run(tmp_path / "runs")


def test_run_without_checkpoints_or_tokenizer_is_refused(run):
    (run / "checkpoints").rename(run / "elsewhere")
    with pytest.raises(FileNotFoundError, match=f"no checkpoint in {run / 'checkpoints'} yet"):
        load_run(run)
    (run / "tokenizer").rename(run / "tokens")
    with pytest.raises(FileNotFoundError, match="tokenizer is missing"):
        load_run(run)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"config\.json is not the config of a run"),
        ("[]", r"config\.json is not the config of a run"),
        ('{"format": 1}', r"config\.json is not the config of a run \(it has no 'model'\)"),
        ('{"format": 2, "model": {}}', r"config\.json is of format 2; this version of llm-jax reads format 1"),
        ('{"format": 1, "model": {"d_modell": 8}}', r"config\.json describes no model .*no field 'd_modell'"),
        (with_model(n_heads=3), "n_heads must divide d_model"),
        (with_model(d_model="8"), r"config\.json describes no model .*d_model must be a whole number"),
        (with_model(norm_epsilon=...), r"config\.json describes no model .*needs a 'norm_epsilon', which is missing"),
        pytest.param('{"format": 1, "model": ' + 200_000 * "[", r"config\.json is not the config of a run", id="deep"),
    ],
)
def test_bad_config_is_refused_by_name(run, content, message):
    (run / "config.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        load_run(run)


def test_parameters_of_another_model_are_refused_with_both_shapes(run):
    other = dataclasses.asdict(dataclasses.replace(CONFIG, d_model=16))
    (run / "config.json").write_text(json.dumps({"format": 1, "model": other}))
    with pytest.raises(
        ValueError, match=r"params\.\S+ is float32\[128, 8\] in the checkpoint and float32\[128, 16\] here"
    ):
        load_run(run)
