"""Encoders in Hugging Face's directories: the same numbers as transformers, and what is refused."""

import json
from functools import partial

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from llm_jax.hf import encoder
from llm_jax.hf.families import bert
from llm_jax.hf.sentences import Embedder, ids_of, padded, rounded_up
from llm_jax.models.encoder.config import EncoderConfig
from llm_jax.models.encoder.forward import forward, masked_logits
from llm_jax.models.encoder.parameters import init
from llm_jax.tokenizer import train_wordpiece

TEXTS = ["a small cat", "the dog sleeps on the mat while it rains and rains", ""]


@pytest.fixture(scope="module")
def tokenizer():
    return train_wordpiece([*TEXTS, "cats and dogs sleep"], 60, True, 1).tokenizer()


def made(tokenizer, has_masked_head, **changes):
    config = EncoderConfig(
        vocab_size=tokenizer.vocab_size, context_length=32, d_model=16, n_heads=2, n_layers=2, mlp_width=24,
        has_masked_head=has_masked_head, **changes
    )  # fmt: skip
    params = init(jax.random.key(0), config)
    keys = iter(jax.random.split(jax.random.key(1), len(jax.tree.leaves(params))))
    params = jax.tree.map(lambda leaf: leaf + 0.3 * jax.random.normal(next(keys), leaf.shape), params)
    begin, end = ((tokenizer.token_to_id(name),) for name in ("[CLS]", "[SEP]"))
    return encoder.SentenceModel(config, params, tokenizer, begin, end, 20)


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    out = tmp_path_factory.mktemp("encoder") / "plain"
    encoder.save(made(tokenizer, False), out)
    return out


@pytest.mark.parametrize("has_head", [pytest.param(False, marks=pytest.mark.long), True])
def test_states_and_logits_equal_those_of_transformers(tokenizer, tmp_path, plan, has_head):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    model = made(tokenizer, has_head)
    encoder.save(model, tmp_path / "out")
    read = encoder.load(tmp_path / "out")
    assert (read.config, read.begin, read.end, read.most_tokens) == (model.config, model.begin, model.end, 20)
    tokens, is_token = padded(ids_of(read, TEXTS), 20, 3)
    kind = transformers.BertForMaskedLM if has_head else transformers.BertModel
    theirs = kind.from_pretrained(tmp_path / "out", attn_implementation="eager").eval()
    segments = np.tile(np.arange(20) > 3, (3, 1)).astype(np.int32)
    with torch.no_grad():
        given = [torch.tensor(x.astype(np.int64)) for x in (tokens, is_token, segments)]
        found = theirs(input_ids=given[0], attention_mask=given[1], token_type_ids=given[2], output_hidden_states=True)
    states = jax.jit(partial(forward, config=read.config, plan=plan))(
        read.params, tokens, is_token, segments_BT=segments
    )
    np.testing.assert_allclose(states[is_token], found.hidden_states[-1].numpy()[is_token], atol=1e-5)
    if has_head:
        logits = jax.jit(partial(masked_logits, config=read.config, plan=plan))(read.params, states)
        np.testing.assert_allclose(logits[is_token], found.logits.numpy()[is_token], atol=1e-5)


def test_tensorflows_names_of_norms_are_read_as_transformers_reads_them(tokenizer, tmp_path):
    model = made(tokenizer, True)
    encoder.save(model, tmp_path / "out")
    path = tmp_path / "out/model.safetensors"
    older = {name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): tensor
             for name, tensor in load_file(path).items()}  # fmt: skip
    assert sum(name.endswith((".gamma", ".beta")) for name in older) == 2 * (1 + 2 * 2 + 1)
    save_file(older, path, metadata={"format": "pt"})
    jax.tree.map(np.testing.assert_array_equal, encoder.load(tmp_path / "out").params, model.params)


