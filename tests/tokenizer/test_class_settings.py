"""tokenizer_config.json beside a vocabulary: the settings that transformers' classes take from it give the same ids."""

import json
from dataclasses import replace

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from llm_jax.tokenizer import Borders, BytePairTokenizer, load, with_borders
from llm_jax.tokenizer.hf_files.post_processor import template

LINES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "schon", "schön", "Schön", "日", "本", "日本", "1", ",", "."]
LINES += ["234", "##4", "<m>", "n't", "'", "s", "?"]
TEXT = "Schön schon 日本 1,234. <m> [MASK] [PAD] isn't 's? 2344 schöner"
SETTINGS = [
    {},
    {"do_lower_case": False},
    {"strip_accents": False},
    {"do_lower_case": False, "strip_accents": True},
    {"tokenize_chinese_chars": False},
    {"unk_token": "[PAD]", "pad_token": "[UNK]"},
    {"mask_token": "<m>"},
    {"mask_token": "<mask>", "additional_special_tokens": ["<e>"]},
    {"mask_token": {"__type": "AddedToken", "content": "<m>", "lstrip": True}},
]


@pytest.fixture
def put(tmp_path):
    """Writes files by name into one folder, a text as it is and other values as JSON."""

    def write(**files):
        for name, value in files.items():
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            (tmp_path / name.replace("__", ".")).write_text(text, encoding="utf-8")
        return tmp_path

    return write


def agree(folder, *texts):
    """The tokenizer of the folder, after ids, decoding and special tokens of transformers have been compared."""
    ours, theirs = load(folder), AutoTokenizer.from_pretrained(folder)
    for text in texts:
        ids = theirs.encode(text, add_special_tokens=False)
        assert ours.encode(text, "all") == ids, text
        assert ours.decode(ids) == theirs.decode(ids, clean_up_tokenization_spaces=False)
    assert ours.vocab_size == len(theirs)
    assert set(theirs.all_special_ids) <= set(ours.special_tokens.values())
    return ours


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("name", ["BertTokenizer", "DistilBertTokenizerFast", "ElectraTokenizer"])
def test_a_vocab_txt_is_read_with_the_settings_of_berts_class(put, name, settings):
    ours = agree(put(vocab__txt="\n".join(LINES), tokenizer_config__json={"tokenizer_class": name} | settings), TEXT)
    ours.save(put() / "saved")
    assert load(put() / "saved").fingerprint == ours.fingerprint
    agree(put() / "saved", TEXT)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_berts_class_goes_before_the_normalizer_of_a_tokenizer_json(put, settings):
    put(vocab__txt="\n".join(LINES))
    content = load(put()).definition.content()  # type: ignore[attr-defined]
    (put() / "vocab.txt").unlink()
    content["normalizer"] |= {"lowercase": False, "strip_accents": True, "handle_chinese_chars": False}
    put(tokenizer__json=content, tokenizer_config__json={"tokenizer_class": "BertTokenizerFast"} | settings)
    agree(put(), TEXT)
    put(tokenizer_config__json={"tokenizer_class": "PreTrainedTokenizerFast"})
    agree(put(), TEXT)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"tokenizer_config__json": {"tokenizer_class": "BertJapaneseTokenizer"}}, "'BertJapaneseTokenizer'"),
        ({"config__json": {"tokenizer_class": "BertJapaneseTokenizer"}}, "'BertJapaneseTokenizer'"),
        ({"tokenizer_config__json": {"word_tokenizer_type": "mecab"}}, "word_tokenizer_type is 'mecab'"),
        ({"tokenizer_config__json": {"subword_tokenizer_type": "character"}}, "subword_tokenizer_type is 'character'"),
        ({"tokenizer_config__json": {"strip_accents": "no"}}, "strip_accents is 'no'; expected true or false"),
        ({"tokenizer_config__json": {"unk_token": "<unk>"}}, "none of its lines is <unk>"),
    ],
)
def test_a_vocab_txt_of_another_class_is_refused_by_name(put, files, message):
    put(vocab__txt="\n".join(LINES), **files)
    with pytest.raises(ValueError, match=rf"vocab\.txt: .*{message}"):
        load(put())


SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|endoftext|>"]


