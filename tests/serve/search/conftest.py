"""A sentence encoder small enough to run in milliseconds, and a folder of text."""

import jax
import pytest

from llm_jax.hf import encoder
from llm_jax.models.encoder.config import EncoderConfig
from llm_jax.models.encoder.parameters import init
from llm_jax.tokenizer import train_wordpiece

WORDS = "cats dogs birds fly sleep bark sing the a of on mat sky night day"


def make_model(folder, seed=0):
    tokenizer = train_wordpiece([WORDS] * 3, 80, True, 1).tokenizer()
    config = EncoderConfig(
        vocab_size=tokenizer.vocab_size, context_length=64, d_model=16, n_heads=2, n_layers=1, mlp_width=16
    )
    params = jax.tree.map(lambda leaf: leaf * 20, init(jax.random.key(seed), config))
    borders = [(tokenizer.token_to_id(name),) for name in ("[CLS]", "[SEP]")]
    encoder.save(encoder.SentenceModel(config, params, tokenizer, *borders, 64), folder)
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("encoder") / "small")


@pytest.fixture(scope="session")
def other_model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("encoder") / "other", seed=1)


@pytest.fixture
def folder(tmp_path):
    texts = tmp_path / "texts"
    (texts / "deep").mkdir(parents=True)
    (texts / "cats.txt").write_text("the cats sleep on the mat\n\nat night\n")
    (texts / "deep/birds.md").write_text("birds fly\n")
    (texts / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    (texts / ".hidden").write_text("nobody reads this")
    return texts
