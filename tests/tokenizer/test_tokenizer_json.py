"""`tokenizer.json`: transformers reads the same ids from it, the library reads what is not ours, damage is refused."""

import copy
import json

import pytest
from hypothesis import given, settings
from tokenizers import Tokenizer

from llm_jax.tokenizer import CL100K_PATTERN, GPT2_PATTERN, O200K_PATTERN, BytePairTokenizer, load, train_bpe
from llm_jax.tokenizer.hf_files.tokenizer_json import byte_characters, to_bytes, to_characters

WITHOUT_O200K = pytest.mark.parametrize("openai", ["gpt2", "cl100k_base"], indirect=True)  # saving it takes seconds
BYTES = {bytes([byte]): byte for byte in range(256)}
TEXT = "The dog's tail: 2 dogs' tails, 3 TAILS'LL wag.\n\n  def wag(tail):\r\n\treturn tail += 1 😀 தமிழ் "


@pytest.fixture(scope="module")
def saved(small_bpe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    small_bpe.save(folder)
    return folder


@pytest.fixture
def content(saved):
    return json.loads((saved / "tokenizer.json").read_text(encoding="utf-8"))


@pytest.fixture
def load_changed(tmp_path):
    def write_and_load(content):
        (tmp_path / "tokenizer.json").write_text(json.dumps(content))
        return load(tmp_path)

    return write_and_load


@pytest.mark.parametrize(
    "pattern", [GPT2_PATTERN, CL100K_PATTERN, O200K_PATTERN, r"\d+"], ids=["gpt2", "cl100k", "o200k", "own"]
)
def test_transformers_reads_the_same_ids_and_the_same_text(pattern, hard_texts, tmp_path):
    from transformers import AutoTokenizer

    ours = train_bpe([TEXT * 3], 330, pattern)
    ours.save(tmp_path, model_max_length=1_000_000)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')  # as in an exported model's folder
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert theirs.eos_token_id == theirs.bos_token_id == ours.end_of_text
    assert len(theirs) == ours.vocab_size
    assert theirs.model_max_length == 1_000_000

    @given(hard_texts)
    @settings(max_examples=100)
    def check(text):
        assert theirs.encode(text) == ours.encode(text, "all")  # Hugging Face reads special tokens in any text …
        assert theirs.encode(text, split_special_tokens=True) == ours.encode(text)  # … unless told otherwise
        assert theirs.decode(ours.encode(text)) == text

    check()
    theirs.save_pretrained(tmp_path / "again")
    assert load(tmp_path / "again").fingerprint == ours.fingerprint


@WITHOUT_O200K
def test_transformers_reads_openai_vocabularies_with_the_same_ids(openai, shared_data, tmp_path):
    from transformers import AutoTokenizer

    ours, _ = openai
    ours.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for language in ("eng_Latn", "tam_Taml", "zho_Hans", "arb_Arab"):
        text = (shared_data / "flores200" / f"{language}.dev").read_text(encoding="utf-8")[:20_000] + "<|endoftext|>"
        assert theirs.encode(text, split_special_tokens=True) == ours.encode_array(text).tolist()
        assert theirs.encode(text) == ours.encode_array(text, "all").tolist()


@WITHOUT_O200K
def test_loading_what_was_saved_gives_the_same_tokenizer(openai, tmp_path):
    ours, _ = openai
    ours.save(tmp_path)
    loaded = load(tmp_path / "tokenizer.json")
    assert loaded.fingerprint == ours.fingerprint
    assert loaded.name == ours.name
    assert loaded.special_tokens == ours.special_tokens
    assert sorted(file.name for file in tmp_path.iterdir()) == ["tokenizer.json", "tokenizer_config.json"]


def test_a_file_in_the_form_of_gpt2s_own_is_read(small_bpe, content, load_changed):
    # The differences of openai-community/gpt2's tokenizer.json from what we write.
    content["added_tokens"][0]["normalized"] = True
    del content["pre_tokenizer"]["use_regex"], content["model"]["byte_fallback"], content["model"]["type"]
    content["post_processor"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False}
    content["model"]["type"] = "BPE"
    assert load_changed(content).fingerprint == small_bpe.fingerprint


def test_merges_may_be_pairs_and_may_list_more_than_one_way(small_bpe, content, load_changed):
    content["model"]["merges"] = [merge.split(" ") for merge in content["model"]["merges"]]
    assert load_changed(content).fingerprint == small_bpe.fingerprint
    tokenizer = BytePairTokenizer(BYTES | {b"ab": 256, b"abc": 257, b"bc": 258})
    assert tokenizer.encode("abc") == [257]


def test_byte_characters_are_distinct_and_printable():
    characters = byte_characters()
    assert len(set(characters)) == 256
    assert all(character.isprintable() and not character.isspace() for character in characters)
    assert to_characters(b" a\n\xff") == "ĠaĊÿ"
    assert all(to_bytes(to_characters(bytes([byte]))) == bytes([byte]) for byte in range(256))


def _set(*path_and_value):
    *path, last, value = path_and_value

    def change(content):
        for key in path:
            content = content[key]
        content[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("model", "type", "Unigram"), r"no object 'model' with a list 'vocab'"),
        (_set("model", "type", "Other"), r"holds a 'Other' model"),
        (_set("model", None), r"no object 'model'"),
        (_set("model", "vocab", []), r"an object 'vocab'"),
        (_set("model", "vocab", "a", "97"), r"the id of token 'a' is '97'"),
        (_set("model", "vocab", "a", True), r"the id of token 'a' is True"),
        (lambda content: content["model"]["vocab"].pop("a"), r"is not a pair of tokens|library cannot read it"),
        (_set("model", "merges", None), r"no 'model.merges' list"),
        (_set("model", "merges", 5, "q"), r"merge 'q' is not a pair"),
        (_set("model", "merges", 5, "q q"), r"merge 'q q' is not a pair"),
        (_set("model", "merges", 5, 7), r"merge 7 is not a pair"),
        (_set("model", "dropout", 0.1), r"model.dropout is 0.1, which draws the ids at random"),
        (_set("model", "unk_token", "<unk>"), r"model.unk_token is '<unk>'"),
        (_set("normalizer", {"type": "NFX"}), r"the tokenizers library cannot read it"),
        (
            _set("post_processor", {"type": "TemplateProcessing", "special_tokens": {"x": {}}}),
            r"library cannot read it",
        ),
        (_set("added_tokens", 0, "id", "399"), r"needs an id and a content"),
        (_set("added_tokens", 0, "id", 5), r"'<\|endoftext\|>' has the id 5, and 399 in the vocabulary|not the union"),
        (_set("added_tokens", 0, 7), r"an added token must be an object; found 7"),
        (_set("added_tokens", {"x": 7}), r"needs an id and a content"),
        (_set("post_processor", 7), r"library cannot read it"),
        (_set("pre_tokenizer", {"type": "Sequence", "pretokenizers": [7]}), r"library cannot read it"),
        (_set("pre_tokenizer", {"type": "Sequence"}), r"library cannot read it"),
    ],
)
def test_a_damaged_file_is_refused_by_its_name(content, load_changed, change, message):
    changed = copy.deepcopy(content)
    change(changed)
    with pytest.raises(ValueError, match=message) as refusal:
        load_changed(changed)
    assert "tokenizer.json" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "change",
    [
        _set("model", "vocab", "~", 1_000),
        _set("model", "vocab", "中", 400),
        lambda content: content["model"]["merges"].reverse(),
        lambda content: content["model"]["merges"].pop(),
        _set("model", "byte_fallback", True),
        _set("normalizer", {"type": "NFC"}),
        _set("pre_tokenizer", None),
        _set("pre_tokenizer", {"type": "Whitespace"}),
        _set("pre_tokenizer", "add_prefix_space", True),
        _set("pre_tokenizer", "use_regex", False),
        _set("added_tokens", 0, "special", False),
        _set("added_tokens", 0, "lstrip", True),
    ],
)
def test_what_is_not_our_byte_level_bpe_gets_the_librarys_ids(content, load_changed, tmp_path, change):
    changed = copy.deepcopy(content)
    change(changed)
    ours, theirs = load_changed(changed), Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in (TEXT, "e\u0301 <|endoftext|> x", ""):
        assert ours.encode(text, "all") == theirs.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "[" * 100_000, "\x00\xff"])
