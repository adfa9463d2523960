"""Hugging Face directories: the same numbers as transformers, and nothing accepted that is not what it says."""

import json
import shutil
import struct
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity import assert_agrees
from safetensors.numpy import load_file, save_file

from llm_jax import hf
from llm_jax.config import DecoderConfig, Execution
from llm_jax.hf import directory as hf_directory
from llm_jax.hf import names, tensors
from llm_jax.hf.families.gpt2 import FAMILY
from llm_jax.models import decoder
from llm_jax.tokenizer import CharacterTokenizer, train_bpe

PREFIX = FAMILY.prefix
CONFIG = DecoderConfig(vocab_size=300, context_length=32, d_model=48, n_heads=4, n_layers=2)
TEXT = "the quick brown fox jumps over the lazy dog, and the dog sleeps on. " * 20


@pytest.fixture(scope="module")
def params():
    """Random in every parameter: fresh biases are zero and would hide a swapped one."""
    fresh = decoder.init(jax.random.key(0), CONFIG)
    leaves, tree = jax.tree.flatten(fresh)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [x + 0.05 * jax.random.normal(key, x.shape) for key, x in zip(keys, leaves, strict=True)]
    noisy = tree.unflatten(noisy)
    return names.from_hf({name.removeprefix(PREFIX): x for name, x in names.to_hf(noisy, CONFIG).items()}, CONFIG)


@pytest.fixture(scope="module")
def vocabulary():
    return train_bpe([TEXT], 300)


@pytest.fixture(scope="module")
def exported(params, vocabulary, tmp_path_factory) -> Path:
    config = DecoderConfig(**{**vars(CONFIG), "vocab_size": vocabulary.vocab_size})
    fitting = decoder.init(jax.random.key(0), config)
    out = tmp_path_factory.mktemp("hf") / "model"
    report = hf.export(fitting, config, vocabulary, out, "card")
    assert report.max_abs_logit_diff == 0
    return out


@pytest.fixture
def directory(exported, tmp_path) -> Path:
    """A copy that a test may spoil."""
    import shutil

    return Path(shutil.copytree(exported, tmp_path / "model"))


def logits_of(params, config, tokens):
    plan = decoder.make_plan(Execution(dtype="float32"))
    compute = jax.jit(lambda params: decoder.logits(params, decoder.forward(params, tokens, config, plan)[0], config))
    return np.asarray(compute(params))


def logits_at(tokens):
    """What the harness asks of each copy of transformers' model."""
    import torch

    def evaluate(model):
        with torch.no_grad():
            return {"logits": model(torch.tensor(np.atleast_2d(tokens)), use_cache=False).logits}

    return evaluate


@pytest.mark.long
def test_parameters_survive_the_round_trip_bit_for_bit(params):
    out = {name.removeprefix(PREFIX): x for name, x in names.to_hf(params, CONFIG).items()}
    jax.tree.map(np.testing.assert_array_equal, names.from_hf(out, CONFIG), params)


def test_a_directory_survives_the_round_trip_bit_for_bit(exported, tmp_path):
    once = hf.load(exported)
    assert once.tokenizer is not None
    hf.export(once.params, once.config, once.tokenizer, tmp_path / "again", "card")
    again = hf.load(tmp_path / "again")
    assert once.config == again.config
    jax.tree.map(np.testing.assert_array_equal, once.params, again.params)
    assert (exported / "model.safetensors").read_bytes() == (tmp_path / "again" / "model.safetensors").read_bytes()


GPT2_SIZES = [
    (768, 12, 12),
    (1024, 16, 2),
    (1280, 20, 2),
    (1600, 25, 2),
]  # the four of the paper, three of them shortened
NARROW = [(4 * n_heads, n_heads, n_layers) for _, n_heads, n_layers in GPT2_SIZES]


@pytest.mark.parametrize(
    ("d_model", "n_heads", "n_layers"), NARROW + [pytest.param(*size, marks=pytest.mark.long) for size in GPT2_SIZES]
)
def test_logits_match_hf_gpt2(d_model, n_heads, n_layers):
    import torch
    import transformers

    torch.manual_seed(0)
    theirs_config = transformers.GPT2Config(
        vocab_size=500, n_positions=64, n_embd=d_model, n_head=n_heads, n_layer=n_layers
    )
    theirs = transformers.GPT2LMHeadModel(theirs_config).eval()
    with torch.no_grad():  # fresh biases are zero and gains one: they would hide a mistake
        for parameter in theirs.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    config = DecoderConfig(vocab_size=500, context_length=64, d_model=d_model, n_heads=n_heads, n_layers=n_layers)
    state = {name.removeprefix(PREFIX): x.numpy() for name, x in theirs.state_dict().items()}
    params = names.from_hf(state, config)
    tokens = np.random.default_rng(0).integers(0, 500, (1, 32))
    found = logits_of(params, config, jnp.asarray(tokens, jnp.int32))
    (row,) = assert_agrees({"logits": found}, theirs, logits_at(tokens))
    assert row.largest_absolute < 1e-4


