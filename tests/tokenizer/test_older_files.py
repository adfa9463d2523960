"""Tokenizers as older and newer programs have saved them: the same ids, or a refusal that says what the file is."""

import json

import pytest

from llm_jax.tokenizer import is_there, load

BOM = "\ufeff"


@pytest.fixture
def content(small_bpe, tmp_path):
    small_bpe.save(tmp_path / "saved")
    return json.loads((tmp_path / "saved" / "tokenizer.json").read_bytes())


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "old").mkdir()
    return tmp_path / "old"


def put(folder, **files):
    """Writes JSON files by name; a text goes as it is."""
    for name, value in files.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")


def without(*names):
    return lambda content: [content["model"].pop(name) for name in names]


@pytest.mark.parametrize(
    "change",
    [
        without("type"),
        without("type", "dropout", "unk_token", "fuse_unk", "byte_fallback"),
        without("continuing_subword_prefix", "end_of_word_suffix"),
        lambda content: content["model"].update(ignore_merges=True),
        lambda content: content["model"].update(unk_token="<|endoftext|>"),
        lambda content: content.update(added_tokens=None),
        lambda content: content.pop("added_tokens"),
        lambda content: [content.pop(name) for name in ("version", "truncation", "padding", "post_processor")],
        lambda content: content["model"].update(merges=[pair.split(" ") for pair in content["model"]["merges"]]),
    ],
)
@pytest.mark.parametrize("mark", ["", BOM], ids=["plain", "marked"])
def test_a_tokenizer_json_of_any_version_gives_the_same_tokenizer(small_bpe, content, folder, change, mark):
    change(content)
    put(folder, tokenizer__json=mark + json.dumps(content))
    loaded = load(folder)
    assert loaded.fingerprint == small_bpe.fingerprint
    assert loaded.borders == small_bpe.borders


def test_gpt2s_own_file_on_the_hub_is_gpt2(gpt2, tmp_path):
    """What openai-community/gpt2 has: no model.type, no byte_fallback, no use_regex, a post-processor, and a config of
    one line."""
    gpt2.save(tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_bytes())
    del content["model"]["type"], content["model"]["byte_fallback"], content["pre_tokenizer"]["use_regex"]
    content["added_tokens"][0]["normalized"] = True
    content["post_processor"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False}
    put(tmp_path, tokenizer__json=content, tokenizer_config__json={"model_max_length": 1024})
    loaded = load(tmp_path)
    assert (loaded.name, loaded.fingerprint, loaded.borders) == ("gpt2", gpt2.fingerprint, gpt2.borders)


@pytest.mark.parametrize("version_line", ["#version: 0.2\n", "#version: 0.2 - Trained by `tokenizers`\n", ""])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("mark", ["", BOM], ids=["plain", "marked"])
def test_a_pair_of_vocab_and_merges_is_the_same_tokenizer(small_bpe, content, folder, version_line, line_end, mark):
    merges = mark + version_line.replace("\n", line_end) + line_end.join(content["model"]["merges"]) + line_end
    (folder / "merges.txt").write_text(merges, encoding="utf-8", newline="")
    put(folder, vocab__json=mark + json.dumps(content["model"]["vocab"]))
    assert is_there(folder)
    for given in (folder, folder / "vocab.json", folder / "merges.txt"):
        assert load(given).fingerprint == small_bpe.fingerprint


@pytest.mark.parametrize(
    "beside",
    [
        {"added_tokens__json": {"<|pad|>": 400}, "special_tokens_map__json": {"pad_token": "<|pad|>"}},
        {
            "added_tokens__json": {"<|pad|>": 400},
            "tokenizer_config__json": {"pad_token": {"__type": "AddedToken", "content": "<|pad|>", "lstrip": False}},
        },
        {
            "tokenizer_config__json": {
                "added_tokens_decoder": {"400": {"content": "<|pad|>", "special": True}},
                "pad_token": "<|pad|>",
            }
        },
    ],
)
def test_tokens_added_beside_a_pair_are_read_in_every_form(content, folder, beside):
    put(folder, vocab__json=content["model"]["vocab"], merges__txt="\n".join(content["model"]["merges"]), **beside)
    loaded = load(folder)
    assert loaded.special_tokens["<|pad|>"] == loaded.borders.pad == 400
    assert loaded.borders.end == loaded.special_tokens["<|endoftext|>"]  # the default of GPT-2's class


