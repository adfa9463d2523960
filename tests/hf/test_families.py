"""Llama, Mistral, Qwen 2 and Qwen 3: transformers' files, names, settings and function."""

import json
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file, save_file

from llm_jax import hf
from llm_jax.config import DecoderConfig, Execution, RotaryScaling, llama, model_preset
from llm_jax.decode import loop
from llm_jax.decode.options import Sampling
from llm_jax.hf import config as hf_config
from llm_jax.hf import families
from llm_jax.models import decoder
from llm_jax.tokenizer import Borders, train_bpe

TINY = {
    "vocab_size": 300,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
KINDS = {
    "llama": ("llama", {"rms_norm_eps": 0.01}),  # so large that leaving it out is seen
    "tied": ("llama", {"tie_word_embeddings": True}),
    "one KV head, biases": ("llama", {"num_key_value_heads": 1, "attention_bias": True, "mlp_bias": True}),
    "as many KV heads": ("llama", {"num_key_value_heads": 4, "head_dim": 16}),
    "llama 3.1": ("llama", {"rope_scaling": {**LLAMA3, "original_max_position_embeddings": 16}, "rope_theta": 5e5}),
    "linear": ("llama", {"rope_scaling": {"type": "linear", "factor": 4.0}}),
    "yarn": ("qwen2", {"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}}),
    "mistral": ("mistral", {"sliding_window": None}),
    "qwen2": ("qwen2", {"tie_word_embeddings": True, "rope_theta": 1e6}),
    "qwen3": ("qwen3", {"head_dim": 20, "rms_norm_eps": 1e-6}),
}
REAL = {  # the shapes of published models, with one layer and few ids
    "SmolLM2-135M": ("llama", (576, 1536, 9, 3, None, 1e5)),
    "Llama-3.2-1B": ("llama", (2048, 8192, 32, 8, 64, 5e5)),
    "Qwen2.5-0.5B": ("qwen2", (896, 4864, 14, 2, None, 1e6)),
    "Qwen3-0.6B": ("qwen3", (1024, 3072, 16, 8, 128, 1e6)),
    "Mistral-7B": ("mistral", (4096, 14336, 32, 8, None, 1e6)),
}


def theirs_of(model_type: str, settings: dict, seed: int = 0) -> transformers.PreTrainedModel:
    """transformers' model with drawn weights: gains around one, biases around zero, logits around three."""
    torch.manual_seed(seed)
    config = transformers.AutoConfig.for_model(model_type, **TINY | settings, attn_implementation="eager")
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=1.0 if "embed" in name else parameter.shape[1] ** -0.5)
            else:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model


@partial(jax.jit, static_argnames=("config", "plan"))
def compute(params, tokens, config, plan):
    hidden, _ = decoder.forward(params, tokens, config, plan)
    return decoder.logits(params, hidden, config, plan)


def logits_of(loaded: hf.Loaded, tokens: np.ndarray, execution: Execution) -> np.ndarray:
    return np.asarray(compute(loaded.params, jnp.asarray(tokens), loaded.config, decoder.make_plan(execution)))


def difference(theirs: transformers.PreTrainedModel, loaded: hf.Loaded, length: int = 40, **execution) -> float:
    tokens = np.random.default_rng(0).integers(0, loaded.config.vocab_size, (2, length))
    with torch.no_grad():
        expected = theirs(torch.tensor(tokens)).logits.numpy()
    assert expected.std() > 0.3
    return np.abs(logits_of(loaded, tokens, Execution(dtype="float32", **execution)) - expected).max()


@pytest.fixture(params=KINDS)
def kind(request, tmp_path):
    """transformers' model and the directory it saved."""
    theirs = theirs_of(*KINDS[request.param])
    theirs.save_pretrained(tmp_path / "theirs")
    return theirs, tmp_path / "theirs"


def test_each_kind_computes_transformers_logits_with_every_kernel_and_without(kind):
    theirs, directory = kind
    loaded = hf.load(directory)
    assert loaded.config.n_parameters == sum(p.numel() for p in theirs.parameters())
    assert difference(theirs, loaded) < 1e-4
    assert difference(theirs, loaded, kernels="plain") < 1e-4


def test_each_kind_goes_out_bit_equal_and_transformers_reads_it(kind, tmp_path):
    theirs, directory = kind
    loaded = hf.load(directory)
    hf.export(loaded.params, loaded.config, train_bpe(["a b c"], 300), tmp_path / "out", "card")
    before, after = (load_file(d / "model.safetensors") for d in (directory, tmp_path / "out"))
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        np.testing.assert_array_equal(after[name], tensor)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    tokens = torch.arange(40)[None]
    with torch.no_grad():
        torch.testing.assert_close(again(tokens).logits, theirs(tokens).logits, atol=1e-4, rtol=0)
    assert hf.load(tmp_path / "out").config == loaded.config


@pytest.mark.parametrize("name", ["llama", "qwen3"])
def test_greedy_decoding_with_the_cache_is_transformers(name, tmp_path):
    theirs = theirs_of(*KINDS[name])
    theirs.save_pretrained(tmp_path)
    loaded, plan = hf.load(tmp_path), decoder.make_plan(Execution(dtype="float32"))
    prompts = [[1, 2, 3, 4, 5], [7, 8, 9]]
    for rows in (1, 2):
        params = loop.prepare(loaded.params, plan, rows)
        found = loop.generate(params, prompts[:rows], loaded.config, plan, Sampling(temperature=0.0), 20)
        for prompt, continuation in zip(prompts, found, strict=False):
            ids = torch.tensor([prompt])
            expected = theirs.generate(ids, max_new_tokens=20, do_sample=False, eos_token_id=None, pad_token_id=0)
            assert continuation == expected[0, len(prompt) :].tolist()


@pytest.mark.long
@pytest.mark.parametrize("name", REAL)
def test_logits_match_transformers_at_the_real_shapes(name, tmp_path):
    model_type, (width, hidden, heads, kv_heads, head_width, theta) = REAL[name]
    settings = {
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "rope_theta": theta,
        "num_hidden_layers": 1,
        "max_position_embeddings": 1024,
        **({"head_dim": head_width} if head_width else {}),
    }
    theirs = theirs_of(model_type, settings)
    theirs.save_pretrained(tmp_path)
    assert difference(theirs, hf.load(tmp_path), length=512) < 1e-4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_files_in_shards_are_read_and_can_be_kept(dtype, tmp_path):
    theirs_of("llama", {}).to(dtype).save_pretrained(tmp_path, max_shard_size="60KB")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert (tmp_path / "model.safetensors.index.json").is_file()
    read, kept = hf.load(tmp_path), hf.load(tmp_path, keeps_format=True)
    for wide, narrow in zip(*map(jax.tree.leaves, (read.params, kept.params)), strict=True):
        assert wide.dtype == jnp.float32
        assert narrow.dtype == (jnp.dtype(str(dtype).removeprefix("torch.")) if narrow.ndim > 1 else jnp.float32)
        np.testing.assert_array_equal(wide, narrow.astype(jnp.float32))
    assert difference(theirs, read) < 1e-4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sliding_window": 32, "use_sliding_window": True}, "sliding_window is 32: .* not computed"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "sliding_window is None"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "'dynamic'; this code computes default, linear"),
        ({"rope_scaling": {"rope_type": "longrope"}}, "'longrope'"),
        ({"rope_scaling": LLAMA3}, "original_max_position_embeddings"),
        ({"rope_scaling": {**LLAMA3, "factor": "8"}, "original_max_position_embeddings": 9}, "factor is '8'"),
        ({"rope_scaling": "yarn"}, "expected an object"),
        ({"rope_theta": -1}, "rope_theta is -1"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
        ({"hidden_act": "relu2"}, "hidden_act is 'relu2'"),
        ({"num_key_value_heads": 3}, "n_kv_heads must divide n_heads"),
        ({"head_dim": 5}, "even head width"),
        ({"intermediate_size": None}, "intermediate_size is None"),
        ({"attention_bias": "yes"}, "attention_bias is 'yes'"),
        ({"quantization_config": {"quant_method": "gptq"}}, r"quantization_config .* are quantized \(gptq\); .*: take"),
        ({"compression_config": {"format": "float-quantized"}}, r"compression_config .*\(float-quantized\)"),
        ({"model_type": "deepseek_v3", "auto_map": {"AutoModel": "x.Y"}}, "model_type 'deepseek_v3'"),
        (
            {
                "rope_scaling": {**LLAMA3, "original_max_position_embeddings": 16},
                "original_max_position_embeddings": 32,
            },
            "original_max_position_embeddings is 32 and, in rope_scaling, 16; .*: remove the wrong one",
        ),
        ({"architectures": ["LlamaForSequenceClassification"]}, "expected 'gpt2'"),
        ({"model_type": "gemma"}, "model_type 'gemma'.*'llama' .LlamaForCausalLM."),
    ],
)
def test_settings_that_are_not_computed_are_refused_by_name(change, message, tmp_path):
    fields = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **TINY} | change
    (tmp_path / "config.json").write_text(json.dumps(fields))
    with pytest.raises(ValueError, match=message) as raised:
        hf_config.read(tmp_path)
    assert str(tmp_path / "config.json") in str(raised.value)


