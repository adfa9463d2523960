"""SentencePiece's tokenizer.model: the ids are its own, whatever it was trained with."""

import io
import json
import random

import pytest
import sentencepiece

from llm_jax.tokenizer import Borders, StreamDecoder, load
from llm_jax.tokenizer.sentencepiece import model_file

LANGUAGES = ("eng_Latn", "tam_Taml", "zho_Hans", "tha_Thai")
HARD = (
    "",
    " ",
    "  two  spaces \n\n and\tlines ",
    "<s> </s> <unk> <0x41> ▁ a▁b",
    "ﬁne ½ Ⅷ e\u0301 \u3000 x\u200b\ufeff",
    "😀 தமிழ் \x00 1234567 def f(x):\n\treturn x**2",
    "x<sep>y <sep> zfoofoofoo bar",
)
KINDS = {
    "bpe": {"model_type": "bpe"},
    "bpe as Llama's": {
        "model_type": "bpe",
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "split_digits": True,
        "allow_whitespace_only_pieces": True,
    },
    "bpe with user-defined": {"model_type": "bpe", "byte_fallback": True, "user_defined_symbols": ["<sep>", "foo"]},
    "unigram": {"model_type": "unigram"},
    "unigram with fallback": {"model_type": "unigram", "byte_fallback": True, "pad_id": 3},
    "unigram with user-defined": {"model_type": "unigram", "user_defined_symbols": ["<sep>", "foo"], "bos_id": -1},
    "unigram without prefix": {"model_type": "unigram", "add_dummy_prefix": False, "normalization_rule_name": "nfkc"},
    "char": {"model_type": "char"},
}


@pytest.fixture(scope="module")
def texts(shared_data) -> list[str]:
    return [(shared_data / "flores200" / f"{name}.dev").read_text(encoding="utf-8")[:8000] for name in LANGUAGES]


@pytest.fixture(scope="module", params=KINDS)
def trained(request, texts, tmp_path_factory):
    """(folder of a tokenizer.model, SentencePiece's own)."""
    lines = [line for text in texts for line in text.splitlines()]
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=written,
        vocab_size=1800,
        hard_vocab_limit=False,
        minloglevel=2,
        num_threads=1,
        **KINDS[request.param],
    )
    folder = tmp_path_factory.mktemp("spm")
    (folder / "tokenizer.model").write_bytes(written.getvalue())
    return folder, sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())


def test_ids_are_sentencepieces(trained, texts):
    folder, theirs = trained
    ours = load(folder)
    assert ours.vocab_size == theirs.get_piece_size()
    for text in (*HARD, *(line for whole in texts for line in whole.splitlines()[:25]), texts[0]):
        assert ours.encode(text) == theirs.encode(text), text


def test_decoding_is_sentencepieces(trained, texts):
    folder, theirs = trained
    ours = load(folder / "tokenizer.model")
    unknown = theirs.unk_id()
    for text in (line for whole in texts for line in whole.splitlines()[:5]):
        ids = [number for number in theirs.encode(text) if number != unknown]
        stream = StreamDecoder(ours)
        assert ours.decode(ids) == "".join(map(stream.push, ids)) + stream.finish() == theirs.decode(ids)


def test_borders_are_those_it_was_trained_with_unless_a_file_names_others(trained, tmp_path):
    folder, theirs = trained
    begin, end, pad = (n if n >= 0 else None for n in (theirs.bos_id(), theirs.eos_id(), theirs.pad_id()))
    assert load(folder).borders == Borders(begin, end, (end,), pad)
    (tmp_path / "tokenizer.model").write_bytes((folder / "tokenizer.model").read_bytes())
    config = {"tokenizer_class": "LlamaTokenizer", "bos_token": None, "eos_token": "</s>", "add_bos_token": False}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert load(tmp_path).borders == Borders(None, end, (end,))


def test_a_saved_copy_has_the_model_and_the_same_ids(trained, tmp_path):
    folder, _ = trained
    ours = load(folder)
    ours.save(tmp_path)
    assert (tmp_path / "tokenizer.model").read_bytes() == (folder / "tokenizer.model").read_bytes()
    again = load(tmp_path)
    assert (again.fingerprint, again.borders, again.name) == (ours.fingerprint, ours.borders, ours.name)
    for text in HARD:
        assert again.encode(text) == ours.encode(text)


def test_the_reader_reads_what_the_model_says(trained):
    folder, theirs = trained
    model = model_file.parse((folder / "tokenizer.model").read_bytes())
    assert [piece.text for piece in model.pieces] == [theirs.id_to_piece(n) for n in range(len(theirs))]
    assert [piece.score for piece in model.pieces] == [theirs.get_score(n) for n in range(len(theirs))]
    assert [piece.kind == model_file.CONTROL for piece in model.pieces] == [
        theirs.is_control(n) for n in range(len(theirs))
    ]


@pytest.mark.parametrize("damage", [lambda raw: raw[: len(raw) // 2], lambda raw: raw[1:], lambda raw: b"\x0a" * 99])
def test_a_damaged_model_gets_one_line_with_its_name(trained, tmp_path, damage):
    folder, _ = trained
    (tmp_path / "tokenizer.model").write_bytes(damage((folder / "tokenizer.model").read_bytes()))
    with pytest.raises(ValueError, match=r"tokenizer\.model: .*get the file again$") as refusal:
        load(tmp_path)
    assert "\n" not in str(refusal.value)


LLAMA = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
SAID = (
    {},
    {"legacy": True},
    {"legacy": False},
    {"add_prefix_space": False},
    {"add_prefix_space": False, "legacy": True},
    {"add_prefix_space": True, "legacy": None},
    {"tokenizer_class": "LlamaTokenizerFast"},
    {"tokenizer_class": "LlamaTokenizerFast", "legacy": True},
)


@pytest.mark.parametrize("trained", ["bpe as Llama's"], indirect=True)
@pytest.mark.parametrize("said", SAID, ids=str)
def test_spaces_before_texts_are_those_of_the_class_that_transformers_takes(trained, said, tmp_path):
    transformers = pytest.importorskip("transformers")
    folder, _ = trained
    (tmp_path / "tokenizer.model").write_bytes((folder / "tokenizer.model").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(LLAMA | said))
    theirs, ours = transformers.AutoTokenizer.from_pretrained(tmp_path), load(tmp_path)
    generator = random.Random(0)
    parts = ("a", " a", "b c", " ", "  ", "\n", "▁", "</s>", "<s>", "é")
    texts = ["", *parts, *("".join(generator.choices(parts, k=generator.randrange(2, 7))) for _ in range(300))]
    for text in texts:
        ids = theirs(text, add_special_tokens=False).input_ids
        assert ours.encode(text, "all") == ids, text
        assert ours.decode(ids) == theirs.decode(ids), text


def test_a_model_of_words_is_refused_by_its_type(tmp_path, texts):
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts[0].splitlines()),
        model_writer=written,
        vocab_size=200,
        model_type="word",
        minloglevel=2,
        hard_vocab_limit=False,
    )
    (tmp_path / "tokenizer.model").write_bytes(written.getvalue())
    with pytest.raises(ValueError, match=r"a SentencePiece model of type 'word'; expected unigram, BPE or char"):
        load(tmp_path)
