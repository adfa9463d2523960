"""Names of models and of runs agree, in the library, on the command line and in parity."""

from typing import get_args

import pytest

from llm_jax import config
from train.pretrain import command
from train.pretrain.presets import PRESETS, preset


def test_the_type_of_model_names_lists_every_model():
    assert get_args(config.ModelName) == tuple(config.PRESETS)


@pytest.mark.parametrize("name", config.PRESETS)
def test_every_named_model_has_a_run_that_trains_it(name):
    assert preset(name).model == config.model_preset(name)


def test_help_without_a_preset_lists_every_preset(capsys):
    with pytest.raises(SystemExit):
        command.parse(["--help"])
    assert ", ".join(PRESETS) in capsys.readouterr().out


def test_a_preset_is_changed_by_flags_alone(capsys):
    with pytest.raises(SystemExit):
        command.parse(["llama-nano", "--help"])
    usage = capsys.readouterr().out.splitlines()[0]
    assert usage.endswith("[-h] [OPTIONS]")
