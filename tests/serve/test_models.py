"""A model and its tokenizer must know the same ids, or be made to."""

import jax.numpy as jnp
import numpy as np
import pytest
from small_models import bytes_tokenizer, opinionated

from llm_jax import hf
from llm_jax.command_line import run as front_door
from llm_jax.config import DecoderConfig
from llm_jax.decode import loop
from llm_jax.decode.options import Sampling
from llm_jax.models import decoder
from llm_jax.tokenizer import train_bpe
from serve.__main__ import COMMANDS
from serve.models import load_model

PADDED = DecoderConfig(vocab_size=400, context_length=64, d_model=32, n_heads=2, n_layers=1)
N_KNOWN = 257  # ids of the tokenizer


@pytest.fixture(scope="module")
def params() -> decoder.Decoder:
    return opinionated(PADDED, 6)


@pytest.fixture
def padded(params, tmp_path) -> str:
    """A directory whose model knows more ids than its tokenizer, as many on the hub."""
    hf.export(params, PADDED, bytes_tokenizer(), tmp_path / "padded", "card")
    return str(tmp_path / "padded")


def test_a_tokenizer_with_more_ids_than_the_model_is_refused_with_both_numbers(padded, tmp_path):
    config = DecoderConfig(**{**vars(PADDED), "vocab_size": N_KNOWN})
    hf.export(opinionated(config, 6), config, bytes_tokenizer(), tmp_path / "small", "card")
    larger = train_bpe(["one two three one two three " * 9], 262)
    larger.save(tmp_path / "small")
    assert larger.vocab_size > N_KNOWN
    with pytest.raises(ValueError, match=f"the tokenizer has {larger.vocab_size} ids, the model knows 257: put the"):
        load_model(str(tmp_path / "small"))


def test_ids_without_a_token_are_cut_off_and_the_logits_of_the_others_stay(padded, params, plan):
    model = load_model(padded)
    assert model.config.vocab_size == model.tokenizer.vocab_size == N_KNOWN
    tokens = jnp.arange(1, 21)[None]

    def logits(params, config):
        return decoder.logits(params, decoder.forward(params, tokens, config, plan)[0], config)

    whole = load_model(padded, whole=True)
    assert whole.config == PADDED
    np.testing.assert_array_equal(logits(whole.params, whole.config), logits(params, PADDED))
    np.testing.assert_allclose(logits(model.params, model.config), logits(params, PADDED)[..., :N_KNOWN], atol=1e-5)
    # Else the test would prove little: the whole model would write ids that have no token.
    written = loop.generate(params, [[1]] * 8, PADDED, plan, Sampling(), 20)
    assert max(map(max, written)) >= N_KNOWN


def test_a_padded_vocabulary_is_written_with(padded, capsys):
    for command in ("generate", "complete"):
        flags = ["--prompt", "a", "--temperature", "1", "--max-new-tokens", "40"]
        assert front_door("serve", "", COMMANDS, [command, padded, *flags]) == 0
        assert capsys.readouterr().out.startswith("a")