def test_a_vector_depends_on_its_text_alone(folder):
    """Not on the batch, the order, or the padding."""
    embedder = Embedder(encoder.load(folder))
    together = embedder.embed(TEXTS * 23)  # more than a batch
    np.testing.assert_allclose(together[:3], embedder.embed(TEXTS), atol=1e-6)
    np.testing.assert_allclose(together[:3], together[66:69], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_a_long_text_is_cut_before_its_closing_border(folder):
    model = encoder.load(folder)
    short, long = ids_of(model, ["cat", "cat " * 100])
    assert len(long) == 20
    assert (short[0], short[-1], long[0], long[-1]) == (*model.begin, *model.end) * 2


def test_lengths_are_rounded_up_and_programs_few():
    assert all(rounded_up(n) >= n for n in range(513))
    assert len({rounded_up(n) for n in range(1, 513)}) <= 32
    assert max(rounded_up(n) / n for n in range(13, 513)) <= 4 / 3


def test_the_fingerprint_is_that_of_the_function(folder, tokenizer, tmp_path):
    first = Embedder(encoder.load(folder)).fingerprint()
    encoder.save(made(tokenizer, False), tmp_path / "again")
    assert Embedder(encoder.load(tmp_path / "again")).fingerprint() == first
    (tmp_path / "again/sentence_bert_config.json").write_text('{"max_seq_length": 19}')
    assert Embedder(encoder.load(tmp_path / "again")).fingerprint() != first


def change_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_tensor(folder, name, change):
    found = load_file(folder / "model.safetensors")
    tensor = found.pop(name)
    changed = change(tensor)
    save_file(found | ({} if changed is None else changed), folder / "model.safetensors")


def nan_in(tensor):
    tensor[0] = np.nan
    return {"embeddings.LayerNorm.bias": tensor}


BIAS = "embeddings.LayerNorm.bias"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "config.json").unlink(), "no Hugging Face directory of an encoder: it has no config.json"),
        (lambda f: change_json(f / "config.json", model_type="gpt2"), "an encoder here is 'bert'"),
        (lambda f: change_json(f / "config.json", position_embedding_type="relative_key"), "position_embedding_type"),
        (lambda f: change_json(f / "config.json", auto_map={"AutoModel": "x.py"}), "auto_map"),
        (lambda f: change_json(f / "config.json", hidden_size="16"), "hidden_size is '16'; expected a whole number"),
        (lambda f: change_json(f / "config.json", num_attention_heads=5), r"config.json: n_heads must divide d_model"),
        (lambda f: change_json(f / "config.json", hidden_act="tanh"), "hidden_act is 'tanh'"),
        (lambda f: change_json(f / "config.json", vocab_size=3), "its config says|the model knows 3"),
        (lambda f: change_tensor(f, BIAS, lambda t: None), f"tensor '{BIAS}' is missing"),
        (lambda f: change_tensor(f, BIAS, lambda t: {BIAS: t[:4]}), "has shape"),
        (lambda f: change_tensor(f, BIAS, nan_in), "not finite"),
        (lambda f: change_tensor(f, BIAS, lambda t: {BIAS: t, "extra": t}), "'extra' is not part of a BERT"),
        (lambda f: change_json(f / "sentence_bert_config.json", max_seq_length=99), "max_seq_length is 99"),
        (lambda f: change_json(f / "1_Pooling/config.json", pooling_mode_max_tokens=True), "this code computes one of"),
        (lambda f: (f / "modules.json").write_text('[{"type": "x.Dense"}]'), "x.Dense is not computed here"),
        (lambda f: change_json(f / "special_tokens_map.json", sep_token="[NONE]"), "sep_token is '\\[NONE\\]'"),
    ],
)
def test_a_damaged_directory_is_refused_by_the_name_of_what_is_wrong(folder, tmp_path, spoil, said):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    spoil(copy)
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        encoder.load(copy)


def test_a_pre_norm_encoder_is_not_exported_as_a_bert(tokenizer, tmp_path):
    with pytest.raises(ValueError, match="no BERT of transformers is pre-norm"):
        encoder.save(made(tokenizer, False, norm="pre"), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_every_parameter_has_a_row(tokenizer):
    model = made(tokenizer, True)
    paths = {jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(model.params)}
    assert paths == {row.ours for row in bert.rows(model.config)}