def test_transformers_loads_an_export_with_the_same_logits_and_ids(exported):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    ours = hf.load(exported)
    assert ours.tokenizer is not None
    theirs = AutoModelForCausalLM.from_pretrained(exported).eval()
    ids = AutoTokenizer.from_pretrained(exported)("the dog jumps")["input_ids"]
    assert ids == ours.tokenizer.encode("the dog jumps")
    found = logits_of(ours.params, ours.config, jnp.asarray([ids]))
    (row,) = assert_agrees({"logits": found}, theirs, logits_at(ids))
    assert row.largest_absolute < 1e-4
    assert theirs.config.eos_token_id == ours.tokenizer.end_of_text


def test_greedy_continuations_are_those_of_transformers(exported):
    import torch
    from transformers import AutoModelForCausalLM

    from llm_jax.decode.loop import generate, prepare
    from llm_jax.decode.options import Sampling

    ours, plan = hf.load(exported), decoder.make_plan(Execution(dtype="float32"))
    theirs = AutoModelForCausalLM.from_pretrained(exported).eval()
    prompt = [5, 80, 17]
    expected = theirs.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, 3), max_new_tokens=20, do_sample=False,
        pad_token_id=0, eos_token_id=None,
    )[0, 3:].tolist()  # fmt: skip
    found = generate(prepare(ours.params, plan), [prompt], ours.config, plan, Sampling(temperature=0.0), 20)
    assert found[0] == expected


def test_an_export_holds_no_padding_no_head_and_no_pickle(exported):
    found = load_file(exported / "model.safetensors")
    assert found["transformer.wte.weight"].shape[0] == hf.load(exported).config.vocab_size
    assert not any("lm_head" in name for name in found)
    assert {path.suffix for path in exported.iterdir()} == {".json", ".safetensors", ".md"}


def test_a_character_model_has_no_end_of_text(tmp_path):
    vocabulary = CharacterTokenizer.from_text(TEXT)
    config = DecoderConfig(**{**vars(CONFIG), "vocab_size": vocabulary.vocab_size})
    hf.export(decoder.init(jax.random.key(0), config), config, vocabulary, tmp_path / "out", "card")
    fields = json.loads((tmp_path / "out" / "config.json").read_text())
    assert fields["eos_token_id"] is None
    reloaded = hf.load(tmp_path / "out").tokenizer
    assert reloaded is not None
    assert reloaded.fingerprint == vocabulary.fingerprint


def test_tensors_without_prefix_masks_and_a_tied_head_are_accepted(directory):
    expected = hf.load(directory)
    found = load_file(directory / "model.safetensors")
    bare = {name.removeprefix("transformer."): x for name, x in found.items()}
    bare["h.0.attn.bias"] = np.ones((1, 1, 32, 32), np.bool_)
    bare["lm_head.weight"] = bare["wte.weight"]
    save_file(bare, directory / "model.safetensors")
    jax.tree.map(np.testing.assert_array_equal, hf.load(directory).params, expected.params)


@pytest.mark.parametrize("architectures", [["GPT2Model"], None])
def test_a_trunk_saved_alone_is_a_language_model_as_it_is_to_transformers(directory, architectures):
    """`GPT2Model.save_pretrained` writes no prefix and no head; GPT2LMHeadModel ties the head to the embedding."""
    from transformers import GPT2LMHeadModel, GPT2Model

    GPT2Model.from_pretrained(directory).save_pretrained(directory)
    assert json.loads((directory / "config.json").read_text())["architectures"] == ["GPT2Model"]
    assert "wte.weight" in load_file(directory / "model.safetensors")
    edit_config(directory, architectures=architectures)
    theirs, loading = GPT2LMHeadModel.from_pretrained(directory, output_loading_info=True)
    assert not loading["missing_keys"]
    ours, tokens = hf.load(directory), np.arange(20)[None]
    found = logits_of(ours.params, ours.config, jnp.asarray(tokens, jnp.int32))
    (row,) = assert_agrees({"logits": found}, theirs.eval(), logits_at(tokens))
    assert row.largest_absolute < 1e-4
    # Untied, the head would be another matrix, which is not there.
    edit_config(directory, architectures=architectures, tie_word_embeddings=False)
    with pytest.raises(ValueError, match=r"'lm_head\.weight' is missing"):
        hf.load(directory)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_weights_are_read(directory, dtype):
    expected = hf.load(directory)
    found = {name: x.astype(jnp.dtype(dtype)) for name, x in load_file(directory / "model.safetensors").items()}
    save_file(found, directory / "model.safetensors")
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(a, b.astype(dtype).astype(np.float32)),
        hf.load(directory).params,
        expected.params,
    )


