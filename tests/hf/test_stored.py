"""Models as other programs have stored them: a tied pair under either name, other borders, a file for a folder."""

import json
import shutil
import struct
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from small_models import bytes_tokenizer

from llm_jax import hf
from llm_jax.config import DecoderConfig
from llm_jax.models import decoder
from llm_jax.tokenizer import Borders, BytePairTokenizer, with_borders

CONFIG = DecoderConfig(vocab_size=260, context_length=16, d_model=8, n_heads=2, n_layers=1)
SPECIAL = {"<s>": 256, "</s>": 257, "<pad>": 258, "<|endoftext|>": 259}


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("stored") / "model"
    tokenizer = BytePairTokenizer({bytes([i]): i for i in range(256)}, special_tokens=SPECIAL)
    hf.export(decoder.init(jax.random.key(0), CONFIG), CONFIG, tokenizer, out, "card")
    return out


@pytest.fixture
def directory(exported, tmp_path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "model"))


def renamed(directory: Path, *names: str, prefix: str) -> dict[str, np.ndarray]:
    """The tensors with this prefix, and the embedding under these names."""
    found = {name.removeprefix("transformer."): x for name, x in load_file(directory / "model.safetensors").items()}
    embedding = found.pop("wte.weight")
    return {prefix + name: x for name, x in found.items()} | {name: embedding.copy() for name in names}


@pytest.mark.parametrize("prefix", ["", "transformer."])
@pytest.mark.parametrize("parts", [1, 2], ids=["one file", "an index"])
@pytest.mark.parametrize(
    "names", [("lm_head.weight",), ("transformer.lm_head.weight",), ("wte.weight",), ("lm_head.weight", "wte.weight")]
)
def test_a_tied_pair_is_found_under_either_name(directory, names, prefix, parts):
    expected = hf.load(directory).params
    found = renamed(directory, *names, prefix=prefix)
    (directory / "model.safetensors").unlink()
    if parts == 1:
        save_file(found, directory / "model.safetensors")
    else:
        files = {name: f"model-0000{number % 2 + 1}-of-00002.safetensors" for number, name in enumerate(found)}
        for file in set(files.values()):
            save_file({name: x for name, x in found.items() if files[name] == file}, directory / file)
        # An index may promise both names of a pair of which one was stored.
        promised = {"lm_head.weight": files[names[0]], "transformer.wte.weight": files[names[0]]} | files
        (directory / "model.safetensors.index.json").write_text("\ufeff" + json.dumps({"weight_map": promised}))
    jax.tree.map(np.testing.assert_array_equal, hf.load(directory).params, expected)
    assert hf.check(directory) == CONFIG


def test_what_safetensors_save_model_writes_is_read(directory):
    from safetensors.torch import save_model
    from transformers import GPT2LMHeadModel

    expected = hf.load(directory).params
    save_model(GPT2LMHeadModel.from_pretrained(directory), str(directory / "model.safetensors"))
    assert "transformer.wte.weight" not in load_file(directory / "model.safetensors")
    jax.tree.map(np.testing.assert_array_equal, hf.load(directory).params, expected)


@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_neither_name_of_the_pair_is_a_missing_tensor(directory, prefix):
    save_file(renamed(directory, prefix=prefix), directory / "model.safetensors")
    with pytest.raises(ValueError, match=r"tensor 'wte\.weight' is missing"):
        hf.load(directory)


def test_two_names_with_different_values_are_refused(directory):
    found = renamed(directory, "lm_head.weight", prefix="transformer.")
    save_file(found | {"transformer.wte.weight": found["lm_head.weight"] + 1}, directory / "model.safetensors")
    with pytest.raises(ValueError, match=r"lm_head\.weight is not the embedding"):
        hf.load(directory)


@pytest.mark.parametrize("file", ["config", "tokenizer", "tokenizer_config", "generation_config"])
def test_a_byte_order_mark_in_any_json_is_read_over(directory, file):
    path = directory / f"{file}.json"
    before = hf.load(directory).tokenizer
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    after = hf.load(directory).tokenizer
    assert before is not None
    assert after is not None
    assert (after.fingerprint, after.borders) == (before.fingerprint, before.borders)


