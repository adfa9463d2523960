"""The sampling that a model's makers name in generation_config.json."""

import json

import pytest

from llm_jax.decode.options import Sampling
from llm_jax.decode.suggested import suggested_sampling

OTHERWISE = Sampling(temperature=0.0, top_k=7, seed=3)


def said(tmp_path, **fields):
    (tmp_path / "generation_config.json").write_text(json.dumps(fields))
    return suggested_sampling(tmp_path, OTHERWISE)


def test_a_model_that_names_nothing_is_sampled_as_otherwise(tmp_path):
    assert suggested_sampling(None, OTHERWISE) == suggested_sampling(tmp_path, OTHERWISE) == OTHERWISE
    assert said(tmp_path, eos_token_id=2, temperature=None) == OTHERWISE


def test_what_the_makers_name_counts_and_what_they_leave_out_changes_nothing(tmp_path):
    assert said(tmp_path, do_sample=True, temperature=0.6, top_p=0.9) == Sampling(0.6, 0, 0.9, seed=3)
    assert said(tmp_path, do_sample=True, top_k=20) == Sampling(1.0, 20, seed=3)


def test_do_sample_false_is_greedy_whatever_else_is_named(tmp_path):
    assert said(tmp_path, do_sample=False, temperature=0.6).temperature == 0.0


@pytest.mark.parametrize(
    "fields", [{"temperature": "hot"}, {"top_p": 1.5}, {"top_k": 2.5}, {"temperature": True}], ids=str
)
def test_a_wrong_value_is_refused_with_the_file_s_name(tmp_path, fields):
    with pytest.raises(ValueError, match=r"generation_config\.json: "):
        said(tmp_path, do_sample=True, **fields)