def test_weights_in_several_files_are_read(directory):
    expected = hf.load(directory)
    found = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    weight_map = {}
    for number, name in enumerate(found):
        file = f"model-0000{number % 2 + 1}-of-00002.safetensors"
        weight_map[name] = file
    for file in set(weight_map.values()):
        save_file({name: found[name] for name in found if weight_map[name] == file}, directory / file)
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    jax.tree.map(np.testing.assert_array_equal, hf.load(directory).params, expected.params)


def edit_config(directory: Path, **fields) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"auto_map": {"AutoModel": "evil.Model"}}, "auto_map asks to run code"),
        ({"architectures": ["GPT2ForSequenceClassification"]}, r"GPT2ForSequenceClassification.*GPT2LMHeadModel"),
        ({"model_type": "gemma", "architectures": ["GemmaForCausalLM"]}, "GemmaForCausalLM.*expected 'gpt2'"),
        ({"activation_function": "quick_gelu"}, "activation_function is 'quick_gelu'; this code computes gelu_new"),
        ({"activation_function": None}, "activation_function is None"),
        ({"activation_function": ["gelu"]}, r"activation_function is \['gelu'\]"),
        ({"scale_attn_by_inverse_layer_idx": "yes"}, "scale_attn_by_inverse_layer_idx is 'yes'; expected true or"),
        ({"scale_attn_weights": None}, "scale_attn_weights is None; expected true or false"),
        ({"tie_word_embeddings": False}, "'lm_head.weight' is missing"),
        ({"tie_word_embeddings": 0}, "tie_word_embeddings is 0; expected true or false"),
        ({"n_inner": 100}, r"'h\.0\.mlp\.c_fc\.bias' has shape|has shape .*; its config says .*100"),
        ({"n_inner": 192.0}, "n_inner is 192.0; expected a whole number"),
        ({"n_inner": 0}, "n_inner is 0; expected a whole number of at least 1"),
        ({"add_cross_attention": True}, "add_cross_attention is True"),
        ({"n_embd": "many"}, r"config\.json: n_embd is 'many'; expected a whole number"),
        ({"n_embd": "16"}, "n_embd is '16'"),
        ({"n_head": None}, "n_head is None"),
        ({"n_layer": 2.0}, "n_layer is 2.0"),
        ({"vocab_size": 200.0}, "vocab_size is 200.0"),
        ({"n_positions": True}, "n_positions is True"),
        ({"n_positions": 0}, r"config\.json: context_length must be at least 1"),
        ({"layer_norm_epsilon": None}, "layer_norm_epsilon is None; expected a number"),
        ({"layer_norm_epsilon": float("nan")}, "norm_epsilon must lie between 0 and 1; got nan"),
        ({"architectures": 5}, r"architectures 5; expected 'gpt2'"),
        ({"architectures": [["GPT2LMHeadModel"]]}, r"architectures \[\['GPT2LMHeadModel'\]\]; expected"),
        ({"architectures": "GPT2LMHeadModel"}, "architectures GPT2LMHeadModel; expected"),
        ({"n_head": 7}, r"n_heads must divide d_model"),
        ({"n_layer": 3}, r"h\.2\..*is missing"),
        ({"n_layer": 1}, r"h\.1\..*is not part of a GPT-2 of this config"),
        ({"n_positions": 16}, r"'wpe.weight' has shape \(32, 48\); its config says \(16, 48\)"),
    ],
)
def test_configs_we_do_not_compute_are_refused_by_name(directory, fields, message):
    edit_config(directory, **fields)
    with pytest.raises(ValueError, match=message):
        hf.load(directory)


def test_a_config_that_lost_a_size_is_refused_by_name(directory):
    path = directory / "config.json"
    fields = json.loads(path.read_text())
    for name in ("vocab_size", "n_positions", "n_embd", "n_head", "n_layer"):
        path.write_text(json.dumps({key: value for key, value in fields.items() if key != name}))
        with pytest.raises(ValueError, match=f"field '{name}' is missing"):
            hf.load(directory)


