"""Models with symbols of a user or a map of characters: the ids are SentencePiece's, over texts that try both."""

import copy
import io
import json
import pickle
import random
import unicodedata
from itertools import product

import pytest
import sentencepiece

from llm_jax.tokenizer import StreamDecoder, load
from llm_jax.tokenizer.sentencepiece import character_map, nfkc_table
from llm_jax.tokenizer.sentencepiece.tokenizer import SentencePieceTokenizer

MODELS = {
    "line breaks": {"model_type": "bpe", "byte_fallback": True, "user_defined_symbols": ["\n"]},
    "digits": {"model_type": "bpe", "byte_fallback": True, "user_defined_symbols": list("0123456789")},
    "capitals folded": {
        "model_type": "bpe",
        "user_defined_symbols": ["TOK", "ÀÉ", "①", "e"],
        "normalization_rule_name": "nmt_nfkc_cf",
    },
    "compatibility": {"model_type": "unigram", "user_defined_symbols": ["①", "½", "ﬁ", "\r\n"]},
    "overlapping": {"model_type": "unigram", "byte_fallback": True, "user_defined_symbols": ["ab", "abc", "b", "the"]},
    "with spaces": {"model_type": "bpe", "user_defined_symbols": ["  ", " x", "a b", "▁▁", "<tok>"]},
    "characters": {"model_type": "char", "user_defined_symbols": ["ﬁ", "foo", "\t", "\u0301", "ﾞ"]},
    "spaces kept": {"model_type": "unigram", "remove_extra_whitespaces": False, "user_defined_symbols": ["\n", "①"]},
    "no prefix": {"model_type": "bpe", "add_dummy_prefix": False, "user_defined_symbols": ["①", " "]},
    "no symbols": {"model_type": "bpe", "byte_fallback": True, "remove_extra_whitespaces": False},
    "folded, no symbols": {"model_type": "unigram", "normalization_rule_name": "nfkc_cf"},
}
SPACES = ("\n", "\r\n", "\t", " ", "  ", "   ", "▁", "▁▁", "\x00", "\u3000", "\u200b")
LETTERS = (*"abcxe0①½ﬁ字😀ำ한ﾊ\u0301ﾞ", "ab", "the", "12", "foo", "TOK", "tok", "ÀÉ", "e\u0301", "e\u0301\u0323", "𝐀")
PARTS = (*SPACES, *LETTERS, "<tok>", "</s>", "<s>", "<unk>", "<0x41>")
SAID = ({}, {"legacy": True}, {"add_prefix_space": False})
LANGUAGES = ("eng_Latn", "vie_Latn", "jpn_Jpan", "tam_Taml", "mya_Mymr", "kor_Hang", "arb_Arab")


@pytest.fixture(scope="module")
def lines(shared_data) -> list[str]:
    names = [name for name in LANGUAGES if (shared_data / f"flores200/{name}.devtest").exists()]
    assert len(names) > 3
    return [line for name in names for line in (shared_data / f"flores200/{name}.devtest").read_text().split("\n")[:40]]


def trained(lines: list[str], **options) -> bytes:
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=written,
        vocab_size=1600,
        hard_vocab_limit=False,
        minloglevel=2,
        num_threads=1,
        **options,
    )
    return written.getvalue()


@pytest.fixture(scope="module", params=MODELS)
def pair(request, lines, tmp_path_factory):
    """(our tokenizer, SentencePiece's)."""
    raw = trained(lines, **MODELS[request.param])
    folder = tmp_path_factory.mktemp("spm")
    (folder / "tokenizer.model").write_bytes(raw)
    return load(folder), sentencepiece.SentencePieceProcessor(model_proto=raw)


@pytest.fixture(scope="module")
def cases(lines) -> list[str]:
    generator = random.Random(0)
    joined = ["".join(generator.choices(PARTS, k=generator.randrange(1, 9))) for _ in range(1500)]
    ranges = ((32, 127), (0x20, 0x3000), (0x300, 0x370), (0xE00, 0xE80), (0xFF00, 0xFFEF), (0x10000, 0x20000))
    anything = ["".join(chr(generator.randrange(*generator.choice(ranges))) for _ in range(30)) for _ in range(300)]
    decomposed = [unicodedata.normalize("NFD", line) for line in lines]
    return ["", *joined, *map("".join, product(PARTS, PARTS)), *anything, *lines, *decomposed, "\n".join(lines[:9])]


def test_ids_are_sentencepieces_whatever_the_text(pair, cases):
    ours, theirs = pair
    assert isinstance(ours, SentencePieceTokenizer)
    expected = theirs.encode(cases)
    for case, found, ids in zip(cases, ours.encode_batch(cases), expected, strict=True):
        assert found == ids, [case, *([theirs.id_to_piece(n) for n in side] for side in (found, ids))]


def test_no_text_spells_a_control_token(pair, cases):
    ours, _ = pair
    ordinary = set(ours.special_tokens.values()) - {ours.token_to_id("<unk>")}
    assert len(ordinary) == 2
    assert not [case for case in cases if ordinary & set(ours.encode(case))]
    assert ours.encode("1</s>2", {"</s>"}).count(ours.token_to_id("</s>")) == 1