@pytest.fixture
def pair(small_bpe, tmp_path):
    """The vocabulary and the merges of byte-level BPE that has special tokens of several families."""
    ranks = {token: number + len(SPECIAL) for token, number in small_bpe.ranks.items()}
    vocab = dict(zip(SPECIAL, range(len(SPECIAL)), strict=True))
    small_bpe.save(tmp_path / "small")
    model = json.loads((tmp_path / "small" / "tokenizer.json").read_text())["model"]
    number = {token: len(SPECIAL) + place for place, token in enumerate(model["vocab"]) if token not in SPECIAL}
    assert len(number) == len(ranks)
    return vocab | number, model["merges"]


PAIR_TEXT = "the  dogs' tails <mask>a<|endoftext|>b<s> e\u0301 1234"


@pytest.mark.parametrize("settings", [{}, {"add_prefix_space": True}, {"pad_token": "<other>"}], ids=str)
@pytest.mark.parametrize(
    "name", ["GPT2Tokenizer", "CodeGenTokenizer", "RobertaTokenizer", "BartTokenizer", "Qwen2Tokenizer"]
)
def test_a_pair_has_the_special_tokens_that_its_class_names(put, pair, name, settings):
    vocab, merges = pair
    put(vocab__json=vocab, merges__txt="\n".join(merges))
    put(tokenizer_config__json={"tokenizer_class": name} | settings)
    ours = agree(put(), PAIR_TEXT, "the dog")
    begins = AutoTokenizer.from_pretrained(put()).encode("x")[:1] if "R" in name or "Bart" in name else []
    assert ours.borders.prefix == tuple(begins)


@pytest.mark.parametrize("model", ["gpt2", "opt", "qwen2", "qwen3", "roberta", "bart"])
def test_a_pair_without_a_class_is_of_the_model_s_class(put, pair, model):
    vocab, merges = pair
    put(vocab__json=vocab, merges__txt="\n".join(merges), config__json={"model_type": model})
    agree(put(), PAIR_TEXT)


def test_a_pair_of_a_class_with_other_rules_is_refused_by_name(put, pair):
    vocab, merges = pair
    put(vocab__json=vocab, merges__txt="\n".join(merges), tokenizer_config__json={"tokenizer_class": "CLIPTokenizer"})
    with pytest.raises(ValueError, match=r"tokenizer_class is 'CLIPTokenizer', whose merges\.txt is not computed"):
        load(put())


def tokenizer_json(pair, **parts) -> dict:
    vocab, merges = pair
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [{"id": number, "content": token, "special": True} | flags for number, token in enumerate(SPECIAL)]
    content = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None}
    content |= {"pre_tokenizer": byte_level, "post_processor": None, "decoder": byte_level}
    content |= {"model": {"type": "BPE", "vocab": vocab, "merges": merges, "ignore_merges": False}}
    return json.loads(Tokenizer.from_str(json.dumps(content | parts)).to_str())


@pytest.mark.parametrize("settings", [{}, {"add_prefix_space": True}, {"add_prefix_space": False}], ids=str)
@pytest.mark.parametrize("in_file", [True, False])
@pytest.mark.parametrize("name", ["GPT2TokenizerFast", "RobertaTokenizer", "PreTrainedTokenizerFast"])
def test_the_space_before_a_text_is_the_class_s_or_the_files(put, pair, name, in_file, settings):
    content = tokenizer_json(pair)
    content["pre_tokenizer"]["add_prefix_space"] = in_file
    put(tokenizer__json=content, tokenizer_config__json={"tokenizer_class": name} | settings)
    agree(put(), PAIR_TEXT, "the dog", " the dog")


@pytest.mark.parametrize("ignores", [True, False])
def test_a_token_that_no_merge_makes_and_no_file_declares_is_no_fault(put, pair, ignores):
    content = tokenizer_json(pair)
    for token in ("<extra_0>", "theĠdog", "Ġwholeword"):
        content["model"]["vocab"][token] = len(content["model"]["vocab"])
    content["model"]["ignore_merges"] = ignores
    put(tokenizer__json=content, tokenizer_config__json={"tokenizer_class": "PreTrainedTokenizerFast"})
    ours = agree(put(), "a wholeword <extra_0> the dog", PAIR_TEXT)
    assert (ours.token_to_id("Ġwholeword") in ours.encode("a wholeword")) == ignores


ROLES = {"bos_token": "<s>", "eos_token": "</s>"}
# Whose vocabulary tokenizer.json holds, and whose class builds the rest of the tokenizer.
CLASSES = ["PreTrainedTokenizerFast", "GPT2TokenizerFast", "LlamaTokenizerFast", "Qwen2Tokenizer", "GemmaTokenizerFast"]