DEEP = 200_000 * b"["


def test_json_too_deep_to_read_is_refused_with_its_file_s_name(directory):
    weights, index = directory / "model.safetensors", directory / "model.safetensors.index.json"
    intact = (directory / "config.json").read_bytes()
    (directory / "config.json").write_bytes(DEEP)
    with pytest.raises(ValueError, match=r"config\.json: not valid JSON"):
        hf.load(directory)
    (directory / "config.json").write_bytes(intact)
    weights.write_bytes(struct.pack("<Q", len(DEEP)) + DEEP)
    with pytest.raises(ValueError, match=r"model\.safetensors: the header is not valid JSON"):
        hf.load(directory)
    weights.unlink()
    index.write_bytes(DEEP)
    with pytest.raises(ValueError, match=r"index\.json: no index of tensors"):
        hf.load(directory)


def test_a_tensor_with_and_without_prefix_is_refused_and_neither_taken(directory):
    found = load_file(directory / "model.safetensors")
    found["wte.weight"] = found["transformer.wte.weight"] + 1
    save_file(found, directory / "model.safetensors")
    with pytest.raises(
        ValueError, match=r"'transformer\.wte\.weight' is there twice, with and without 'transformer\.'"
    ):
        hf.load(directory)


def test_an_untied_head_is_refused(directory):
    found = load_file(directory / "model.safetensors")
    found["lm_head.weight"] = found["transformer.wte.weight"] + 1
    save_file(found, directory / "model.safetensors")
    with pytest.raises(ValueError, match=r"lm_head.weight is not the embedding"):
        hf.load(directory)


def test_pickle_weights_are_never_opened(directory):
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model.bin: weights in pickle format"):
        hf.load(directory)


def rewrite_header(path: Path, change) -> None:
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    change(header)
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + raw[8 + length :])


NAME = "transformer.wpe.weight"


def _set(key, value):
    return lambda header: header[NAME].__setitem__(key, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("shape", [32, 49]), "needs 6272 bytes; its offsets"),
        (_set("shape", [-32, -48]), "of whole numbers"),
        (_set("dtype", "F16"), "needs 3072 bytes"),
        (_set("dtype", "C128"), "has dtype 'C128'"),
        (_set("data_offsets", [0, 10**12]), "its offsets 0…1000000000000"),
        (_set("data_offsets", [0, 32 * 48 * 4]), "overlap or leave a hole"),
        (_set("data_offsets", "all"), "of whole numbers"),
        (_set("dtype", []), "has no dtype, shape and data_offsets"),
        (_set("shape", {}), "has no dtype, shape and data_offsets"),
        (_set("shape", [2**70, 0]), "has 2 dimensions, the largest 1180591620717411303424: no model has"),
        (_set("shape", [2**40, 2**40, 0]), "has 3 dimensions"),
        (_set("shape", [1] * 98 + [32, 48]), "has 100 dimensions"),
        (lambda header: header.pop(NAME), "overlap or leave a hole|speaks of"),
    ],
)
def test_a_lying_header_is_refused(directory, change, message):
    path = directory / "model.safetensors"
    rewrite_header(path, change)
    with pytest.raises(ValueError, match=message) as refusal:
        tensors.read(directory)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize("damage", [b"", b"\x05", struct.pack("<Q", 2**60), struct.pack("<Q", 4) + b"oops"])
def test_a_file_that_is_no_safetensors_is_refused(directory, damage):
    (directory / "model.safetensors").write_bytes(damage)
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        hf.load(directory)


def test_a_truncated_file_is_refused(directory):
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="bytes of data; the file has"):
        hf.load(directory)


@pytest.mark.parametrize("name", ["../elsewhere.safetensors", "/etc/passwd"])
def test_an_index_may_not_point_outside_its_directory(directory, name):
    (directory / "model.safetensors").unlink()
    index = {"weight_map": {"wte.weight": name}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="lies outside the directory"):
        hf.load(directory)


@pytest.mark.parametrize(
    "content",
    [
        "null",
        "[]",
        "{}",
        '{"weight_map": null}',
        *(json.dumps({"weight_map": {"a": file}}) for file in (5, None, [], "a\0b", "\ud800")),
    ],
)
def test_an_index_that_names_no_files_is_refused_by_name(directory, content):
    (directory / "model.safetensors").unlink()
    (directory / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ValueError, match=r"model\.safetensors\.index\.json: no index of tensors"):
        hf.load(directory)