def test_offsets_have_the_same_ids_and_cover_the_text_in_order(pair, cases):
    ours, _ = pair
    for case in cases[:1500]:
        ids, spans = ours.encode_with_offsets(case)
        assert ids == ours.encode(case)
        assert all(0 <= start <= stop <= len(case) for start, stop in spans)
        assert [start for start, _ in spans] == sorted(start for start, _ in spans)
    ids, spans = ours.encode_with_offsets("a</s>bbb  e\u0301c", {"</s>"})
    assert spans[ids.index(ours.token_to_id("</s>"))] == (1, 5)
    assert (spans[0][0], spans[-1][1]) == (0, 13)


def test_copies_and_saved_folders_are_the_same_tokenizer(pair, cases, tmp_path):
    ours, _ = pair
    ours.save(tmp_path)
    assert (tmp_path / "tokenizer.json").exists()
    for again in (pickle.loads(pickle.dumps(ours)), copy.copy(ours), load(tmp_path)):
        assert isinstance(again, SentencePieceTokenizer)
        assert (again.fingerprint, again.borders) == (ours.fingerprint, ours.borders)
        assert again.encode_batch(cases[:300]) == ours.encode_batch(cases[:300])


def test_special_tokens_are_added_to_the_model(pair, cases, tmp_path):
    ours, _ = pair
    grown = ours.with_special_tokens(["<|more|>", "<|x|>"])
    grown.save(tmp_path)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    for tokenizer in (grown, load(tmp_path)):
        assert tokenizer.vocab_size == ours.vocab_size + 2 == theirs.get_piece_size()
        assert tokenizer.encode("a<|x|>", "all")[-1] == ours.vocab_size + 1
        assert tokenizer.encode_batch(cases[:300]) == ours.encode_batch(cases[:300]) == theirs.encode(cases[:300])
        assert tokenizer.fingerprint == grown.fingerprint != ours.fingerprint
        assert tokenizer.borders == ours.borders
    with pytest.raises(ValueError, match="is a special token already"):
        grown.with_special_tokens(["<|x|>"])
    with pytest.raises(ValueError, match="is an ordinary token"):
        ours.with_special_tokens(["a"])


def test_decoding_is_sentencepieces_all_at_once_and_as_a_stream(pair, lines):
    ours, theirs = pair
    for line in lines[::7]:
        ids = [number for number in theirs.encode(line) if number != theirs.unk_id()]
        stream = StreamDecoder(ours)
        assert ours.decode(ids) == "".join(map(stream.push, ids)) + stream.finish() == theirs.decode(ids)


def test_a_normalized_text_cannot_spell_an_allowed_token(pair):
    ours, _ = pair
    end = ours.token_to_id("</s>")
    assert end not in ours.encode("a＜/s＞b", "all")
    assert ours.encode("＜/s＞</s>", "all").count(end) == 1


@pytest.mark.parametrize("removes_spaces", [True, False])
@pytest.mark.parametrize("said", [{}, {"legacy": False}, *({"tokenizer_class": "LlamaTokenizer"} | s for s in SAID)])
def test_added_tokens_cut_a_text_and_spaces_come_before_its_parts_as_in_the_library(
    said, removes_spaces, lines, tmp_path
):
    """In texts that the character map does not change, the library is right."""
    raw = trained(lines, model_type="bpe", byte_fallback=True, remove_extra_whitespaces=removes_spaces)
    size = sentencepiece.SentencePieceProcessor(model_proto=raw).get_piece_size()
    (tmp_path / "tokenizer.model").write_bytes(raw)
    flags = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False}
    added = {
        size: {"content": "<|plain|>", **flags, "special": False},
        size + 1: {"content": "<|right|>", **flags, "rstrip": True, "special": False},
        size + 2: {"content": "word", **flags, "single_word": True, "special": False},
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": added} | said))
    ours = load(tmp_path)
    generator = random.Random(0)
    parts = ("a", "b c", " ", "  ", "▁", "word", " word ", "<|plain|>", "<|right|>", "</s>", "<s>", "é")
    for text in ("", *parts, *("".join(generator.choices(parts, k=generator.randrange(2, 7))) for _ in range(300))):
        if removes_spaces and text[:1] in (" ", "▁"):  # then the library puts no space before a first text
            text = f"a{text}"
        found = ours._all.encode(text, add_special_tokens=False)
        assert ours.encode(text, "all") == found.ids, text
        ids, spans = ours.encode_with_offsets(text, "all")
        assert (ids, len(spans)) == (found.ids, len(found.offsets)), text
    with pytest.raises(ValueError, match="has 3 tokens beside its SentencePiece model"):
        ours.with_special_tokens(["<|more|>"])


def test_a_compiled_table_is_read_as_it_was_written():
    assert dict(character_map.parse(nfkc_table.table())) == nfkc_table.rules()
    with pytest.raises(ValueError, match="its table of characters is damaged"):
        character_map.parse(nfkc_table.table()[:-5].replace(b"\0", b"\1"))
