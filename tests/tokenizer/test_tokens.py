"""One token by id, spelling or bytes; merges; and which characters each token stands for: as Hugging Face has it."""

import json

import pytest
from hypothesis import given, settings

from llm_jax.tokenizer import CharacterTokenizer, load, train_bpe, train_wordpiece
from llm_jax.tokenizer.hf_files.tokenizer_json import to_bytes


@pytest.fixture(params=["small", "gpt2", "characters"], scope="module")
def both(request, tmp_path_factory):
    """(ours, Hugging Face's reading of the tokenizer.json we write)."""
    import tokenizers

    if request.param == "characters":
        ours = CharacterTokenizer.from_text("aé中😀 \n")
    elif request.param == "small":
        ours = request.getfixturevalue("small_bpe")
    else:
        ours = request.getfixturevalue("gpt2")
    ours = ours.with_special_tokens(["<|im_start|>", "<|ü|>"])
    folder = tmp_path_factory.mktemp("exported")
    ours.save(folder)
    return ours, tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")), folder


def test_each_token_has_the_id_and_spelling_of_hugging_face(both):
    ours, theirs, _ = both
    for number in [*range(min(ours.vocab_size, 3_000)), *range(max(0, ours.vocab_size - 9), ours.vocab_size + 3)]:
        spelling = theirs.id_to_token(number)
        assert ours.id_to_token(number) == spelling
        if spelling is not None:
            assert ours.token_to_id(spelling) == theirs.token_to_id(spelling) == number
            assert ours.token_to_id(ours.token_bytes(number)) == number
            assert ours.token_bytes(number) == ours.decode_bytes([number])
    for unknown in ("", "no such token", "\ud800", "中中", b"\xff\xfe\xfd", b"no such token", b""):
        assert ours.token_to_id(unknown) is None
    assert ours.id_to_token(-1) is None
    with pytest.raises(ValueError, match="id -1 has no"):
        ours.token_bytes(-1)


def test_offsets_are_those_of_hugging_face(both, hard_texts):
    ours, theirs, _ = both

    @given(hard_texts)
    @settings(max_examples=100)
    def check(text):
        if isinstance(ours, CharacterTokenizer):
            text = "".join(character for character in text if character in ours.alphabet)
        ids, spans = ours.encode_with_offsets(text, "all")
        known = theirs.encode(text)
        assert ids == known.ids
        assert spans == known.offsets

    check()


def test_tokens_of_a_split_character_span_the_whole_of_it():
    tokenizer = train_bpe(["x"], 257)
    assert tokenizer.encode_with_offsets("a😀é")[1] == [(0, 1), *[(1, 2)] * 4, *[(2, 3)] * 2]
    assert tokenizer.encode_with_offsets("") == ([], [])


def test_merges_are_those_of_the_file(both):
    ours, _, folder = both
    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    assert ours.merges == [tuple(map(to_bytes, merge.split(" "))) for merge in model.get("merges", [])]
    ours.merges.clear()
    assert len(ours.merges) == len(model.get("merges", []))


@pytest.mark.parametrize("kind", ["bytes", "characters", "hugging face"])
def test_a_single_text_is_no_batch(kind, tmp_path):
    train_wordpiece(["abc abc"], 8).tokenizer().save(tmp_path)
    tokenizers = {
        "bytes": train_bpe(["abc"], 257),
        "characters": CharacterTokenizer.from_text("abc"),
        "hugging face": load(tmp_path),
    }
    with pytest.raises(TypeError, match="one a document; got a single str"):
        tokenizers[kind].encode_batch("abc")
