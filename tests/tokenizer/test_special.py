"""Special tokens in text: recognised, refused, added, and never learnt."""

import json
import random

import pytest
import tiktoken

from llm_jax.tokenizer import Borders, CharacterTokenizer, load, train_bpe, with_borders
from llm_jax.tokenizer.bpe.train import count_pre_tokens
from llm_jax.tokenizer.hf_files.tokenizer_json import byte_characters

END = "<|endoftext|>"


def name(value) -> str:
    """The same in every process: the order of a set is not."""
    return str(sorted(value)) if isinstance(value, set) else str(value)


@pytest.mark.parametrize("allowed", [set(), {END}, "all"], ids=name)
@pytest.mark.parametrize("disallowed", ["all", (), {END}, {"dog"}, {END, "dog"}, ["<|fim_prefix|>"]], ids=name)
@pytest.mark.parametrize("text", ["a dog", f"a {END} dog", f"{END}{END}", "<|endof text|>", "<|fim_prefix|>", ""])
def test_disallowed_special_is_tiktokens(small_bpe, allowed, disallowed, text):
    tokenizer = small_bpe.with_special_tokens(["<|fim_prefix|>"])
    theirs = tiktoken.Encoding(
        "small", pat_str=tokenizer.pattern, mergeable_ranks=tokenizer.ranks, special_tokens=tokenizer.special_tokens
    )
    ways = [
        lambda: tokenizer.encode(text, allowed, disallowed),
        lambda: tokenizer.encode_array(text, allowed, disallowed).tolist(),
        lambda: tokenizer.encode_batch([text], allowed, disallowed_special=disallowed)[0],
        lambda: tokenizer.encode_with_offsets(text, allowed, disallowed)[0],
        lambda: list(tokenizer.encode_iterable([text], allowed, disallowed)),
    ]
    try:
        expected = theirs.encode(text, allowed_special=allowed, disallowed_special=disallowed)
    except ValueError:
        for way in ways:
            with pytest.raises(ValueError, match=r"spells the disallowed special token .* at position \d"):
                way()
    else:
        assert [way() for way in ways] == [expected] * len(ways)


def test_without_disallowed_special_text_may_spell_anything(small_bpe):
    assert small_bpe.decode(small_bpe.encode(END)) == END
    assert len(small_bpe.encode(END)) > 1


def test_faulty_sets_are_refused(small_bpe):
    with pytest.raises(TypeError, match="disallowed_special must be a set"):
        small_bpe.encode("x", disallowed_special=END)
    with pytest.raises(ValueError, match="the empty text"):
        small_bpe.encode("x", disallowed_special={""})


def test_characters_know_special_tokens_too():
    tokenizer = CharacterTokenizer.from_text("ab")
    with pytest.raises(ValueError, match="disallowed special token 'ba' at position 1"):
        tokenizer.encode("aba", disallowed_special={"ba"})
    grown = tokenizer.with_special_tokens(["<s>", "</s>"])
    assert grown.encode("a<s>b</s>", "all") == [0, 2, 1, 3]
    assert grown.decode([0, 2, 1, 3]) == "a<s>b</s>"
    assert (grown.alphabet, grown.vocab_size, tokenizer.vocab_size) == ("ab", 4, 2)
    with pytest.raises(ValueError, match=r"character '<' .* at position 5"):
        grown.encode("</s>a<s>", {"</s>"})


@pytest.fixture(params=["byte pairs", "characters"])
def tokenizer(request, small_bpe):
    if request.param == "byte pairs":
        end = small_bpe.end_of_text
        return with_borders(small_bpe, Borders(end=end, stops=(end, 10)))
    characters = CharacterTokenizer.from_text("\nabc <|>").with_special_tokens(["<|pad|>"])
    return with_borders(characters, Borders(end=0, stops=(0,)))


