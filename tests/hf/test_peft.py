"""PEFT's directories: ours load in PEFT with our logits, PEFT's load here with PEFT's, and hostile ones are refused."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import peft
import pytest
import torch
import transformers
from adapting import CONFIGS, FOUR, GPT2, LLAMA, moved
from safetensors.numpy import load_file, save_file
from small_models import opinionated

from llm_jax import adapters as lora
from llm_jax.adapters import LoraConfig, base_hash
from llm_jax.adapters import lora as lora_module
from llm_jax.config import DecoderConfig, Execution
from llm_jax.hf import config as hf_config
from llm_jax.hf import names
from llm_jax.hf import peft as ours
from llm_jax.hf.peft.matrices import places
from llm_jax.models import decoder
from llm_jax.tokenizer import Borders, CharacterTokenizer

# Of PEFT, which asks transformers by an old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

TOKENS = np.random.default_rng(0).integers(0, 60, (2, 20))
RSLORA = LoraConfig(rank=4, alpha=6.0, rslora=True)


def transformers_model(params: decoder.Decoder, config: DecoderConfig) -> transformers.PreTrainedModel:
    """transformers' model with our weights, without a file."""
    fields = hf_config.write(config, Borders())
    settings = transformers.AutoConfig.for_model(**{"model_type": fields.pop("model_type"), **fields})
    model = transformers.AutoModelForCausalLM.from_config(settings, attn_implementation="eager").float().eval()
    state = {name: torch.tensor(array) for name, array in names.to_hf(params, config).items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}
    model.tie_weights()
    return model


def theirs_logits(model) -> np.ndarray:
    with torch.no_grad():
        return model(input_ids=torch.tensor(TOKENS)).logits.numpy()


@partial(jax.jit, static_argnames=("config",))
def our_logits(params, config):
    plan = decoder.make_plan(Execution(dtype="float32"))
    hidden, _ = decoder.forward(params, jnp.asarray(TOKENS), config, plan)
    return decoder.logits(params, hidden, config, plan)


def tokenizer() -> CharacterTokenizer:
    return CharacterTokenizer([chr(number) for number in range(40, 90)])


def written(folder: Path, config: DecoderConfig, settings: LoraConfig = FOUR, params=None) -> Path:
    """Our export of an adapter."""
    hashed = "0" * 64 if params is None else base_hash(params)
    ours.export(moved(config, settings), settings, config, "a/base", hashed, tokenizer(), folder)
    return folder


@pytest.mark.parametrize(
    "settings",
    [FOUR, *(pytest.param(one, marks=pytest.mark.long) for one in (RSLORA, "some"))],
    ids=["lora", "rslora", "some targets"],
)
@pytest.mark.parametrize("name", CONFIGS)
def test_peft_loads_our_export_and_computes_our_logits(name, settings, tmp_path):
    config, params = CONFIGS[name], opinionated(CONFIGS[name], 4)
    if settings == "some":
        settings = LoraConfig(rank=3, alpha=7.0, targets=("c_attn", "mlp.c_proj") if name == "gpt2" else ("v_proj",))
    folder = written(tmp_path / "adapter", config, settings)
    base = transformers_model(params, config)
    before = theirs_logits(base)
    model = peft.PeftModel.from_pretrained(base, folder)
    expected = our_logits(lora.attach(params, moved(config, settings), config, settings), config)
    assert np.abs(expected - before).max() > 0.05
    np.testing.assert_allclose(theirs_logits(model.eval()), expected, atol=1e-4)


def transposed(pair):
    """A·B, with inputs and outputs exchanged where the weight is square, so that nothing else notices."""
    product = jnp.tensordot(pair.a, pair.b, 1)
    flat = product.reshape(-1, product.shape[-1])
    return flat.T.reshape(product.shape) if flat.shape[0] == flat.shape[1] else product


