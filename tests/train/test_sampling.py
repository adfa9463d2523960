"""Samples while a run trains: there whatever the vocabulary, and absent where there is no room for one."""

from types import SimpleNamespace

import jax
import pytest
from small_models import bytes_tokenizer

from llm_jax import sharding
from llm_jax.config import DecoderConfig
from llm_jax.models import decoder
from llm_jax.tokenizer import CharacterTokenizer
from train.pretrain.config import CadenceConfig, TrainConfig
from train.pretrain.measure.sampling import Sampler


def sample(folder, vocabulary, sample_tokens, context_length=8) -> list[str]:
    """Lets a fresh model write once; what the log says of it."""
    model = DecoderConfig(vocabulary.vocab_size, context_length, d_model=8, n_heads=2, n_layers=1)
    cadence = CadenceConfig(sample_tokens=sample_tokens)
    job = SimpleNamespace(is_first=True, mesh=sharding.make_mesh(0, 1, 1))
    said: list[str] = []
    params = decoder.init(jax.random.key(0), model)
    assert Sampler(TrainConfig(model=model, cadence=cadence), vocabulary, folder, job, said.append)(
        params, 3, lambda: False
    )
    return said


def test_a_vocabulary_that_can_write_no_beginning_is_sampled_from_its_first_id(tmp_path):
    (said,) = sample(tmp_path, CharacterTokenizer("abc"), 5)
    assert said.startswith("step 3 writes: ")
    written = (tmp_path / "samples.txt").read_text().splitlines()
    assert [line for line in written if line.startswith("──")] == [f"── step 3, sample {i} ──" for i in (1, 2)]
    assert all(len(line) == 5 and set(line) <= set("abc") for line in written if line and not line.startswith("──"))


@pytest.mark.parametrize(("sample_tokens", "context_length"), [(0, 8), (5, 1)])
def test_no_sample_is_drawn_where_none_is_wanted_or_there_is_no_room(tmp_path, sample_tokens, context_length):
    assert not sample(tmp_path, bytes_tokenizer(), sample_tokens, context_length)
    assert not list(tmp_path.iterdir())


def test_a_negative_number_of_tokens_is_refused_before_anything_is_trained():
    with pytest.raises(ValueError, match=r"sample_tokens must not be negative \(0: no samples\); got -5"):
        CadenceConfig(sample_tokens=-5)