def test_added_special_tokens_are_saved_and_loaded_and_borders_stay(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    added = ["<|im_start|>", "<|im_end|>"]
    grown = tokenizer.with_special_tokens(added)
    size = tokenizer.vocab_size
    assert [grown.token_to_id(token) for token in added] == [size, size + 1]
    assert grown.borders == tokenizer.borders
    assert (grown.vocab_size, tokenizer.vocab_size) == (size + 2, size)
    assert grown.fingerprint != tokenizer.fingerprint
    text = "<|im_start|>abc\n a <|<|im_end|>"
    grown.save(tmp_path)
    again = load(tmp_path)
    assert again.special_tokens == grown.special_tokens
    assert (again.fingerprint, again.name) == (grown.fingerprint, grown.name)
    assert again.borders == grown.borders
    assert again.encode(text, "all") == grown.encode(text, "all")
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert theirs.encode(text) == grown.encode(text, "all")
    theirs.save_pretrained(tmp_path / "again")
    assert load(tmp_path / "again").fingerprint == grown.fingerprint


@pytest.mark.parametrize(
    ("added", "message"),
    [(["<s>", "<s>"], "special token already"), ([""], "needs a spelling"), (["a"], "character|ordinary token")],
)
def test_special_tokens_that_cannot_be_added_are_refused(tokenizer, added, message):
    with pytest.raises(ValueError, match=message):
        tokenizer.with_special_tokens(added)
    with pytest.raises(TypeError, match="sequence of strings"):
        tokenizer.with_special_tokens("<s>")
    already = next(iter(tokenizer.special_tokens))
    with pytest.raises(ValueError, match="special token already"):
        tokenizer.with_special_tokens([already])


def test_text_that_spells_a_special_token_is_not_learnt():
    rng = random.Random(0)
    texts = [f"{END}".join(rng.choice(["low ", "lower ", "the "]) for _ in range(40)) for _ in range(40)]
    learnt = train_bpe(texts, 280)
    assert not any(b"endof" in token or b"<|" in token for token in learnt.ranks)
    without = train_bpe([part for text in texts for part in text.split(END)], 280)
    assert learnt.ranks == without.ranks
    assert count_pre_tokens([f"a{END}b<s>c"], special_tokens=[END, "<s>"]) == {"a": 1, "b": 1, "c": 1}
    assert any(b"endof" in token for token in train_bpe(texts, 280, special_tokens=["<s>"]).ranks)


UNKNOWN = {"<unk>": 0, "<s>": 1, "</s>": 2}
LETTERS = {letter: 3 + n for n, letter in enumerate("▁a<s/>bc☃")}
MODELS = {
    "whole pre-tokens": ({"ignore_merges": True}, []),
    "a single character": ({}, ["☃"]),
    "made by merges": ({"merges": [["a", "b"], ["ab", "c"], ["b", "c"]]}, ["ab"]),
    "merges as texts": ({"merges": ["a b", "ab c", "b c"]}, ["ab", "bc"]),
    "merged to the end": ({"merges": [["<", "/"], ["</", "s"], ["</s", ">"], ["<", "s"], ["<s", ">"]]}, []),
    "of a prefix": (
        {"continuing_subword_prefix": "##", "merges": [["a", "##b"]], "vocab": {"##b": 30, "ab": 31, "##c": 32}},
        ["ab"],
    ),
    "of an ending": ({"end_of_word_suffix": "</w>", "merges": [], "vocab": {"a</w>": 30, "b</w>": 31}}, ["a</w>"]),
}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("has_unknown", [True, False])
def test_no_text_spells_a_special_token_that_the_model_could_make(kind, has_unknown, tmp_path):
    fields, special = MODELS[kind]
    made = {"".join(merge.split(" ") if isinstance(merge, str) else merge) for merge in fields.get("merges", [])}
    vocab = UNKNOWN | LETTERS | fields.get("vocab", {})
    vocab |= {token: 40 + n for n, token in enumerate(sorted(made - vocab.keys() - {"a##b"}))}
    model = {"type": "BPE", "merges": [], "unk_token": "<unk>" if has_unknown else None, **fields, "vocab": vocab}
    named = ["<s>", "</s>", *special]
    content = {
        "version": "1.0",
        "added_tokens": [{"id": vocab[t], "content": t, "special": True, "normalized": False} for t in named],
        "normalizer": None,
        "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "Removed", "invert": False},
        "post_processor": None,
        "decoder": None,
        "model": model,
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    ours = load(tmp_path)
    ids = {vocab[token] for token in named}
    rng = random.Random(0)
    parts = [*"abc☃ ", "abc", "<unk>", *named]
    for text in ("a </s> a", "<s>", *("".join(rng.choices(parts, k=6)) for _ in range(300))):
        assert ids.isdisjoint(ours.encode(text)), text
        for one in named:  # the others stay hidden where one is allowed
            assert (ids - {vocab[one]}).isdisjoint(found := ours.encode(text, {one})), text
            assert found.count(vocab[one]) >= text.count(one), text
    assert vocab["a"] in ours.encode("a c") or kind == "of an ending"
    if kind == "whole pre-tokens":
        assert ours.encode("a </s> a") == [vocab[character] for character in "a</s>a"]


def test_a_character_of_byte_level_bpe_is_written_though_it_is_special(tmp_path):
    alphabet = {character: number for number, character in enumerate(sorted(byte_characters()))}
    vocab = alphabet | {"<|end|>": 256, "<|pad|>": 257}
    content = {
        "version": "1.0",
        "added_tokens": [
            {"id": vocab[t], "content": t, "special": True, "normalized": False} for t in ("!", "<|end|>")
        ],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "unk_token": "<|end|>", "vocab": vocab, "merges": []},
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert load(tmp_path).encode("a!<|end|>") == [alphabet[character] for character in "a!<|end|>"]