def test_a_file_that_is_no_tokenizer_json_is_refused(tmp_path, text):
    (tmp_path / "tokenizer.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"tokenizer\.json: (not valid JSON|not a tokenizer\.json)"):
        load(tmp_path)


def test_a_split_that_is_not_ours_is_the_librarys(tmp_path, load_changed):
    train_bpe([TEXT], 300, CL100K_PATTERN).save(tmp_path / "cl100k")
    content = json.loads((tmp_path / "cl100k" / "tokenizer.json").read_text(encoding="utf-8"))
    split = content["pre_tokenizer"]["pretokenizers"][0]
    for change in ({"pattern": {"String": " "}}, {"pattern": {"Regex": " "}, "behavior": "Removed"}):
        split |= change
        theirs = Tokenizer.from_str(json.dumps(content)).encode(TEXT).ids
        assert load_changed(content).encode(TEXT) == theirs
    split["pattern"] = " "
    with pytest.raises(ValueError, match=r"tokenizer\.json: the tokenizers library cannot read it"):
        load_changed(content)


def test_a_special_token_that_is_an_ordinary_one_too_cannot_be_saved(tmp_path):
    tokenizer = BytePairTokenizer(BYTES | {b"ab": 256}, special_tokens={"ab": 257})
    with pytest.raises(ValueError, match=r"\['ab'\] are ordinary tokens too"):
        tokenizer.save(tmp_path)
    assert not list(tmp_path.iterdir())
