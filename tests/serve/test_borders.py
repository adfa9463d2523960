"""Every command begins and ends a text where the model's files say, whatever the tokens look like."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from llm_jax import hf
from llm_jax.command_line import run as front_door
from llm_jax.config import DecoderConfig, Execution
from llm_jax.models import decoder
from llm_jax.tokenizer import Borders, BytePairTokenizer, with_borders
from serve.__main__ import COMMANDS

CONFIG = DecoderConfig(vocab_size=259, context_length=64, d_model=16, n_heads=2, n_layers=1)
TOKENIZER = BytePairTokenizer(
    {bytes([i]): i for i in range(256)}, special_tokens={"<s>": 256, "</s>": 257, "<|endoftext|>": 258}
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """A model that says </s> after everything, and whose files name no border."""
    params = decoder.init(jax.random.key(0), CONFIG)
    embedding = params.token_embedding.at[257].set(1.0)
    norm = replace(params.norm, gain=0.1 * params.norm.gain, bias=jnp.ones(CONFIG.d_model))
    out = tmp_path_factory.mktemp("borders") / "model"
    hf.export(
        replace(params, token_embedding=embedding, norm=norm), CONFIG, with_borders(TOKENIZER, Borders()), out, "card"
    )
    return out


@pytest.fixture
def directory(exported, tmp_path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "model"))


def edit(directory: Path, file: str, **fields) -> None:
    path = directory / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


ENDS = [
    ("config.json", {"eos_token_id": 257}),
    ("config.json", {"eos_token_id": [10, 257]}),
    ("generation_config.json", {"eos_token_id": 257}),
    ("generation_config.json", {"eos_token_id": [258, 257]}),
    ("tokenizer_config.json", {"eos_token": "</s>"}),
    ("tokenizer_config.json", {"eos_token": {"content": "</s>"}}),
]


@pytest.mark.parametrize("command", ["generate", "complete"])
@pytest.mark.parametrize(("file", "fields"), [(None, {}), *ENDS])
def test_a_continuation_ends_at_every_end_that_a_file_names(directory, capsys, command, file, fields):
    if file:
        edit(directory, file, **fields)
    flags = [str(directory), "--prompt", "ab", "--max-new-tokens", "3", "--temperature", "0"]
    assert front_door("serve", "", COMMANDS, [command, *flags]) == 0
    assert capsys.readouterr().out == ("ab\n" if file else "ab</s></s></s>\n")


def test_evaluation_begins_a_document_as_the_harness_s_hf_model_does(directory):
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from serve.evaluation.jax_lm import JaxLM

    documents = [Instance("loglikelihood_rolling", {}, (text,), i) for i, text in enumerate(["a text", "z" * 100])]
    empty = [Instance("loglikelihood", {}, ("", "from nothing"), 0)]
    found = []
    for fields in ({"bos_token": "<s>", "eos_token": "</s>"}, {"eos_token": "</s>"}):
        edit(directory, "tokenizer_config.json", **{"bos_token": None, **fields})
        loaded = hf.load(directory)
        assert loaded.tokenizer is not None
        ours = JaxLM(loaded.params, loaded.config, loaded.tokenizer, decoder.make_plan(Execution(dtype="float32")))
        theirs = HFLM(str(directory), dtype="float32", device="cpu", batch_size=2)
        found.append(ours.loglikelihood_rolling(documents))
        assert found[-1] == pytest.approx(theirs.loglikelihood_rolling(documents, disable_tqdm=True), rel=1e-5)
        assert ours.loglikelihood(empty)[0][0] == pytest.approx(theirs.loglikelihood(empty)[0][0], rel=1e-5)
    assert found[0] != found[1]
