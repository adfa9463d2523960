"""Training against sentencepiece 0.2.1: its trace on botchan.txt, its pieces, its number of tokens."""

import io
import math
import random
import time
from pathlib import Path

import numpy as np
import pytest

from llm_jax.tokenizer.sentencepiece.normalization import Normalization
from llm_jax.tokenizer.unigram.suffixes import nodes_of, sort_suffixes
from llm_jax.tokenizer.unigram.train import STEPS_A_NAT, digamma, train_unigram

sentencepiece = pytest.importorskip("sentencepiece")

# sentencepiece 0.2.1's log of `SentencePieceTrainer.train(input="botchan.txt", vocab_size=1000)`: size and objective.
TRACE = [
    *((5926, 10.5283), (5232, 8.64493), (3923, 8.71843), (3921, 8.6628), (2940, 8.96601), (2940, 8.88624)),
    *((2205, 9.27439), (2205, 9.18613), (1653, 9.64559), (1653, 9.55868), (1239, 10.1208), (1239, 10.0257)),
    *((1100, 10.2354), (1100, 10.2019)),
]
LANGUAGES = [
    *("eng_Latn", "ind_Latn", "vie_Latn", "tha_Thai", "lao_Laoo", "khm_Khmr", "mya_Mymr", "zho_Hans", "jpn_Jpan"),
    *("tam_Taml", "hin_Deva"),
]


@pytest.fixture(scope="module")
def botchan(shared_data) -> str:
    return (shared_data / "tokenizer/botchan.txt").read_text(encoding="utf-8-sig")  # nmt_nfkc takes the mark out, too


def train_theirs(text: str, **settings):
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text.split("\n")), model_writer=written, minloglevel=2, **settings
    )
    return sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())


def test_botchan_has_sentencepieces_trace_pieces_and_tokens(botchan):
    steps = []
    ours = train_unigram([botchan], 1000, Normalization("nfkc", removes_spaces=True), False, progress=steps.append)
    assert [step.size for step in steps] == [size for size, _ in TRACE]
    assert [step.objective for step in steps] == pytest.approx([objective for _, objective in TRACE], rel=1e-5)
    theirs = train_theirs(botchan, vocab_size=1000)
    pieces = [theirs.id_to_piece(number) for number in range(3, 1000)]
    assert len(ours.scores.keys() & set(pieces)) >= 995
    common = [piece for piece in pieces if piece in ours.scores]
    assert [ours.scores[piece] for piece in common] == pytest.approx(
        [theirs.get_score(theirs.piece_to_id(piece)) for piece in common], abs=0.5 / STEPS_A_NAT + 2e-4
    )
    n_tokens = sum(len(ours.encode(line)) for line in botchan.split("\n"))
    assert n_tokens == pytest.approx(91_764, rel=1e-3)  # sentencepiece 0.2.1's


@pytest.mark.long
@pytest.mark.parametrize("size", [3566, 2000])
def test_the_vocabulary_is_sentencepieces_at_other_sizes(botchan, size):
    ours = train_unigram([botchan], size, Normalization("nfkc", removes_spaces=True), False)
    theirs = train_theirs(botchan, vocab_size=size)
    assert len(ours.scores.keys() ^ {theirs.id_to_piece(number) for number in range(3, size)}) <= size / 200


@pytest.mark.long
def test_thai_and_english_together_have_sentencepieces_pieces(shared_data):
    text = "".join((shared_data / f"flores200/{name}.dev").read_text()[:30_000] for name in ("tha_Thai", "eng_Latn"))
    ours = train_unigram([text], 1200, Normalization(), coverage=0.999)
    theirs = train_theirs(
        text,
        vocab_size=1200,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        byte_fallback=True,
        character_coverage=0.999,
    )
    assert len(ours.scores.keys() ^ {theirs.id_to_piece(number) for number in range(259, 1200)}) <= 30  # float32 there


