"""GPT-2's relatives: each kind computes what transformers computes, in every way it is used here, and goes out as it
came in."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from forms import forms
from parity import assert_agrees
from safetensors.numpy import load_file

from llm_jax import hf, sharding
from llm_jax.config import DecoderConfig, Execution
from llm_jax.decode import loop
from llm_jax.decode.options import Sampling
from llm_jax.hf import config as hf_config
from llm_jax.hf import names
from llm_jax.kernels.plan import FORMULAS
from llm_jax.models import decoder
from llm_jax.tokenizer import Borders, train_bpe

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZES = {"vocab_size": 300, "n_positions": 32, "n_embd": 32, "n_head": 4, "n_layer": 2}
CONFIG = DecoderConfig(vocab_size=300, context_length=32, d_model=32, n_heads=4, n_layers=2)
UNTIED = {"tie_word_embeddings": False}
KINDS: dict[str, tuple[dict, dict]] = {  # transformers' fields, ours
    "exact GELU": ({"activation_function": "gelu"}, {"activation": "gelu"}),
    "gelu_pytorch_tanh": ({"activation_function": "gelu_pytorch_tanh"}, {}),
    "gelu_fast": ({"activation_function": "gelu_fast"}, {}),
    "ReLU": ({"activation_function": "relu"}, {"activation": "relu"}),
    "SiLU": ({"activation_function": "swish"}, {"activation": "silu"}),
    "narrow MLP": ({"n_inner": 40}, {"mlp_width": 40}),
    "four times, said": ({"n_inner": 128}, {}),
    "inverse layer": ({"scale_attn_by_inverse_layer_idx": True}, {"scale_scores_by_layer": True}),
    "unscaled": ({"scale_attn_weights": False}, {"scale_scores": False}),
    "reordered": ({"reorder_and_upcast_attn": True, "scale_attn_by_inverse_layer_idx": True},
                  {"scale_scores_by_layer": True}),
    "untied": (UNTIED, {"tied_head": False}),
    "all at once": (
        {"activation_function": "gelu", "n_inner": 40, "scale_attn_by_inverse_layer_idx": True,
         "scale_attn_weights": False, **UNTIED},
        {"activation": "gelu", "mlp_width": 40, "scale_scores_by_layer": True, "scale_scores": False,
         "tied_head": False},
    ),
}  # fmt: skip
TEXT = "the quick brown fox jumps over the lazy dog, and the dog sleeps on. " * 20


# The default run tries one of each sort: an activation, a width, a factor of the scores, a head, and all together.
SORTS = ("SiLU", "narrow MLP", "inverse layer", "untied", "all at once")


@pytest.fixture(scope="module", params=forms(KINDS, SORTS))
def kind(request, tmp_path_factory):
    """A model of transformers with telling weights, saved by it, and the fields that we should find."""
    theirs_fields, fields = KINDS[request.param]
    torch.manual_seed(0)
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**SIZES, **theirs_fields)).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    return theirs, folder, replace(CONFIG, **fields)


@partial(jax.jit, static_argnames=("config", "plan"))
def logits_of(params, config, tokens, plan):
    return decoder.logits(params, decoder.forward(params, tokens, config, plan)[0], config, plan)


def test_each_kind_is_transformers_function_however_it_is_executed(kind):
    theirs, folder, config = kind
    loaded = hf.load(folder)
    assert loaded.config == config
    tokens = np.random.default_rng(0).integers(0, 300, (2, 20))
    plan = decoder.make_plan(Execution(dtype="float32"))

    def evaluate(model):
        with torch.no_grad():
            return {"logits": model(torch.tensor(tokens), use_cache=False).logits}

    for one in (plan, plan._replace(kernels=FORMULAS), decoder.make_plan(Execution(dtype="float32", scan_layers=True))):
        found = logits_of(loaded.params, config, jnp.asarray(tokens), one)
        (row,) = assert_agrees({"logits": np.asarray(found)}, theirs, evaluate)
        assert row.largest_absolute < 1e-4


def test_each_kind_decodes_greedily_as_transformers_does(kind):
    theirs, folder, config = kind
    prompt, plan = [5, 80, 17], decoder.make_plan(Execution(dtype="float32"))
    ids = torch.tensor([prompt])
    more = {"max_new_tokens": 12, "min_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
    expected = theirs.generate(ids, attention_mask=torch.ones_like(ids), **more)[0, 3:].tolist()
    params = loop.prepare(hf.load(folder).params, plan, 1)
    assert loop.generate(params, [prompt], config, plan, Sampling(temperature=0.0), 12) == [expected]


def test_each_kind_goes_out_as_it_came_in(kind, tmp_path):
    theirs, folder, config = kind
    loaded = hf.load(folder)
    hf.export(loaded.params, loaded.config, train_bpe([TEXT], 300), tmp_path / "out", "card")
    assert hf.load(tmp_path / "out").config == config
    came, went = load_file(folder / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    assert came.keys() == went.keys()
    for name in came:
        np.testing.assert_array_equal(came[name], went[name])
    again = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "out").eval()
    tokens = torch.arange(20)[None]
    with torch.no_grad():
        torch.testing.assert_close(again(tokens).logits, theirs(tokens).logits, rtol=0, atol=1e-6)


def test_each_kind_has_as_many_parameters_letters_and_gradients_as_it_says(kind):
    theirs, folder, config = kind
    params = hf.load(folder).params
    assert config.n_parameters == sum(parameter.numel() for parameter in theirs.parameters())
    letters = decoder.dimension_letters(config)
    sizes = {"V": 384, "D": 32, "P": 32, "N": 4, "H": 8, "F": config.d_hidden, "3": 3}
    jax.tree.map(lambda x, axes: np.testing.assert_equal(x.shape, tuple(sizes[a] for a in axes)), params, letters)

    tokens, plan = np.random.default_rng(1).integers(0, 300, (1, 9)), decoder.make_plan(Execution(dtype="float32"))

    def mean(params):
        total, weight = decoder.loss(params, jnp.asarray(tokens[:, :-1]), jnp.asarray(tokens[:, 1:]), config, plan)
        return total / weight

    gradients = names.to_hf(jax.jit(jax.grad(mean))(params), config)
    theirs.zero_grad()
    logits = theirs(torch.tensor(tokens[:, :-1])).logits
    torch.nn.functional.cross_entropy(logits[0], torch.tensor(tokens[0, 1:])).backward()
    for name, parameter in theirs.named_parameters():
        expected = parameter.grad.numpy()
        np.testing.assert_allclose(gradients[name], expected, rtol=1e-3, atol=2e-5 * np.abs(expected).max() + 1e-7)


def test_only_the_fields_that_differ_are_written_otherwise():
    written = hf_config.write(CONFIG, Borders())
    expected = {
        "n_inner": None,
        "activation_function": "gelu_new",
        "tie_word_embeddings": True,
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
    }
    assert {name: written[name] for name in expected} == expected


def test_an_untied_embedding_costs_memory_but_no_flops():
    untied = replace(CONFIG, tied_head=False)
    assert untied.n_parameters == CONFIG.n_parameters + 300 * 32
    assert untied.flops_per_token() == CONFIG.flops_per_token()
    assert untied.flops_per_token("llm.c") == CONFIG.flops_per_token("llm.c")


def test_a_hidden_width_that_the_mesh_cannot_split_is_refused():
    with pytest.raises(ValueError, match="tensor=8 must divide the model's d_hidden=36"):
        sharding.check_divides(replace(CONFIG, n_heads=8, mlp_width=36), sharding.make_mesh(1, 1, 8))