@pytest.mark.parametrize("adds", [True, False, None])
@pytest.mark.parametrize("begin", [(), (("<s>", 0),)], ids=["none", "template"])
@pytest.mark.parametrize("name", CLASSES)
def test_the_post_processor_of_a_tokenizer_json_decides_what_begins_a_prompt(put, pair, name, begin, adds):
    content = tokenizer_json(pair, post_processor=template(begin))
    said = {} if adds is None else {"add_bos_token": adds, "add_eos_token": adds}
    put(tokenizer__json=content, tokenizer_config__json={"tokenizer_class": name} | ROLES | said)
    theirs = AutoTokenizer.from_pretrained(put()).encode("the dog")
    assert load(put()).borders.prefix == tuple(number for _, number in begin) == tuple(theirs[: len(begin)])
    assert (0 in theirs) == bool(begin)


def ours_with_a_beginning() -> BytePairTokenizer:
    plain = BytePairTokenizer({bytes([i]): i for i in range(256)}, special_tokens={"<s>": 256, "</s>": 257})
    return with_borders(plain, Borders(256, 257, (257,), None, (256,)))  # type: ignore[return-value]


def test_what_we_write_gets_its_begin_token_in_transformers(tmp_path):
    ours = ours_with_a_beginning()
    ours.save(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).encode("ab") == [256, 97, 98]
    again = load(tmp_path)
    assert (type(again), again.fingerprint, again.borders) == (type(ours), ours.fingerprint, ours.borders)


def test_what_we_wrote_before_the_post_processor_is_read_as_it_was(tmp_path):
    ours = ours_with_a_beginning()
    ours.save(tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_text()) | {"post_processor": None}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    again = load(tmp_path)
    assert (again.fingerprint, again.borders) == (ours.fingerprint, ours.borders)


def test_a_foreign_tokenizer_that_we_wrote_before_is_read_as_it_was(put, pair):
    """Without `truncation`, which the library always writes."""
    content = tokenizer_json(pair, normalizer={"type": "NFC"})
    config = {"tokenizer_class": "LlamaTokenizer", "unk_token": "<unk>", "add_bos_token": True, "legacy": False}
    put(tokenizer__json=content, tokenizer_config__json=config | ROLES)
    assert load(put()).borders.prefix == ()
    del content["truncation"], content["padding"]
    put(tokenizer__json=content)
    assert load(put()).borders.prefix == (0,)


@pytest.mark.parametrize("begin", [(), (("<s>", 0),)], ids=["none", "template"])
def test_a_foreign_tokenizer_that_we_saved_with_other_borders_is_read_as_it_was(put, pair, begin, tmp_path):
    put(tokenizer__json=tokenizer_json(pair, normalizer={"type": "NFC"}, post_processor=template(begin)))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": None, "add_bos_token": not begin}
    put(tokenizer_config__json=config | ROLES)
    assert load(put()).borders.prefix == tuple(number for _, number in begin)
    put(generation_config__json={"bos_token_id": 0, "eos_token_id": 2})
    ours = load(put())
    assert ours.borders.prefix == (() if begin else (0,))
    ours.save(tmp_path / "saved")  # now so that transformers reads it too
    assert load(tmp_path / "saved").borders == ours.borders
    theirs = AutoTokenizer.from_pretrained(tmp_path / "saved").encode("the dog")
    assert theirs == [*ours.borders.prefix, *ours.encode("the dog")]


def test_a_foreign_tokenizer_with_another_beginning_is_written_so_that_transformers_begins_with_it(put, pair, tmp_path):
    put(tokenizer__json=tokenizer_json(pair, normalizer={"type": "NFC"}))
    put(tokenizer_config__json={"tokenizer_class": "PreTrainedTokenizerFast"} | ROLES)
    plain = load(put())
    for prefix in ((0,), ()):
        changed = with_borders(plain, replace(plain.borders, prefix=prefix))
        changed.save(tmp_path / "saved")
        assert load(tmp_path / "saved").borders == changed.borders
        assert load(tmp_path / "saved").fingerprint == plain.fingerprint
        theirs = AutoTokenizer.from_pretrained(tmp_path / "saved").encode("the dog")
        assert theirs == [*prefix, *plain.encode("the dog")]
        plain = load(tmp_path / "saved")
