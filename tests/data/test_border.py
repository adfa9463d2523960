"""What stands between documents: what the tokenizer's files name, or what the user says; never nothing in silence."""

import json

import pytest

from llm_jax.tokenizer import Borders, BytePairTokenizer, load, with_borders
from train.data.shards import open_tokens
from train.prepare.config import PrepareConfig
from train.prepare.preparation import prepare, prepare_share

TEXTS = [f"document number {number}\nand its end" for number in range(200)]
BYTES = {bytes([i]): i for i in range(256)}


@pytest.fixture
def options(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))

    def build(borders=None, special=("<s>", "</s>"), **changes):
        tokenizer = BytePairTokenizer(BYTES, special_tokens={token: 256 + i for i, token in enumerate(special)})
        with_borders(tokenizer, borders or Borders()).save(tmp_path / "tokenizer")
        standard = {"source": (str(path),), "out": tmp_path / "out", "tokenizer": str(tmp_path / "tokenizer")}
        return PrepareConfig(**{**standard, "val_fraction": 0.0, "processes": 1, **changes})

    return build


def tokens_of(manifest):
    return [int(token) for shard in manifest.shards for token in open_tokens(manifest.path(shard))]


@pytest.mark.parametrize(
    ("borders", "expected"),
    [
        (Borders(256, 257, (257,)), [257, 256]),
        (Borders(None, 257, (257,)), [257]),
        (Borders(256, None), [256]),
        (Borders.of_one(256), [256]),
    ],
)
def test_each_document_is_preceded_by_the_tokens_that_the_files_name(options, borders, expected):
    manifest = prepare(options(borders))
    assert tokens_of(manifest) == [token for text in TEXTS for token in [*expected, *text.encode()]]
    assert manifest.splits["train"].documents == 200
    assert manifest.splits["train"].bytes == sum(map(len, TEXTS))
    assert load(manifest.folder).borders == borders


@pytest.mark.parametrize("changes", [{}, {"tokenizer": "characters"}, {"task": 0}])
def test_documents_without_a_border_are_refused_with_the_cure_and_nothing_is_left(options, changes):
    asked = options(**changes)
    with pytest.raises(ValueError, match=r"need a border between them: give --border TOKEN.*--border none"):
        (prepare_share if "task" in changes else prepare)(asked)
    assert not asked.out.exists()


@pytest.mark.parametrize(("border", "number"), [("</s>", 257), ("257", 257), ("\n", 10), ("10", 10)])
def test_the_user_may_name_a_border_which_the_model_then_ends_at(options, border, number):
    manifest = prepare(options(border=border))
    assert tokens_of(manifest) == [token for text in TEXTS for token in [number, *text.encode()]]
    assert load(manifest.folder).borders == Borders.of_one(number)
    assert prepare(options(border=border)).fingerprint == manifest.fingerprint
    with pytest.raises(ValueError, match=f"border: '{border}' there, None now".replace("\n", r"\\n")):
        prepare(options())


def test_none_joins_documents_on_request(options):
    manifest = prepare(options(Borders.of_one(256), border="none"))
    assert tokens_of(manifest) == [token for text in TEXTS for token in text.encode()]
    assert load(manifest.folder).borders == Borders()


def test_characters_may_be_told_a_border(options):
    manifest = prepare(options(tokenizer="characters", border="\n"))
    tokenizer = load(manifest.folder)
    assert tokenizer.decode(tokens_of(manifest)) == "".join("\n" + text for text in TEXTS)
    assert tokenizer.borders.start == tuple(tokenizer.encode("\n"))


@pytest.mark.parametrize(
    ("border", "message"),
    [("<|im_end|>", "is 10 tokens of .*its id. Its special tokens: <s>, </s>"), ("300", "id 300 has no")],
)
def test_a_border_that_is_no_token_is_refused(options, border, message):
    with pytest.raises(ValueError, match=message):
        prepare(options(border=border))


def test_a_running_text_needs_no_border(options, tmp_path):
    (tmp_path / "play.txt").write_text("To be, or not to be. " * 50)
    assert tokens_of(prepare(options(source=(str(tmp_path / "play.txt"),)))) == list(b"To be, or not to be. " * 50)


def test_worker_processes_put_in_the_same_border(options):
    one = prepare(options(Borders(256, 257, (257,))))
    many = prepare(
        options(Borders(256, 257, (257,)), out=one.folder.with_name("many"), processes=2, unit_megabytes=0.002)
    )
    assert many.fingerprint == one.fingerprint
