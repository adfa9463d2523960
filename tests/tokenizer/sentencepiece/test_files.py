"""Our unigram and BPE vocabularies as files: the same ids by sentencepiece, tokenizers, transformers and ourselves."""

import random
import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Core
from tokenizers import normalizers

from llm_jax.tokenizer import load
from llm_jax.tokenizer.borders import Borders
from llm_jax.tokenizer.sentencepiece import model_file, protobuf
from llm_jax.tokenizer.sentencepiece.normalization import Normalization
from llm_jax.tokenizer.sentencepiece.pair_encoding import PairEncodingVocabulary, train_pair_encoding
from llm_jax.tokenizer.unigram.model import UnigramVocabulary
from llm_jax.tokenizer.unigram.train import train_unigram

sentencepiece = pytest.importorskip("sentencepiece")

ALGORITHMS = {"unigram": train_unigram, "bpe": train_pair_encoding}
NORMALIZATIONS = {
    "identity": Normalization(),
    "without prefix": Normalization(adds_prefix=False),
    "spaces removed": Normalization(removes_spaces=True),
}
SPELLS = re.compile("<(s|/s|unk)>")
HARD = [" a", " ", "", "\n", "  two  spaces ", "<s>", "</s> x", "<unk>", "<0x41>", "▁", "a▁b", "x\t\0y", "ำ", "①", "▅"]


@pytest.fixture(scope="module")
def text(shared_data) -> str:
    return "".join((shared_data / f"flores200/{name}.dev").read_text()[:6_000] for name in ("eng_Latn", "tha_Thai"))


@pytest.fixture(scope="module")
def cases(shared_data) -> list[str]:
    generator = random.Random(1)
    ranges = ((32, 127), (0x20, 0x3000), (0xE00, 0xE80), (0x10000, 0x20000))
    anything = ["".join(chr(generator.randrange(*generator.choice(ranges))) for _ in range(30)) for _ in range(40)]
    names = ("eng_Latn", "tha_Thai", "khm_Khmr", "zho_Hans", "arb_Arab")
    flores = [
        line for name in names for line in (shared_data / f"flores200/{name}.devtest").read_text().split("\n")[:15]
    ]
    return [*anything, *flores, Path(protobuf.__file__).read_text(), *HARD]


@pytest.mark.parametrize(
    ("normalization", "fallback"), [("identity", True), ("without prefix", False), ("spaces removed", True)]
)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_files_give_the_ids_of_the_vocabulary(algorithm, normalization, fallback, text, cases, tmp_path):
    runs = normalization == "without prefix"
    code = "    if x:\n        return y\n" * 30 * runs
    size = 500 if fallback else 300
    ours = ALGORITHMS[algorithm]([text + code], size, NORMALIZATIONS[normalization], fallback, space_runs=runs)
    assert any(len(piece) > 1 and not piece.strip("▁") for piece in ours.scores) == runs
    ours.tokenizer().save(tmp_path)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    core, again = Core.from_file(str(tmp_path / "tokenizer.json")), load(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/tokenizer.model").write_bytes((tmp_path / "tokenizer.model").read_bytes())
    from_model = load(tmp_path / "model")
    assert again.borders == Borders(1, 2, (2,)) == from_model.borders
    assert theirs.get_piece_size() == ours.vocab_size == again.vocab_size
    for case in cases:
        ids = ours.encode(case)
        assert theirs.encode(case) == again.encode(case) == from_model.encode(case) == ids, case
        assert again.decode(ids) == theirs.decode(ids) or not fallback or "▁" in case, case
        if not SPELLS.search(case):  # the library reads special tokens in a text
            assert core.encode(case, add_special_tokens=False).ids == ids, case
        if fallback and normalization != "spaces removed" and "▁" not in case:
            assert ours.decode(ids) == case


@pytest.mark.long
def test_transformers_reads_the_folder_with_the_same_ids(text, cases, tmp_path):
    transformers = pytest.importorskip("transformers")
    for algorithm, train in ALGORITHMS.items():
        ours = train([text], 500)
        ours.tokenizer().save(tmp_path / algorithm)
        theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / algorithm)
        assert (theirs.unk_token, theirs.bos_token, theirs.eos_token) == ("<unk>", "<s>", "</s>")
        assert theirs("a").input_ids == theirs.encode("a", add_special_tokens=False)
        for case in cases:
            if SPELLS.search(case):  # it reads special tokens in a text
                continue
            ids = theirs.encode(case, add_special_tokens=False)
            assert ids == ours.encode(case), (algorithm, case)


