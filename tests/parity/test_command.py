"""`python -m train parity`: the files it writes, its exit status, and every refusal in one line."""

import contextlib
import dataclasses
import json
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
import transformers
from planted import FAULTS
from planted_llama import LLAMA
from torch.nn import functional as F

from llm_jax import command_line
from llm_jax.config import Execution
from train.__main__ import COMMANDS
from train.parity.command import Options
from train.parity.stages import model, models_compared

FLAGS = ("--steps", "4", "--length", "16", "--new-tokens", "16")


def run(*arguments: str) -> int:
    return command_line.run("python -m train", "", COMMANDS, ["parity", *arguments])


@pytest.fixture(scope="session")
def directory(models, tmp_path_factory):
    """A tiny GPT-2 as transformers saves it."""
    folder = tmp_path_factory.mktemp("hf") / "tiny"
    models.theirs.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def first_run(directory, tmp_path_factory):
    """Exit status and folder of a comparison from the directory."""
    out = tmp_path_factory.mktemp("parity")
    return run("--hf", str(directory), *FLAGS, "--out", str(out)), out


class Tags(HTMLParser):
    """Names of all elements, and everything a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.names.append(tag)
        self.fetched += [v or "" for k, v in attributes if k in ("src", "href", "xlink:href") and not v.startswith("#")]


@pytest.mark.long
def test_a_directory_is_compared_and_all_promises_hold(first_run):
    status, out = first_run
    found = json.loads((out / "parity.json").read_text())
    assert status == 0
    assert found["passed"]
    assert all(promise["held"] for promise in found["promises"])
    assert len(found["promises"]) == 5
    assert found["setup"]["our numbers"]
    assert {row["section"] for row in found["rows"]} == {
        *("operations", "activations", "gradients", "accumulated gradients", "AdamW step"),
        *("AdamW step, own gradients", "loss curve", "greedy decoding"),
    }
    assert len(found["curve"]["ours"]) == 4
    assert found["curve"]["ours"] != found["curve"]["theirs"]


def test_the_page_needs_nothing_but_itself(first_run):
    tags = Tags()
    tags.feed((first_run[1] / "parity.html").read_text())
    assert tags.names.count("svg") == 3
    assert "script" not in tags.names
    assert not tags.fetched


def test_the_same_command_twice_gives_the_same_bits(first_run, directory, tmp_path):
    assert run("--hf", str(directory), *FLAGS, "--out", str(tmp_path)) == 0
    first, second = (json.loads((out / "parity.json").read_text()) for out in (first_run[1], tmp_path))
    for name in ("rows", "curve", "promises"):
        assert first[name] == second[name]


@pytest.mark.long
def test_another_seed_gives_other_bits(first_run, directory, tmp_path):
    assert run("--hf", str(directory), *FLAGS, "--seed", "1", "--out", str(tmp_path)) == 0
    first, second = (json.loads((out / "parity.json").read_text())["rows"] for out in (first_run[1], tmp_path))
    assert all(a["fingerprint"] != b["fingerprint"] for a, b in zip(first, second, strict=True) if a["size"] > 100)


def test_a_fault_is_exit_status_1_and_named(directory, tmp_path, capsys, monkeypatch):
    fault = next(fault for fault in FAULTS if fault.name == "square projection transposed")
    clean = models_compared.loaded(str(directory), Execution(dtype="float32", loss_chunks=2))
    with fault.plant(clean) as faulty:
        monkeypatch.setattr(models_compared, "loaded", lambda *_: faulty)
        assert run("--hf", str(directory), *FLAGS, "--out", str(tmp_path)) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "First wrong row: activations, block 1, after attention" in said
    assert not json.loads((tmp_path / "parity.json").read_text())["passed"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--length", "49"), "--length must lie between 8 and the model's context, 48; got 49"),
        (("--device", "gpu"), "--device gpu needs a GPU that both sides can use, but JAX sees cpu"),
        (("--data", "nowhere"), "nowhere"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(flags, message, directory, tmp_path, capsys):
    assert run("--hf", str(directory), *FLAGS, "--out", str(tmp_path), *flags) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--batch", "3"), "--batch must be even and at least 2 (two micro-batches); got 3"),
        (("--steps", "0"), "--steps must be at least 1; got 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(flags, message, capsys):
    with contextlib.suppress(SystemExit):  # tyro frames what a dataclass says, and leaves
        assert run(*flags) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_data_of_another_vocabulary_and_too_little_data_are_refused(directory, tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 60)
    for tokenizer, flags, message in (
        ("train:300", (), "ids), but the model has a vocabulary of 211: compare a model with the data's tokenizer"),
        ("characters", ("--steps", "1000"), "tokens, but --steps is 1,000: lower --steps, --batch or --length"),
    ):
        data = tmp_path / tokenizer.partition(":")[0]
        prepared = command_line.run(
            "", "", COMMANDS, ["prepare", "--source", str(text), "--tokenizer", tokenizer, "--out", str(data)]
        )
        assert prepared == 0
        capsys.readouterr()
        assert run("--hf", str(directory), *FLAGS, *flags, "--data", str(data), "--out", str(tmp_path)) == 2
        error = capsys.readouterr().err
        assert message in error
        assert len(error.strip().splitlines()) == 1


def test_another_architecture_and_another_vocabulary_are_refused(directory, tmp_path, capsys):
    config = json.loads((directory / "config.json").read_text())
    for change, message in (
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "model_type 'bert'"),
        (
            {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "dtype": None},
            "field 'max_position_embeddings' is missing; expected the config of a Llama",
        ),
        ({"vocab_size": 200}, "tensor 'wte.weight' has shape (211, 32); its config says (200, 32)"),
    ):
        folder = tmp_path / str(config["vocab_size"] + len(message))
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config | change))
        (folder / "model.safetensors").symlink_to(folder / "weights")
        (folder / "weights").write_bytes((directory / "model.safetensors").read_bytes())
        assert run("--hf", str(folder), *FLAGS) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("model_type", ["llama", "mistral", "qwen2", "qwen3"])
def test_a_directory_of_another_family_is_read_by_both_sides(model_type, tmp_path):
    """Mistral's files have Llama's names: its own class reads them, ours computes a Llama."""
    fields = {"qwen2": {"attention_bias": "qkv"}, "qwen3": {"query_key_norm": True}}.get(model_type, {})
    execution = Execution(dtype="float32")
    saved = models_compared.drawn(dataclasses.replace(LLAMA, **fields), execution, seed=0)
    saved.theirs.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    architecture = type(saved.theirs).__name__
    if model_type == "mistral":
        architecture = "MistralForCausalLM"
        config |= {"model_type": model_type, "architectures": [architecture], "sliding_window": None}
        (tmp_path / "config.json").write_text(json.dumps(config))
    found = models_compared.loaded(str(tmp_path), execution)
    assert config["model_type"] == model_type
    assert type(found.theirs).__name__ == architecture
    ours = models_compared.ours_by_parameter(found.ours.params, found.ours.config)
    theirs = models_compared.by_parameter(dict(found.theirs.named_parameters()), found.ours.config)
    assert ours.keys() == theirs.keys()
    assert all((theirs[name].detach().numpy() == array).all() for name, array in ours.items())


def test_the_padding_token_has_a_gradient_on_both_sides(tmp_path):
    """transformers leaves it out where the config names one; SmolLM2 names the end of a turn."""
    execution = Execution(dtype="float32")
    saved = models_compared.drawn(LLAMA, execution, seed=0)
    saved.theirs.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"pad_token_id": 2}))
    found = models_compared.loaded(str(tmp_path), execution)
    tokens_BT = np.array([[2, 5, 2, 7, 11], [3, 2, 2, 9, 4]])
    ours = found.ours.by_parameter(found.ours.to_hf(model.our_gradients(found.ours, tokens_BT)))
    logits = found.theirs(torch.tensor(tokens_BT[:, :-1])).logits
    F.cross_entropy(logits.flatten(0, 1), torch.tensor(tokens_BT[:, 1:]).flatten()).backward()
    theirs = found.ours.by_parameter({name: p.grad for name, p in found.theirs.named_parameters()})
    np.testing.assert_allclose(ours["token_embedding"][2], theirs["token_embedding"][2], rtol=1e-4, atol=1e-7)


def test_without_pytorch_it_says_which_group_to_install(monkeypatch, capsys):
    find = sys.modules["importlib.util"].find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torch" else find(name))
    assert run() == 2
    assert "torch cannot be found: install the group `test`" in capsys.readouterr().err


def test_dropout_is_off_whatever_the_directory_says(models, tmp_path):
    config = transformers.GPT2Config.from_dict(models.theirs.config.to_dict() | {"resid_pdrop": 0.5, "attn_pdrop": 0.5})
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    theirs = models_compared.loaded(str(tmp_path), Execution(dtype="float32")).theirs
    assert theirs.config.resid_pdrop == theirs.config.attn_pdrop == 0
    assert not theirs.training


def test_options_are_checked_when_they_are_made():
    with pytest.raises(ValueError, match="even"):
        Options(batch=1)
