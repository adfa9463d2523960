"""What the library's tokenizers of any kind do: gaps between ids, words, scores, special tokens that text spells."""

import json

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from llm_jax.tokenizer import StreamDecoder, load
from llm_jax.tokenizer.hf_files.tokenizer_json import byte_characters
from serve.api.decoding.batch import Scored
from serve.api.logprobs import ChatLogprobs, Logprobs


def token(number: int, content: str, **flags: bool) -> dict:
    standard = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": number, "content": content, **standard, **flags}


@pytest.fixture
def built(tmp_path):
    """The tokenizer of a tokenizer.json with these parts, and the library's own."""

    def build(model: dict, *added: dict, **parts):
        names = ("normalizer", "pre_tokenizer", "post_processor", "decoder", "truncation", "padding")
        content = dict.fromkeys(names) | {"version": "1.0", "added_tokens": list(added), "model": model} | parts
        (tmp_path / "tokenizer.json").write_text(json.dumps(content))
        return load(tmp_path), Tokenizer.from_str(json.dumps(content))

    return build


def bpe(vocab: dict, merges: list | None = None, **fields) -> dict:
    return {"type": "BPE", "vocab": vocab, "merges": merges or [], **fields}


def test_ids_without_a_token_are_no_tokens(built):
    ours, _ = built(bpe({"a": 0, "b": 4}), decoder={"type": "Fuse"})
    assert ours.vocab_size == 5
    assert ours.encode("ab") == [0, 4]
    assert ours.id_to_token(2) is None
    for call in (lambda: ours.decode([2]), lambda: ours.token_bytes(2), lambda: ours.decode_bytes([0, 2])):
        with pytest.raises(ValueError, match=r"id 2 has no token in 'bpe-5'; its ids lie in 0…4"):
            call()
    stream = StreamDecoder(ours)  # a model may write it all the same
    assert "".join(map(stream.push, [0, 2, 4])) + stream.finish() == ours.decode([0, 4])
    logprobs, chat = Logprobs(ours), ChatLogprobs(ours, 2)
    for each in (logprobs, chat):
        each.add(Scored(0, -1.0, ((2, -0.5), (0, -1.0))))
    assert logprobs.take()["top_logprobs"] == [{"": -0.5, "a": -1.0}]
    assert [entry["bytes"] for entry in chat.take()["content"][0]["top_logprobs"]] == [[], [97]]


def test_added_tokens_keep_the_ids_of_their_file_where_those_leave_gaps(built):
    added = token(2, "<w>"), token(5, "<x>"), token(9, "<y>", special=False), token(7, "<z>")
    ours, _ = built(bpe({"a": 0, "b": 1}), *added, decoder={"type": "Fuse"})
    assert ours.encode("a<x>b<y><z><w>", "all") == [0, 5, 1, 9, 7, 2]
    assert ours.special_tokens == {"<w>": 2, "<x>": 5, "<z>": 7}
    assert ours.decode([5, 9, 7]) == "<x><y><z>"
    assert ours.vocab_size == 10
    with pytest.raises(ValueError, match="id 6 has no token"):
        ours.decode([6])


def test_an_added_token_whose_id_the_vocabulary_contradicts_is_refused(built):
    with pytest.raises(ValueError, match=r"tokenizer\.json: added token '<x>' has the id 5, and 2 in the vocabulary"):
        built(bpe({"a": 0, "b": 1, "<x>": 2}), token(5, "<x>"))


def test_flags_of_added_tokens_have_their_effect(built):
    model = bpe({letter: n for n, letter in enumerate("abc <>x")})
    for flag in ("lstrip", "rstrip", "single_word"):
        ours, theirs = built(model, token(7, "<x>", **{flag: True}))
        for text in ("a <x> b", "a<x>b"):
            assert ours.encode(text, "all") == ours.encode(text, {"<x>"}) == theirs.encode(text).ids
            assert 7 not in ours.encode(text)


