"""--weights: one option of every command that decodes; a file of bfloat16 stays bfloat16."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from small_models import bytes_tokenizer, opinionated

from llm_jax import hf
from llm_jax.command_line import run as front_door
from llm_jax.config import llama
from llm_jax.decode.options import Sampling
from llm_jax.hf import tensors
from serve.commands import COMMANDS
from serve.models import load_model
from serve.text.config import Settings
from serve.text.local import Local

CONFIG = llama(vocab_size=257, context_length=64, d_model=32, n_heads=2, n_kv_heads=1, n_layers=1, mlp_width=64)


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> str:
    """A Llama of which the file is in bfloat16."""
    import ml_dtypes

    out = tmp_path_factory.mktemp("weights") / "tiny"
    hf.export(opinionated(CONFIG, 6), CONFIG, bytes_tokenizer(), out, "card")
    file = out / "model.safetensors"
    save_file({name: x.astype(ml_dtypes.bfloat16) for name, x in load_file(file).items()}, file)
    return str(out)


def call(*arguments: str) -> int:
    try:
        return front_door("serve", "", COMMANDS, list(arguments))
    except SystemExit as leaving:  # tyro's own way out
        return int(leaving.code or 0)


def formats(params) -> set[str]:
    return {x.dtype.name for x in jax.tree.leaves(params) if x.ndim > 1}


def test_a_bfloat16_file_stays_bfloat16_from_the_file_to_the_step(directory):
    model = load_model(directory, weights="bf16")
    assert formats(model.params) == {"bfloat16"}
    local = Local(model, consumes=True)
    assert formats(local._params) == {"bfloat16"}
    assert all(x.is_deleted() for x in jax.tree.leaves(model.params.blocks) if x.ndim > 1)
    assert formats(load_model(directory).params) == {"float32"}


def test_a_tensor_that_is_released_can_be_read_again(directory):
    from pathlib import Path

    found = tensors.read(Path(directory))
    before = {name: np.array(x) for name, x in found.items()}
    for x in found.values():
        tensors.release(x)
        tensors.release(x.T)
    for name, x in found.items():
        np.testing.assert_array_equal(np.asarray(x), before[name])
    tensors.release(np.zeros(3))  # not mapped: nothing to give back


def test_the_decoder_writes_with_weights_of_every_format(directory, capsys):
    expected = {}
    for weights in ("auto", "float32", "bf16", "int8"):
        local = Local(load_model(directory, weights=weights), 1)
        expected[weights] = "".join(local.stream("a", Settings(Sampling(temperature=0.0), 8)))
        flags = ["--prompt", "a", "--temperature", "0", "--max-new-tokens", "8", "--weights", weights]
        assert call("generate", directory, *flags) == 0
        assert capsys.readouterr().out == f"a{expected[weights]}\n"
    assert expected["auto"] == expected["float32"] == expected["bf16"]  # the file's numbers are bfloat16


def test_a_server_and_another_backend_choose_their_own_weights(directory, capsys, tmp_path):
    for command in ("generate", "chat"):
        assert call(command, "http://127.0.0.1:1", "--weights", "int8") == 2
        shown = " ".join(capsys.readouterr().err.replace("│", " ").split())
        assert "--weights int8 is about a model on this machine; http://127.0.0.1:1 is a server" in shown
    for source, flags in ((directory, ("--backend", "hf")), ("http://127.0.0.1:1", ())):
        assert call("evaluate", source, "--weights", "bf16", *flags, "--out", str(tmp_path)) == 2
        assert "--weights bf16 is about our decoder" in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_an_unknown_format_is_refused_with_the_known_ones(directory, capsys):
    assert call("generate", directory, "--weights", "int4") == 2
    shown = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert all(name in shown for name in ("auto", "float32", "bf16", "int8"))


@pytest.mark.parametrize("weights", ["bf16", "int8"])
def test_texts_are_scored_with_the_same_weights_as_they_are_written(directory, weights, plan):
    from lm_eval.api.instance import Instance

    from serve.evaluation.jax_lm import JaxLM

    def lm(weights):
        model = load_model(directory, whole=True, weights=weights)
        return JaxLM(model.params, model.config, model.tokenizer, plan, weights)

    asked = [Instance("loglikelihood", {}, ("the quick", " brown fox"), 0)]
    found, exact = lm(weights), lm("auto")
    (score, _), (expected, _) = found.loglikelihood(asked)[0], exact.loglikelihood(asked)[0]
    assert score == pytest.approx(expected, abs=1e-3 if weights == "bf16" else 0.5)
    assert jnp.isfinite(score)
    settings = {"until": ["zzz"], "max_gen_toks": 5}
    (written,) = found.generate_until([Instance("generate_until", {}, ("the quick", settings), 0)])
    assert len(written) > 0