@pytest.mark.parametrize(
    "borders",
    [Borders(), Borders(256, 257, (257,), 258), Borders(256, 257, (257, 10, 259)), Borders.of_one(10)],
)
def test_an_export_writes_the_borders_that_were_read_and_transformers_reads_them(directory, tmp_path, borders):
    from transformers import AutoTokenizer, GenerationConfig, GPT2Config

    loaded = hf.load(directory)
    assert loaded.tokenizer is not None
    hf.export(loaded.params, CONFIG, with_borders(loaded.tokenizer, borders), tmp_path / "again", "card")
    again = hf.load(tmp_path / "again").tokenizer
    assert again is not None
    assert again.borders == borders
    stops = None if not borders.stops else borders.stops[0] if len(borders.stops) == 1 else list(borders.stops)
    for theirs in (
        GPT2Config.from_pretrained(tmp_path / "again"),
        GenerationConfig.from_pretrained(tmp_path / "again"),
    ):
        assert theirs.eos_token_id == stops
        assert theirs.bos_token_id == borders.begin
        assert theirs.pad_token_id == borders.pad
    if borders.end != 10:
        assert AutoTokenizer.from_pretrained(tmp_path / "again").eos_token_id == borders.end


def test_an_export_with_one_border_has_the_fields_that_it_has_always_had(tmp_path):
    config = DecoderConfig(**{**vars(CONFIG), "vocab_size": 257})
    hf.export(decoder.init(jax.random.key(0), config), config, bytes_tokenizer(), tmp_path / "out", "card")
    generation = (tmp_path / "out" / "generation_config.json").read_text()
    assert generation == '{\n  "_from_model_config": true,\n  "bos_token_id": 256,\n  "eos_token_id": 256\n}\n'
    fields = json.loads((tmp_path / "out" / "config.json").read_text())
    assert list(fields)[-5:] == ["tie_word_embeddings", "bos_token_id", "eos_token_id", "use_cache", "dtype"]
    assert "pad_token_id" not in fields


def test_a_model_with_an_old_pair_of_tokenizer_files_is_loaded(directory):
    content = json.loads((directory / "tokenizer.json").read_bytes())
    (directory / "vocab.json").write_text(json.dumps(content["model"]["vocab"]))
    (directory / "merges.txt").write_text("#version: 0.2\n" + "\n".join(content["model"]["merges"]))
    (directory / "added_tokens.json").write_text(json.dumps(SPECIAL))
    (directory / "special_tokens_map.json").write_text(json.dumps({"additional_special_tokens": list(SPECIAL)}))
    before = hf.load(directory).tokenizer
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (directory / name).unlink()
    after = hf.load(directory).tokenizer
    assert before is not None
    assert after is not None
    assert after.fingerprint == before.fingerprint
    assert hf.check(directory) == CONFIG


def llmc(version: int) -> bytes:
    return struct.pack("<8i", 20240326, version, 1024, 50257, 12, 12, 768, 50304) + bytes(992)


@pytest.mark.parametrize(("version", "dtype"), [(3, "float32"), (5, "bfloat16")])
@pytest.mark.parametrize("in_folder", [False, True], ids=["the file", "its folder"])
def test_a_checkpoint_of_llmc_is_named_with_the_way_to_convert_it(tmp_path, version, dtype, in_folder):
    path = tmp_path / "model_00019560.bin"
    path.write_bytes(llmc(version))
    (tmp_path / "DONE.bin").mkdir()
    pattern = (
        rf"{path}: a checkpoint of llm\.c \(GPT-2 of 12 layers.*{dtype}\).*export_hf\.py --input {path} --output DIR"
    )
    for read in (hf.load, hf.check):
        with pytest.raises(ValueError, match=pattern):
            read(tmp_path if in_folder else path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.bin", llmc(1), "checkpoint of llm.c of version 1"),
        ("fineweb_train_000001.bin", struct.pack("<256i", 20240520, 1, *[0] * 254), "a shard of tokens"),
        ("state.bin", struct.pack("<256i", 20240527, *[0] * 255), "training state"),
        ("model.gguf", b"GGUF" + bytes(60), "GGUF"),
        ("pytorch_model.bin", b"PK\3\4" + bytes(60), "pickle"),
        ("model.safetensors", struct.pack("<Q", 2) + b"{}", "give the folder"),
        ("notes.txt", b"", "holds no model"),
    ],
)
def test_a_file_in_place_of_a_folder_is_named_by_what_it_is(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}: .*{message}.*expected a Hugging Face directory"):
        hf.load(tmp_path / name)