def test_padding_and_truncation_of_a_file_have_no_effect(built):
    padding = {
        "strategy": {"Fixed": 9},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 1,
        "pad_type_id": 0,
        "pad_token": "b",
    }
    truncation = {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    ours, _ = built(bpe({"a": 0, "b": 1}), padding=padding, truncation=truncation)
    assert ours.encode("aaa") == [0, 0, 0]


def test_words_in_pieces_have_their_spaces(built):
    vocab = {name: n for n, name in enumerate(["[UNK]", "[CLS]", "[SEP]", "the", "dog", "##s", "!"])}
    model = {
        "type": "WordPiece",
        "vocab": vocab,
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
    }
    template = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {name: {"id": name, "ids": [vocab[name]], "tokens": [name]} for name in ("[CLS]", "[SEP]")},
    }
    ours, theirs = built(
        model,
        *(token(vocab[name], name) for name in ("[UNK]", "[CLS]", "[SEP]")),
        normalizer={"type": "Lowercase"},
        pre_tokenizer={"type": "BertPreTokenizer"},
        post_processor=template,
        decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
    )
    ids = ours.encode("The dogs!")
    assert ids == theirs.encode("The dogs!", add_special_tokens=False).ids == [3, 4, 5, 6]
    assert ours.borders.prefix == (1,)
    stream = StreamDecoder(ours)
    assert ours.decode(ids) == theirs.decode(ids) == "the dogs!" == "".join(map(stream.push, ids))
    assert [ours.token_bytes(number) for number in ids] == [b" the", b" dog", b"s", b"!"]
    assert ours.encode("[CLS] cat") == [0] * len(ours.encode("[CLS] cat"))
    assert ours.encode("[CLS]dog", "all") == [1, 4]


@pytest.mark.parametrize("decoder", [{"type": "WordPiece", "prefix": "##", "cleanup": True}, None])
def test_added_tokens_have_their_spaces_where_words_have(decoder, built):
    vocab = {"[UNK]": 0, "the": 1, "fox": 2, "##es": 3}
    model = {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 9,
    }
    added = (token(0, "[UNK]"), token(4, "[MASK]"), token(5, "<tag>") | {"special": False})
    ours, theirs = built(model | {"vocab": vocab}, *added, pre_tokenizer={"type": "WhitespaceSplit"}, decoder=decoder)
    for text in ("the fox xyz fox", "[MASK] the", "fox [MASK]", "the <tag> fox <tag>", "<tag>", "xyz foxes [MASK]"):
        ids = ours.encode(text, "all")
        assert ids == theirs.encode(text, add_special_tokens=False).ids
        stream = StreamDecoder(ours)
        expected = theirs.decode(ids, skip_special_tokens=False)
        assert ours.decode(ids) == expected == "".join(map(stream.push, ids)) + stream.finish()


def test_a_special_token_with_a_good_score_is_text_unless_it_is_allowed(built):
    vocab = [["<unk>", 0.0], ["<s>", 0.0], *[[letter, -2.0] for letter in "<s>ab"]]
    ours, _ = built({"type": "Unigram", "unk_id": 0, "vocab": vocab}, token(0, "<unk>"), token(1, "<s>"))
    assert ours.encode("a<s>b") == [5, 2, 3, 4, 6]
    assert ours.encode("a<s>b<unk>", {"<s>"})[:3] == [5, 1, 6]
    assert ours.encode("a<s>b<unk>", "all") == [5, 1, 6, 0]
    assert ours.id_to_token(1) == "<s>"


def test_a_text_that_the_vocabulary_cannot_write_is_refused_in_one_line(built):
    ours, _ = built({"type": "Unigram", "unk_id": None, "vocab": [["a", -1.0]]})
    with pytest.raises(ValueError, match=r"'unigram-1' cannot encode the text: ") as refusal:
        ours.encode("b")
    assert "\n" not in str(refusal.value)


def test_a_token_that_a_file_beside_names_is_special(built, tmp_path):
    named = {
        "eos_token": "<e>",
        "pad_token": "<pad>",
        "image_token": "<image>",
        "additional_special_tokens": ["<more>"],
    }
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(
            {"tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": True, **named}
            | {"additional_special_tokens": ["<more>"]}
        )
    )
    ours, _ = built(bpe({"a": 0, "<e>": 1, "aa": 2}, [["a", "a"]], fuse_unk=True))
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert ours.special_tokens == {"<e>": 1, "<pad>": 3, "<image>": 4, "<more>": 5}
    text = "aa<e><pad>a<image><more>"
    assert ours.encode(text, "all") == theirs.encode(text) == [2, 1, 3, 0, 4, 5]
    assert ours.encode("a<e>") == theirs.encode("a<e>", split_special_tokens=True) == [0]  # no unknown token
    assert (ours.borders.end, ours.borders.pad, ours.borders.prefix) == (1, 3, ())
    assert ours.vocab_size == len(theirs)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 4}))
    assert load(tmp_path).special_tokens == {"<e>": 1, "<pad>": 3}  # the model has no more