def test_nfkc_gives_the_same_ids_in_both_files_and_is_read_again(text, cases, tmp_path):
    ours = train_unigram([text], 500, Normalization("nfkc"))
    ours.tokenizer().save(tmp_path)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    (tmp_path / "model").mkdir()
    (tmp_path / "model/tokenizer.model").write_bytes((tmp_path / "tokenizer.model").read_bytes())
    from_json, from_model = load(tmp_path), load(tmp_path / "model")
    read = UnigramVocabulary.read(tmp_path / "tokenizer.model")
    assert read.normalization == ours.normalization
    assert from_json.encode("①ｆﬁ") == ours.encode("①ｆﬁ") == ours.encode("1ffi")
    for case in [*cases, "น้ำ ນ້ຳ ﾊﾞｰ e\u0301\u0323 q\u0301\u0323 한 ﷺ\u00a0x"]:
        ids = ours.encode(case)
        assert theirs.encode(case) == read.encode(case) == ids, case
        # The library has an older edition of Unicode than Python.
        if normalizers.NFKC().normalize_str(case) == unicodedata.normalize("NFKC", case):
            assert from_model.encode(case) == from_json.encode(case) == ids, case


def test_a_table_that_only_has_the_name_of_nfkc_is_not_taken_for_it(text):
    model = train_unigram([text], 500, Normalization("nfkc")).model()
    with pytest.raises(ValueError, match="rewrites texts by a compiled table"):
        UnigramVocabulary(replace(model, character_map=model.character_map[:-4] + b"\0\0\0\0"))


def test_a_model_that_is_written_is_read_again(text):
    model = train_unigram([text], 500).model()
    assert model_file.parse(model.to_bytes()) == model


def test_a_vocabulary_is_read_from_its_model_and_from_sentencepieces(text, cases, tmp_path):
    for kind, read in (("unigram", UnigramVocabulary.read), ("bpe", PairEncodingVocabulary.read)):
        path = tmp_path / f"{kind}.model"
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(text.split("\n")),
            model_prefix=str(path.with_suffix("")),
            vocab_size=500,
            model_type=kind,
            byte_fallback=True,
            pad_id=3,
            normalization_rule_name="identity",
            minloglevel=2,
        )
        theirs = sentencepiece.SentencePieceProcessor(model_file=str(path))
        ours = read(path)
        for case in cases[40:]:
            if theirs.encode(case) != ours.encode(case):  # float32 there, float64 here: equal but for rounding
                scores = [sum(map(theirs.get_score, side.encode(case))) for side in (theirs, ours)]
                assert scores[0] == pytest.approx(scores[1], abs=1e-3), case
    with pytest.raises(ValueError, match=r"bpe\.model: expected a SentencePiece model of type 'unigram'; got .*BPE"):
        UnigramVocabulary.read(tmp_path / "bpe.model")


def test_each_byte_of_an_unknown_character_is_its_own_byte_token(text):
    ours = train_unigram([text], 500)
    assert [ours.tokenizer().id_to_token(number) for number in ours.encode("字")[-3:]] == ["<0xE5>", "<0xAD>", "<0x97>"]
    assert ours.encode("\x00")[-1] == 3


def test_numbers_of_a_protocol_buffer_are_read_as_written():
    for value in (0, 1, 127, 128, 300, 1 << 40):
        ((field, read),) = protobuf.fields_of(protobuf.number(35, value))
        assert (field, read) == (35, value)
    assert protobuf.number(1, 150) == b"\x08\x96\x01"  # the example of protobuf's documentation
    assert protobuf.text(2, b"testing") == b"\x12\x07testing"


def test_pieces_of_pair_encoding_join_no_two_scripts(text):
    ours = train_pair_encoding([text + "abc123 " * 50 + "ไทยabc " * 50], 700)
    assert not [
        piece for piece in ours.scores if piece.strip("▁").isascii() and {*"123"} & {*piece} and {*"abc"} & {*piece}
    ]
    assert not [piece for piece in ours.scores if "c" in piece and "ไ" in piece]
