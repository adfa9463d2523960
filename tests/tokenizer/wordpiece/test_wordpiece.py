"""WordPiece: the course's example, greedy matching, and the same ids from the file."""

import itertools
from collections import Counter

import pytest

from llm_jax.tokenizer import load
from llm_jax.tokenizer.wordpiece import vocab_file
from llm_jax.tokenizer.wordpiece.train import learn, train_wordpiece
from llm_jax.tokenizer.wordpiece.vocabulary import SPECIAL, WordPieceVocabulary
from llm_jax.tokenizer.wordpiece.words import split_words

COURSE = {"hug": 10, "pug": 5, "pun": 12, "bun": 4, "hugs": 5}
LETTERS = ["##g", "##n", "##s", "##u", "b", "h", "p"]


def learn_naively(counts: dict[str, int], n_merges: int) -> list[str]:
    """Every score anew for each merge; the first pair in the order of the words among equals."""
    words = {word: [word[0], *("##" + letter for letter in word[1:])] for word in counts}
    made = []
    for _ in range(n_merges):
        single, pairs = Counter[str](), Counter[tuple[str, str]]()
        for word, pieces in words.items():
            for piece in pieces:
                single[piece] += counts[word]
            for pair in itertools.pairwise(pieces):
                pairs[pair] += counts[word]
        if not pairs:
            break
        left, right = max(pairs, key=lambda pair: pairs[pair] / (single[pair[0]] * single[pair[1]]))
        joined = left + right.removeprefix("##")
        made.append(joined)
        for pieces in words.values():
            place = 0
            while place < len(pieces) - 1:
                if pieces[place : place + 2] == [left, right]:
                    pieces[place : place + 2] = [joined]
                place += 1
    return made


def test_the_course_joins_gs_first_then_hu_and_the_rest_of_hugs():
    made = learn(COURSE, len(SPECIAL) + len(LETTERS) + 4)
    assert made.pieces[: len(SPECIAL)] == [*SPECIAL]
    assert made.pieces[len(SPECIAL) : -4] == LETTERS
    # By the formula "hugs" (5 of 15 · 5) comes before "hug" (10 of 15 · 15); the course's text has them the other way.
    assert made.pieces[-4:] == ["##gs", "hu", "hugs", "hug"] == learn_naively(COURSE, 4)


def test_merges_are_those_of_scores_counted_anew(shared_data):
    text = (shared_data / "text/names.txt").read_text()[:4000]
    words = Counter(text.split())
    made = learn(words, 5 + len({*"".join(words)}) * 2 + 60, lowercase=False)
    letters = sorted({word[0] for word in words} | {"##" + letter for word in words for letter in word[1:]})
    merged = made.pieces[5 + len(letters) :]
    assert set(merged[:40]) == set(learn_naively(words, 40))


def test_a_run_of_one_letter_is_counted_as_it_is_merged():
    words = {"baaaaa": 3, "caaa": 2, "ba": 1}
    made = learn(words, 5 + 3 + 3)
    assert made.pieces[8:] == learn_naively(words, 3)


def test_a_pair_that_is_too_rare_is_not_joined():
    assert "xy" in learn({"xy": 1, "ab": 9}, 10).pieces
    assert learn({"xy": 1, "ab": 9}, 10, least=2).pieces[9:] == ["ab"]


def test_the_longest_match_comes_first_and_a_word_that_cannot_be_cut_is_unknown():
    vocabulary = WordPieceVocabulary(["[UNK]", "un", "##aff", "##able", "unaff", "##a", "##ble"])
    assert vocabulary.segment("unaffable") == ["unaff", "##able"]
    assert vocabulary.segment("unaffably") == ["[UNK]"]
    assert vocabulary.segment("un" + "a" * 99) == ["[UNK]"]  # over 100 characters
    assert vocabulary.encode("un unx UN") == [1, 0, 1]
    assert vocabulary.decode([4, 3, 1]) == "unaffable un"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, World!", ["hello", ",", "world", "!"]),
        ("naïve Café ÀÉ", ["naive", "cafe", "ae"]),
        ("中文abc", ["中", "文", "abc"]),
        ("a\u200bb\tc\x00d", ["ab", "cd"]),
        ("x+$y~", ["x", "+", "$", "y", "~"]),
        ("ΟΔΟΣ", ["οδοσ"]),
    ],
)
def test_words_are_berts(text, words):
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    theirs = BertPreTokenizer().pre_tokenize_str(BertNormalizer().normalize_str(text))
    assert split_words(text, lowercase=True) == words == [word for word, _ in theirs]


@pytest.mark.parametrize("lowercase", [True, False])
def test_the_saved_tokenizer_has_the_same_ids(lowercase, shared_data, tmp_path):
    lines = (shared_data / "flores200/eng_Latn.dev").read_text().split("\n")
    made = train_wordpiece(lines[:300], 500, lowercase, least=2)
    tokenizer = made.tokenizer()
    tokenizer.save(tmp_path)
    again = load(tmp_path)
    assert (again.borders, again.fingerprint) == (tokenizer.borders, tokenizer.fingerprint)
    assert again.id_to_token(again.borders.between[0]) == "[SEP]"
    for line in [*lines[300:340], "Ünknown 字 words", "[SEP] [CLS]x", ""]:
        assert again.encode(line) == made.encode(line)


def test_a_vocab_txt_is_read_by_line_and_refused_where_a_line_is_there_twice(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nhug\n##s\n")
    assert vocab_file.read(path).encode_for_bert("hugs", "hug") == [2, 4, 5, 3, 4, 3]
    assert load(tmp_path).encode("Hugs") == load(path).encode("hugs") == [4, 5]
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false, "tokenizer_class": "BertTokenizer"}')
    assert load(tmp_path).encode("Hugs") == [1]
    path.write_text("[UNK]\nhug\nhug\n")
    with pytest.raises(ValueError, match=r"vocab\.txt: line 3 is 'hug', as line 2 is"):
        load(path)
    path.write_text("just\nwords\n")
    with pytest.raises(ValueError, match=r"vocab\.txt: not a vocabulary of BERT's kind"):
        load(path)
    path.write_bytes(b"[UNK]\n\xff\n")
    with pytest.raises(ValueError, match=r"vocab\.txt: not UTF-8"):
        load(path)


def test_sizes_without_room_and_texts_without_words_are_refused():
    with pytest.raises(ValueError, match=r"vocab_size must be at least 12 \(5 special tokens and 7 letters\); got 9"):
        learn(COURSE, 9)
    with pytest.raises(ValueError, match="the texts hold no words"):
        train_wordpiece([" ", ""], 100)