WINDOW = {"sliding_window": 32}


@pytest.mark.parametrize(
    ("family", "change", "is_refused"),
    [
        ("mistral", WINDOW, True),
        ("mistral", {"sliding_window": 64}, False),
        ("mistral", {"sliding_window": None}, False),
        ("mistral", WINDOW | {"use_sliding_window": False}, True),  # transformers' Mistral has no switch
        ("mistral", WINDOW | {"layer_types": ["full_attention"] * 2}, True),
        ("mistral", {"max_position_embeddings": 8_192}, True),  # its default is 4,096 tokens
        ("qwen2", WINDOW, False),  # off where no switch is there
        ("qwen2", WINDOW | {"use_sliding_window": True, "max_window_layers": 2}, False),
        ("qwen2", WINDOW | {"use_sliding_window": True, "max_window_layers": 1}, True),
        ("qwen3", WINDOW | {"use_sliding_window": True, "layer_types": ["full_attention"] * 2}, False),
        ("qwen3", {"layer_types": ["full_attention", "sliding_attention"]}, True),
        ("llama", WINDOW, False),  # transformers' Llama has none
    ],
)
def test_a_window_is_refused_where_transformers_has_it_on(family, change, is_refused, tmp_path):
    fields = {"model_type": family, "architectures": [f"{family.title()}ForCausalLM"], **TINY} | change
    (tmp_path / "config.json").write_text(json.dumps(fields))
    if is_refused:
        with pytest.raises(ValueError, match="attention to the latest tokens only"):
            hf_config.read(tmp_path)
    else:
        config = transformers.AutoConfig.from_pretrained(tmp_path)
        assert getattr(config, "layer_types", None) in (None, ["full_attention"] * 2)
        assert hf_config.read(tmp_path).context_length == 64