def test_runs_of_spaces_are_pieces_as_sentencepiece_learns_them_from_code():
    text = Path(sentencepiece.__file__).read_text()[:20_000]
    ours = train_unigram([text], 600, Normalization(), space_runs=True)
    theirs = train_theirs(
        text,
        vocab_size=600,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        byte_fallback=True,
        allow_whitespace_only_pieces=True,
    )
    assert "▁▁▁▁" in ours.scores
    assert len(ours.scores.keys() ^ {theirs.id_to_piece(number) for number in range(259, 600)}) <= 4


@pytest.mark.long
def test_eleven_languages_get_sentencepieces_number_of_tokens_in_four_times_its_time(shared_data):
    texts = [(shared_data / f"flores200/{name}.dev").read_text() for name in LANGUAGES]
    begun = time.perf_counter()
    ours = train_unigram(texts, 8000, Normalization(), coverage=1.0)
    took = time.perf_counter() - begun
    theirs = train_theirs(
        "".join(texts),
        vocab_size=8000,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        byte_fallback=True,
        character_coverage=1.0,
        num_threads=2,
    )
    print(f"ours {took:.1f} s, sentencepiece {time.perf_counter() - begun - took:.1f} s")
    for name in LANGUAGES:
        lines = (shared_data / f"flores200/{name}.devtest").read_text().split("\n")
        n_theirs = sum(map(len, theirs.encode(lines)))
        assert sum(len(ours.encode(line)) for line in lines) == pytest.approx(n_theirs, rel=0.01), name


def test_digamma_is_the_derivative_of_the_logarithm_of_gamma():
    x = np.array([0.01, 0.5, 1.0, 3.3, 6.9, 7.0, 50.0, 1e6])
    gap = 1e-5 * x
    slopes = [(math.lgamma(a + h) - math.lgamma(a - h)) / (2 * h) for a, h in zip(x, gap, strict=True)]
    assert digamma(x) == pytest.approx(slopes, rel=1e-6)
    assert digamma(np.array([1.0]))[0] == pytest.approx(-0.5772156649, abs=1e-8)  # minus Euler's constant


def test_substrings_with_two_contexts_are_those_that_counting_finds():
    text = "the then they that their theme".replace(" ", "\0") + "\0"
    symbols = np.array([ord(character) for character in text], np.uint32)
    suffixes = sort_suffixes(symbols, 6)
    assert [text[start:] for start in suffixes.order][:3] == sorted(text[start:] for start in range(len(text)))[:3]
    for length in range(1, 6):
        nodes = nodes_of(suffixes, length)
        found = {}
        for first, last in zip(nodes.first, nodes.last, strict=True):
            start = suffixes.order[first]
            found[text[start : start + length]] = int(last - first)
        expected = {}
        for start in range(len(text) - length + 1):
            piece = text[start : start + length]
            places = [place for place in range(len(text)) if text.startswith(piece, place)]
            if len({text[place + length : place + length + 1] for place in places}) > 1:
                expected[piece] = len(places)
        assert found == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": ["abc"], "vocab_size": 10}, r"vocab_size must be at least 263, for 4 characters and 259 other"),
        ({"texts": ["abc"], "vocab_size": 4000}, r"the texts have pieces for \d+ tokens at most; got vocab_size=4000"),
        ({"texts": ["", "\n"], "vocab_size": 300}, r"the texts hold nothing to learn from"),
        ({"texts": ["a\ud800"], "vocab_size": 300}, r"lone surrogate"),
        ({"texts": ["abc"], "vocab_size": 300, "coverage": 0.5}, r"coverage must be at least 0\.98"),
    ],
)
def test_what_cannot_be_learnt_is_refused_with_both_numbers(arguments, message):
    with pytest.raises(ValueError, match=message):
        train_unigram(**arguments)


def test_a_sampled_segmentation_decodes_to_the_text(botchan):
    ours = train_unigram([botchan[:20_000]], 500)
    generator = random.Random(0)
    drawn = {tuple(ours.sample("the rat sat", generator, 0.2)) for _ in range(50)}
    assert len(drawn) > 5
    assert {ours.decode(ids) for ids in drawn} == {"the rat sat"}
    best = ours.n_best("the rat sat", 3)
    assert best[0][0] == ours.encode("the rat sat")