def test_a_link_out_of_the_directory_is_refused(directory, tmp_path):
    (directory / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    (directory / "model.safetensors").symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(ValueError, match="lies outside the directory"):
        hf.load(directory)


def test_an_existing_folder_is_not_overwritten_unless_asked(exported, params, vocabulary, tmp_path):
    loaded = hf.load(exported)
    assert loaded.tokenizer is not None
    arguments = (loaded.params, loaded.config, loaded.tokenizer)
    with pytest.raises(FileExistsError, match="--force"):
        hf.export(*arguments, exported, "card")
    other = tmp_path / "notes"
    other.mkdir()
    with pytest.raises(FileExistsError):  # never a folder that is no export
        hf.export(*arguments, other, "card", overwrite=True)
    hf.export(*arguments, exported, "card", overwrite=True)
    assert not list(exported.parent.glob(".*partial*"))


@pytest.fixture
def again(directory):
    """Exports the model of `directory` once more, over what is there."""
    loaded = hf.load(directory)
    assert loaded.tokenizer is not None
    return partial(hf.export, loaded.params, loaded.config, loaded.tokenizer, readme="another card", overwrite=True)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "checkpoints").mkdir(), r"is no export \(checkpoints is no part of one\)"),
        (lambda folder: (folder / "notes.txt").touch(), r"notes\.txt is no part of one"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"no model\.safetensors"),
        (lambda folder: (folder / "config.json").unlink(), r"no config\.json"),
        (lambda folder: edit_config(folder, model_type="bert"), r"its config\.json is not that of a GPT-2"),
        (lambda folder: (folder / "config.json").write_text('{"format": 1, "model": {}}'), "is not that of a GPT-2"),
        (lambda folder: (folder / "config.json").write_text("[]"), "is not that of a GPT-2"),
    ],
)
def test_a_folder_with_anything_that_is_no_export_is_never_overwritten(directory, again, spoil, message):
    spoil(directory)
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    with pytest.raises(FileExistsError, match=message):
        again(out=directory)
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("dies", ["weights", "comparison", "first rename", "second rename", "deletion"])
def test_an_export_interrupted_while_it_overwrites_leaves_the_old_or_the_new(directory, again, dies, monkeypatch):
    rename = Path.rename

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if dies == "weights":
            patch.setattr(hf_directory, "save_file", interrupt)
        elif dies == "comparison":
            patch.setattr(hf_directory, "_compare", interrupt)
        elif dies == "deletion":
            patch.setattr(shutil, "rmtree", lambda path, ignore_errors=False: ignore_errors or interrupt())
        else:
            moved = directory.name if dies == "first rename" else f".{directory.name}.partial"
            die = lambda path, target: interrupt() if path.name.startswith(moved) else rename(path, target)  # noqa: E731
            patch.setattr(Path, "rename", die)
        with pytest.raises(KeyboardInterrupt):
            again(out=directory)
    assert (directory / "README.md").read_text() == ("another card" if dies == "deletion" else "card")
    assert hf.check(directory) == hf.load(directory).config
    again(out=directory)
    assert (directory / "README.md").read_text() == "another card"
    assert [path.name for path in directory.parent.iterdir()] == [directory.name]


def test_an_export_goes_where_a_link_points_and_to_the_current_folder(directory, again, tmp_path, monkeypatch):
    link = tmp_path / "link"
    link.symlink_to(directory)
    assert again(out=link).out == link
    assert link.is_symlink()
    assert (directory / "README.md").read_text() == "another card"
    (directory / "README.md").write_text("old")
    monkeypatch.chdir(directory)
    again(out=Path("."))
    assert (directory / "README.md").read_text() == "another card"


def test_a_tokenizer_with_more_ids_than_the_model_is_not_exported(params, tmp_path):
    vocabulary = CharacterTokenizer.from_text("seventeen letters")
    config = DecoderConfig(**{**vars(CONFIG), "vocab_size": 5})
    with pytest.raises(ValueError, match=f"the tokenizer has {vocabulary.vocab_size} ids, the model knows 5"):
        hf.export(decoder.init(jax.random.key(0), config), config, vocabulary, tmp_path / "out", "card")
    assert not list(tmp_path.iterdir())


def test_what_is_neither_directory_nor_hub_name_is_refused():
    with pytest.raises(FileNotFoundError, match=r"no such directory.*hub$"):
        hf.load("nowhere")
    with pytest.raises(FileNotFoundError, match=r"did you mean openai-community/gpt2-medium\?"):
        hf.load("gpt2-medium")


def test_the_files_of_an_export_are_readable_to_the_same_users(exported):
    assert len({path.stat().st_mode for path in exported.iterdir()}) == 1