def test_transformers_reads_a_pair_with_the_same_ids(content, folder):
    from transformers import GPT2Tokenizer

    put(folder, vocab__json=content["model"]["vocab"], merges__txt="\n".join(content["model"]["merges"]))
    theirs, ours = GPT2Tokenizer.from_pretrained(folder), load(folder)
    assert theirs.eos_token_id == ours.borders.end
    assert theirs.encode("the dog's tail 42") == ours.encode("the dog's tail 42")


def test_a_token_added_to_a_pair_without_being_special_is_found_in_every_text(content, folder):
    put(folder, vocab__json=content["model"]["vocab"], merges__txt="\n".join(content["model"]["merges"]))
    put(folder, added_tokens__json={"hello": 400})
    assert 400 in load(folder).encode("a hello b")
    assert "hello" not in load(folder).special_tokens


def test_the_settings_of_a_pair_are_computed(small_bpe, content, folder):
    put(folder, vocab__json=content["model"]["vocab"], merges__txt="\n".join(content["model"]["merges"]))
    put(folder, tokenizer_config__json={"add_prefix_space": True})
    assert load(folder).encode("the dog") == small_bpe.encode(" the dog")
    put(folder, tokenizer_config__json={"add_bos_token": True})
    assert load(folder).encode("the dog") == small_bpe.encode("the dog")
    assert load(folder).borders.prefix == (small_bpe.end_of_text,)


def test_a_pair_of_qwen2s_class_is_split_and_normalized_as_its_class_does(content, folder):
    from transformers import Qwen2Tokenizer

    put(folder, vocab__json=content["model"]["vocab"], merges__txt="\n".join(content["model"]["merges"]))
    put(folder, tokenizer_config__json={"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|endoftext|>"})
    theirs, ours = Qwen2Tokenizer.from_pretrained(folder), load(folder)
    for text in ("the dogs' tails: 1234", "e\u0301\r\n\n  x"):
        assert ours.encode(text) == theirs.encode(text)


@pytest.mark.parametrize(("half", "other"), [("vocab.json", "merges.txt"), ("merges.txt", "vocab.json")])
def test_half_of_a_pair_asks_for_the_other_half(content, folder, half, other, monkeypatch):
    text = json.dumps(content["model"]["vocab"]) if half == "vocab.json" else "\n".join(content["model"]["merges"])
    (folder / half).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"half of a tokenizer, which needs {other}") as refusal:
        load(folder / half)
    assert "load(" not in str(refusal.value)
    assert str(refusal.value).startswith(f"{folder / half}: half")
    monkeypatch.chdir(folder)
    with pytest.raises(ValueError, match=rf"^{half}: half"):
        load(half)
    assert not is_there(folder)


@pytest.mark.parametrize("named", [True, False], ids=["with type", "without type"])
@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("Unigram", {"unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.5]]}),
        (
            "WordPiece",
            {
                "unk_token": "[UNK]",
                "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100,
                "vocab": {"[UNK]": 0, "a": 1},
            },
        ),
    ],
)
def test_a_tokenizer_of_another_kind_is_read_by_the_library(folder, kind, model, named):
    put(folder, tokenizer__json={"added_tokens": [], "model": model | ({"type": kind} if named else {})})
    assert load(folder).encode("a") == [1]
    assert load(folder).name == f"{kind.lower()}-2"


@pytest.mark.parametrize("bytes_of_file", [b"\x0a\x0e\x0a\x05<unk>\x15\x00\x00\x00\x00", b"\xff", b"dGhl 256\n"])
def test_a_file_that_the_command_line_cannot_read_gets_a_cure_for_the_command_line(tmp_path, bytes_of_file):
    (tmp_path / "spm.model").write_bytes(bytes_of_file)
    with pytest.raises(ValueError, match=r"[Gg]ive a tokenizer\.json|get the file again") as refusal:
        load(tmp_path / "spm.model")
    assert "load(" not in str(refusal.value)