FAULTS = {
    "none": (LoraConfig, "scale", LoraConfig.scale),
    "alpha without /r": (LoraConfig, "scale", property(lambda settings: settings.alpha)),
    "rsLoRA ignored": (LoraConfig, "scale", property(lambda settings: settings.alpha / settings.rank)),
    "the wrong transpose": (lora_module, "product", transposed),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_seen_beside_peft(fault, tmp_path, monkeypatch):
    params, folder = opinionated(GPT2, 4), written(tmp_path / "adapter", GPT2, RSLORA)
    model = peft.PeftModel.from_pretrained(transformers_model(params, GPT2), folder)
    monkeypatch.setattr(*FAULTS[fault])
    found = our_logits(lora.merge(params, moved(GPT2, RSLORA), GPT2, RSLORA), GPT2)
    difference = np.abs(theirs_logits(model.eval()) - found).max()
    assert (difference < 1e-4) == (fault == "none")
    assert fault == "none" or difference > 0.01


@pytest.mark.parametrize(
    "settings",
    [
        {"r": 4, "lora_alpha": 6, "target_modules": "all-linear"},
        {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "down_proj"], "use_rslora": True},
        {
            "r": 4,
            "lora_alpha": 6,
            "target_modules": ["q_proj", "o_proj", "up_proj"],
            "rank_pattern": {"o_proj": 2, "layers.1.mlp.up_proj": 6},
            "alpha_pattern": {"q_proj": 20},
        },
        {"r": 4, "lora_alpha": 6, "target_modules": ["v_proj", "gate_proj"], "layers_to_transform": [1]},
        {"r": 4, "lora_alpha": 6, "target_modules": r".*\.1\..*_proj"},
        {"r": 4, "lora_alpha": 6, "target_modules": "all-linear", "exclude_modules": ["gate_proj"]},
        {"r": 4, "lora_alpha": 6, "target_modules": "all-linear", "exclude_modules": r".*\.0\..*_proj"},
        {
            "r": 4,
            "lora_alpha": 6,
            "target_modules": ["q_proj", "up_proj"],
            "rank_pattern": {"^model.layers.1.mlp.up_proj": 6, r"layers\.0\.self_attn\.q_proj$": 2},
        },
    ],
    ids=[
        "all-linear",
        "rslora",
        "patterns",
        "layers",
        "expression",
        "excluded",
        "excluded by expression",
        "whole names",
    ],
)
def test_peft_s_own_adapter_computes_here_what_it_computes_there(settings, tmp_path):
    params = opinionated(LLAMA, 4)
    model = peft.get_peft_model(transformers_model(params, LLAMA), peft.LoraConfig(task_type="CAUSAL_LM", **settings))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
    expected = theirs_logits(model.eval())
    model.save_pretrained(tmp_path / "theirs")
    loaded = ours.load(tmp_path / "theirs", LLAMA)
    found = our_logits(lora.attach(params, loaded.adapters, LLAMA, loaded.lora), LLAMA)
    assert np.abs(found - our_logits(params, LLAMA)).max() > 0.05
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_fields_that_say_nothing_are_as_if_they_were_not_there(tmp_path):
    folder = written(tmp_path / "adapter", LLAMA)
    with_fields(folder, use_rslora=None, lora_dropout=None, exclude_modules=None, rank_pattern=None, use_dora=None)
    assert ours.load(folder, LLAMA).lora == ours.load(written(tmp_path / "other", LLAMA), LLAMA).lora


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_an_export_is_read_as_it_was_written(name, tmp_path):
    config = CONFIGS[name]
    loaded = ours.load(written(tmp_path / "adapter", config), config)
    for one, other in zip(*map(jax.tree.leaves, (loaded.adapters, moved(config))), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (loaded.lora.rank, loaded.lora.alpha, loaded.base) == (4, 6.0, "a/base")


def test_gpt2_s_names_and_shapes_are_peft_s(tmp_path):
    folder = written(tmp_path / "adapter", GPT2)
    shapes = {name: array.shape for name, array in load_file(folder / "adapter_model.safetensors").items()}
    assert shapes["base_model.model.transformer.h.0.attn.c_attn.lora_A.weight"] == (4, 32)
    assert shapes["base_model.model.transformer.h.1.attn.c_attn.lora_B.weight"] == (96, 4)
    assert shapes["base_model.model.transformer.h.1.mlp.c_proj.lora_A.weight"] == (4, 128)
    assert len(shapes) == 2 * 4 * 2
    record = json.loads((folder / "adapter_config.json").read_text())
    assert record["fan_in_fan_out"] is True
    assert record["target_modules"] == ["c_attn", "attn.c_proj", "c_fc", "mlp.c_proj"]


def test_every_projection_of_the_families_has_its_place():
    """The targets' names in `llm_jax.adapters.config` are the ends of the families' names."""
    for config in CONFIGS.values():
        for module, place in places(config).items():
            assert module.endswith(f".{place.block}.{place.target.module}")


def with_fields(folder: Path, **fields) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def with_tensors(change):
    def apply(folder: Path) -> None:
        path = folder / "adapter_model.safetensors"
        tensors = dict(load_file(path))
        change(tensors)
        save_file(tensors, path)

    return apply


FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


def outside(name):
    def apply(folder: Path) -> None:
        elsewhere = folder.parent / f"elsewhere-{name}"
        shutil.move(folder / name, elsewhere)
        (folder / name).symlink_to(elsewhere)

    return apply


def pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(b"\x80\x04.")


def rename(tensors, old, new):
    tensors[new] = tensors.pop(old)


HOSTILE = {
    "pickle": (pickled, "adapter_model.bin: weights in pickle format can run code"),
    "no weights": (
        lambda folder: (folder / "adapter_model.safetensors").unlink(),
        "adapter_model.safetensors is missing",
    ),
    "config outside": (outside("adapter_config.json"), "'adapter_config.json' lies outside the directory"),
    "weights outside": (outside("adapter_model.safetensors"), "'adapter_model.safetensors' lies outside the directory"),
    "half a pair": (with_tensors(lambda t: t.pop(FIRST)), "q_proj.lora_A.weight is missing"),
    "a module gone": (
        with_tensors(lambda t: [t.pop(FIRST), t.pop(FIRST.replace("lora_A", "lora_B"))]),
        "layers.0.self_attn.q_proj.lora_A.weight is missing, though target_modules has its module",
    ),
    "nothing": (with_tensors(lambda t: t.clear()), "there is no adapter in it"),
    "NaN": (with_tensors(lambda t: t.update({FIRST: np.full((4, 32), np.nan, np.float32)})), "are not finite"),
    "transposed": (with_tensors(lambda t: t.update({FIRST: t[FIRST].T.copy()})), r"has shape \(32, 4\).*\(4, 32\)"),
    "one dimension": (with_tensors(lambda t: t.update({FIRST: t[FIRST].ravel()})), r"has shape \(128,\)"),
    "the head": (
        with_tensors(lambda t: rename(t, FIRST, "base_model.model.lm_head.lora_A.weight")),
        "'base_model.model.lm_head.lora_A.weight' belongs to no projection of this base",
    ),
    "a block too many": (
        with_tensors(lambda t: rename(t, FIRST, FIRST.replace("layers.0", "layers.2"))),
        "layers.2.self_attn.q_proj.lora_A.weight' belongs to no projection",
    ),
    "another name": (with_tensors(lambda t: rename(t, FIRST, f"../{FIRST}")), "belongs to no projection"),
    "no JSON": (lambda folder: (folder / "adapter_config.json").write_text("{"), "adapter_config.json: not valid JSON"),
}
FIELDS = {
    "peft_type": ({"peft_type": "IA3"}, "peft_type is 'IA3'; this code computes 'LORA'"),
    "task": ({"task_type": "SEQ_CLS"}, "task_type is 'SEQ_CLS', which this code does not compute"),
    "bias": ({"bias": "all"}, "bias is 'all', which this code does not compute"),
    "dora": ({"use_dora": True}, "use_dora is True"),
    "modules_to_save": ({"modules_to_save": ["lm_head"]}, r"modules_to_save is \['lm_head'\]"),
    "target_parameters": ({"target_parameters": ["mlp.experts"]}, "target_parameters is"),
    "replication": ({"layer_replication": [[0, 1]]}, "layer_replication is"),
    "lora_bias": ({"lora_bias": True}, "lora_bias is True"),
    "pissa": ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa', which changes the base's weights"),
    "unknown": ({"use_quantum": "yes"}, "use_quantum is 'yes', which this code does not compute"),
    "rank 0": ({"r": 0}, "rank r is 0; expected a whole number of at least 1"),
    "rank text": ({"r": "8"}, "rank r is '8'"),
    "enormous": ({"r": 10**9}, "a rank of 1000000000 is above the base's width of 32"),
    "another rank": ({"r": 5}, r"has shape \(4, 48\); rank 5 and this base need \(5, 48\)"),
    "alpha": ({"lora_alpha": 0}, "lora_alpha is 0; expected a number above 0"),
    "dropout": ({"lora_dropout": 1.0}, "lora_dropout is 1.0"),
    "rslora": ({"use_rslora": "no"}, "use_rslora is 'no'; expected true or false"),
    "expression": ({"rank_pattern": {"(a+)+$": 4}}, "rank_pattern has the expression"),
    "pattern's rank": ({"rank_pattern": {"q_proj": -1}}, "rank q_proj is -1"),
    "targets": ({"target_modules": [1]}, r"target_modules is \[1\]"),
    "fewer targets": ({"target_modules": ["q_proj"]}, "is there, and target_modules does not have its module"),
    "layers": ({"layers_to_transform": [-1]}, r"layers_to_transform is \[-1\]"),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return written(tmp_path_factory.mktemp("peft") / "adapter", LLAMA)


@pytest.mark.parametrize("kind", [*HOSTILE, *FIELDS])
def test_what_is_wrong_or_not_computed_is_refused_by_name(kind, sound, tmp_path):
    folder = Path(shutil.copytree(sound, tmp_path / "adapter"))
    if kind in HOSTILE:
        spoil, message = HOSTILE[kind]
        spoil(folder)
    else:
        fields, message = FIELDS[kind]
        with_fields(folder, **fields)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as refused:
        ours.load(folder, LLAMA)
    assert "\n" not in str(refused.value)
    assert str(folder) in str(refused.value)


def test_another_base_is_refused_by_its_shapes_and_by_its_hash(tmp_path):
    folder = written(tmp_path / "adapter", LLAMA, params=(params := opinionated(LLAMA, 1)))
    assert ours.load(folder, LLAMA, params).lora.rank == 4
    with pytest.raises(ValueError, match="adapter for another base: its parameters were those of 'a/base'"):
        ours.load(folder, LLAMA, opinionated(LLAMA, 2))
    with pytest.raises(ValueError, match=r"'base_model.model.model.layers.0.*belongs to no projection of this base"):
        ours.load(folder, GPT2)
    with pytest.raises(ValueError, match=r"this base need \(4, 64\), and it was trained with a/base: take the base"):
        ours.load(folder, replace(LLAMA, mlp_width=64))


def test_an_export_replaces_no_foreign_folder_and_none_unasked(tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is no exported adapter"):
        written(foreign, LLAMA)
    folder = written(tmp_path / "adapter", LLAMA)
    with pytest.raises(FileExistsError, match="--force"):
        written(folder, LLAMA)