BYTES = {character: number for number, character in enumerate(byte_characters())}
PIECES = {"<unk>": 0, "▁": 1, "h": 2, "i": 3, "x": 4, "▁x": 5, "<0xC3>": 6, "<0xA9>": 7}
SPACED = {
    "type": "Sequence",
    "normalizers": [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    ],
}
LOWER, METASPACE = {"type": "Lowercase"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}
SPLIT_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


@pytest.mark.parametrize(
    ("vocab", "parts"),
    [
        (PIECES, {"normalizer": SPACED, "decoder": "llama"}),
        (PIECES, {"normalizer": SPACED, "decoder": "no strip"}),
        (PIECES, {"normalizer": LOWER, "decoder": METASPACE | {"split": True}, "pre_tokenizer": METASPACE}),
        (PIECES, {"normalizer": LOWER, "decoder": {"type": "Fuse"}}),
        (PIECES, {"normalizer": LOWER}),
        (BYTES, {"normalizer": LOWER, "decoder": SPLIT_BYTES, "pre_tokenizer": SPLIT_BYTES}),
    ],
    ids=["llama", "no strip", "metaspace", "fuse", "none", "byte level"],
)
def test_added_tokens_are_decoded_as_the_library_does(built, vocab, parts):
    steps = {"llama": SENTENCEPIECE, "no strip": SENTENCEPIECE[:3]}
    if isinstance(parts.get("decoder"), str):
        parts = parts | {"decoder": {"type": "Sequence", "decoders": steps[parts["decoder"]]}}
    spelled = [(name, normalized) for name in ("Hello", "É", "▁a", " b", "Ġc") for normalized in (True, False)]
    added = [
        token(len(vocab) + number, f"{name}{normalized}", normalized=normalized, special=False)
        for number, (name, normalized) in enumerate(spelled)
    ]
    model = bpe(vocab, byte_fallback=vocab is PIECES)
    ours, theirs = built(model, *added, token(len(vocab) + len(added), "<É▁>"), **parts)
    for text in ("x HelloTrue x", "xHelloFalse", " ÉTrueÉFalse", "x▁aTrue bFalse ĠcTrueĠcFalse"):
        assert ours.encode(text, "all") == theirs.encode(text).ids
    for number in range(len(vocab), ours.vocab_size):
        for ids in ([number], [4, number, 4], [number, number], [number, len(vocab) + len(added)]):
            stream = StreamDecoder(ours)
            expected = theirs.decode(ids, skip_special_tokens=False)
            assert ours.decode(ids) == "".join(map(stream.push, ids)) + stream.finish() == expected, ids


def test_a_decoder_that_looks_ahead_is_refused_by_its_name(built):
    with pytest.raises(ValueError, match=r"tokenizer\.json: its decoder is 'BPEDecoder'"):
        built(bpe({"a": 0, "b</w>": 1}, byte_fallback=True), decoder={"type": "BPEDecoder", "suffix": "</w>"})


SENTENCEPIECE = [
    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
    {"type": "ByteFallback"},
    {"type": "Fuse"},
    {"type": "Strip", "content": " ", "start": 1, "stop": 0},
]
DECODERS = {
    "sentencepiece": {"type": "Sequence", "decoders": SENTENCEPIECE},
    "fuse": {"type": "Fuse"},
    **{
        f"metaspace {scheme}": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": False}
        for scheme in ("always", "first", "never")
    },
}


@pytest.mark.parametrize("decoder", DECODERS)
def test_streams_and_whole_texts_are_the_librarys_wherever_spaces_stand(built, decoder):
    spelled = ["<unk>", "<s>", "▁", "▁the", "dog", "▁▁", "a▁b", "<0x20>", "<0x41>", " ", "é", "."]
    model = bpe({name: number for number, name in enumerate(spelled)}, byte_fallback=True)
    ours, theirs = built(model, token(0, "<unk>"), token(1, "<s>"), decoder=DECODERS[decoder])
    for number in range(len(spelled) ** 3):
        ids = [number % 12, number // 12 % 12, number // 144]
        stream = StreamDecoder(ours)
        text = "".join(map(stream.push, ids)) + stream.finish()
        assert text == ours.decode(ids) == theirs.decode(ids, skip_special_tokens=False), ids