@pytest.mark.parametrize("name", ["rope_scaling", "rope_parameters"])
def test_old_and_new_fields_of_rotary_positions_mean_the_same(name, tmp_path):
    scaling = {**LLAMA3, "original_max_position_embeddings": 16}
    both = {"rope_theta": 5e5, "rope_scaling": scaling}
    new = {"rope_parameters": {"rope_theta": 5e5, **scaling}}
    fields = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **TINY}
    (tmp_path / "config.json").write_text(json.dumps(fields | (both if name == "rope_scaling" else new)))
    config = hf_config.read(tmp_path)
    assert (config.rotary_theta, config.rotary_scaling) == (5e5, RotaryScaling("llama3", 8.0, 16))


def test_a_model_that_no_class_computes_is_not_exported():
    mixed = DecoderConfig(vocab_size=300, context_length=32, d_model=48, n_heads=4, n_layers=1, positions="rotary")
    with pytest.raises(ValueError, match=r"no class of transformers computes this model.*positions=rotary"):
        families.of(mixed)


@pytest.mark.parametrize("name", ["llama-nano", "smollm2-135m", "llama-160m", "qwen3-0.6b", "llama-1b"])
def test_presets_have_the_parameters_of_transformers_models(name):
    config = model_preset(name)
    fields = hf_config.write(replace(config, n_layers=2), Borders())
    with torch.device("meta"):
        theirs = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**fields))
    assert sum(p.numel() for p in theirs.parameters()) == replace(config, n_layers=2).n_parameters


def test_a_tensor_of_another_family_is_refused_by_its_name(tmp_path):
    theirs_of("llama", {}).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["model.layers.0.self_attn.q_norm.weight"] = np.ones(12, np.float32)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"q_norm.weight' is not part of a Llama"):
        hf.load(tmp_path)


def test_grouped_heads_need_less_cache():
    config = llama(vocab_size=300, context_length=64, d_model=64, n_heads=8, n_kv_heads=2, n_layers=1, mlp_width=96)
    cache = decoder.empty_cache(config, batch=3, length=10, dtype=jnp.dtype(ml_dtypes.bfloat16))
    assert sum(x.nbytes for x in jax.tree.leaves(cache.layers)) == 2 * 2 * 8 * 2 * 3 * 10


@pytest.mark.parametrize("theta", [{}, {"rope_theta": 10_000.0}])
def test_scaling_added_by_hand_beside_what_transformers_wrote_counts(theta, tmp_path):
    theirs_of("qwen2", {}).save_pretrained(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())
    assert fields["rope_parameters"]["rope_type"] == "default"
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
    (tmp_path / "config.json").write_text(json.dumps(fields | {"rope_scaling": scaling | theta}))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert difference(theirs, hf.load(tmp_path)) < 1e-4


def test_a_theta_that_would_be_lost_beside_scaling_is_named(tmp_path):
    fields = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        **TINY,
        "rope_parameters": {"rope_theta": 5e5},
    }
    scaling = {"type": "linear", "factor": 4.0}
    (tmp_path / "config.json").write_text(json.dumps(fields | {"rope_scaling": scaling}))
    with pytest.raises(ValueError, match=r"rope_theta is 10000, not the 500000\.0 of rope_parameters: write"):
        hf_config.read(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(fields | {"rope_scaling": scaling | {"rope_theta": 5e5}}))
    assert hf_config.read(tmp_path).rotary_theta == 5e5
