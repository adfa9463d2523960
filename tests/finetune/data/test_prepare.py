"""Prepared examples: made once, checked when opened, refused when something else is meant, divided, cut and counted."""

import json
from dataclasses import replace

import numpy as np
import pytest
from finetuning_data import chat, chatting, words
from small_models import bytes_tokenizer

from llm_jax.tokenizer import BytePairTokenizer
from llm_jax.tokenizer.bpe.patterns import GPT2_PATTERN
from llm_jax.tokenizer.chat import render
from train.finetune.data.config import DataConfig
from train.finetune.data.divide import for_validation, hash_of
from train.finetune.data.example import Example
from train.finetune.data.prepare import prepare
from train.finetune.data.prepared import open_prepared

ROWS = [{"prompt": f"{a}+{b}=", "completion": f"{a + b}."} for a in range(8) for b in range(5)]


@pytest.fixture
def config(file_of):
    return DataConfig(files=(file_of(ROWS),), val_fraction=0.25)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "prepared"


def all_of(data, split):
    return [data.example(split, number) for number in range(data.count(split))]


def test_every_example_is_in_one_split(config, folder, plain):
    data = prepare(config, plain, folder, 64)
    assert (data.count("train"), data.count("val")) == (30, 10)
    texts = [plain.decode(one.ids.tolist()) for split in ("train", "val") for one in all_of(data, split)]
    assert sorted(texts) == sorted(f"{row['prompt']}{row['completion']}<|endoftext|>" for row in ROWS)
    rows = sorted(data.row(split, number) for split in ("train", "val") for number in range(data.count(split)))
    assert rows == list(range(40))
    for split in ("train", "val"):
        counts = data.splits[split]
        assert counts.tokens == sum(len(one.ids) for one in all_of(data, split))
        assert counts.trained == sum(int(one.trained.sum()) for one in all_of(data, split))
        assert counts.longest == max(len(one.ids) for one in all_of(data, split))
    assert all(words(one, plain)[0].endswith(".<|endoftext|>") for one in all_of(data, "train"))


def test_the_same_inputs_are_prepared_once(config, folder, plain, tmp_path):
    first = prepare(config, plain, folder, 64)
    stamps = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = prepare(config, plain, folder, 64)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == stamps
    assert again.fingerprint == first.fingerprint
    elsewhere = prepare(config, plain, tmp_path / "other", 64)
    assert elsewhere.fingerprint == first.fingerprint
    for name in ("train.safetensors", "val.safetensors", "manifest.json"):
        assert (folder / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


CHANGES = {
    "data": (lambda c: c, ROWS[1:], "other files: --data was data.jsonl"),
    "template": (lambda c: replace(c, template="chatml"), ROWS, "--template auto; now it is chatml"),
    "max_length": (lambda c: replace(c, max_length=32), ROWS, "--max-length 64; now it is 32"),
    "train_on": (lambda c: replace(c, train_on="all"), ROWS, "--train-on assistant; now it is all"),
    "val_fraction": (lambda c: replace(c, val_fraction=0.5), ROWS, "--val-fraction 0.25; now it is 0.5"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_inputs_are_refused_by_name_or_replace_the_examples(change, config, folder, plain, file_of):
    first = prepare(config, plain, folder, 64)
    changed, rows, message = CHANGES[change]
    file_of(rows)
    with pytest.raises(ValueError, match=message) as refused:
        prepare(changed(config), plain, folder, 64)
    assert "\n" not in str(refused.value)
    assert open_prepared(folder).fingerprint == first.fingerprint
    again = prepare(changed(config), plain, folder, 64, changed="replace")
    assert open_prepared(folder).inputs == again.inputs != first.inputs


def test_another_tokenizer_or_model_s_template_is_refused(config, folder, plain):
    prepare(config, plain, folder, 64)
    with pytest.raises(ValueError, match="prepared with another tokenizer"):
        prepare(config, plain.with_special_tokens(["<|x|>"]), folder, 64)
    other = bytes_tokenizer()
    other.chat = chatting().chat
    with pytest.raises(ValueError, match="prepared with another chat template of the model"):
        prepare(config, other, folder, 64)


def test_a_template_s_file_counts_by_its_content(file_of, folder):
    text = "{% for m in messages %}{{ ':' }}{% generation %}{{ m.content + eos_token }}{% endgeneration %}{% endfor %}"
    settings = {"files": (file_of(ROWS),), "template": file_of(text, "mine.jinja")}
    prepare(DataConfig(**settings), chatting(None), folder, 64)
    file_of(text.replace(":", ";"), "mine.jinja")
    with pytest.raises(ValueError, match="prepared with --template"):
        prepare(DataConfig(**settings), chatting(None), folder, 64)


@pytest.mark.parametrize("name", ["train.safetensors", "val.safetensors"])
def test_a_changed_file_is_found(name, config, folder, plain):
    prepare(config, plain, folder, 64)
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"{name}: sha256 .*The file was changed: remove the folder to prepare the examples again"
    ):
        open_prepared(folder)


def test_damaged_examples_are_made_anew_where_they_may_be_replaced(config, folder, plain):
    first = prepare(config, plain, folder, 64)
    for name in ("train.safetensors", "manifest.json"):
        (folder / name).write_bytes((folder / name).read_bytes()[:-9])
        with pytest.raises(ValueError, match="prepare the examples again"):
            prepare(config, plain, folder, 64)
        assert prepare(config, plain, folder, 64, changed="replace").fingerprint == first.fingerprint


def test_processes_that_prepare_the_same_at_once_all_get_it(config, folder, plain):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: prepare(config, plain, folder / "x", 64), range(4)))
    assert {one.fingerprint for one in made} == {made[0].fingerprint}


@pytest.mark.parametrize("edit", [{"format_version": 9}, {"splits": None}, {"kind": 0, "counts": None, "labels": None}])
def test_an_edited_manifest_is_refused(edit, config, folder, plain):
    prepare(config, plain, folder, 64)
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | edit))
    with pytest.raises(ValueError, match=r"manifest\.json: .*prepare the examples again"):
        open_prepared(folder)


def test_nothing_is_left_where_something_was_refused(config, folder, plain, file_of):
    bad = replace(config, files=(file_of([*ROWS, {"prompt": "a", "completion": ""}]),))
    with pytest.raises(ValueError, match="'completion' is an empty answer"):
        prepare(bad, plain, folder, 64)
    assert not folder.exists()
    folder.mkdir()
    (folder / "mine.txt").write_text("keep")
    with pytest.raises(ValueError, match="something else than prepared examples is there"):
        prepare(config, plain, folder, 64, changed="replace")
    assert (folder / "mine.txt").read_text() == "keep"


LONG = {"prompt": "p" * 30, "completion": "c" * 30}


def test_a_long_example_is_cut_and_has_no_end_that_it_did_not_reach(file_of, folder, plain):
    data = prepare(DataConfig(files=(file_of([LONG, *ROWS]),), val_fraction=0, max_length=40), plain, folder, 64)
    first = data.example("train", 0)
    assert plain.decode(first.ids.tolist()) == "p" * 30 + "c" * 10
    assert words(first, plain) == ["c" * 10]
    assert data.counts["truncated"] == 1
    assert data.counts["dropped"] == 0


@pytest.mark.parametrize("length", [20, 30])
def test_an_example_without_a_target_is_dropped_and_counted_or_refused(length, file_of, folder, plain):
    path = file_of([*ROWS, LONG])
    data = prepare(DataConfig(files=(path,), val_fraction=0, max_length=length), plain, folder, 64)
    assert data.count("train") == len(ROWS)
    assert data.counts["dropped"] == 1
    with pytest.raises(
        ValueError, match=rf"data\.jsonl:{len(ROWS) + 1}: nothing to train on is left .*--max-length"
    ) as refused:
        prepare(DataConfig(files=(path,), max_length=length, strict=True), plain, folder / "strict", 64)
    assert "\n" not in str(refused.value)
    none = (
        r"no example is left of 1 rows; 1 had no target within 20 tokens, such as .*long.jsonl:1 with 61 tokens: raise"
    )
    with pytest.raises(ValueError, match=none):
        prepare(DataConfig(files=(file_of([LONG], "long.jsonl"),), max_length=20), plain, folder / "none", 64)


def test_a_pair_of_which_one_answer_is_lost_is_dropped_as_a_whole(file_of, folder):
    tokenizer = chatting()
    rows = [{"prompt": "a", "chosen": "b", "rejected": "c"}, {"prompt": "a" * 200, "chosen": "b", "rejected": "c"}]
    data = prepare(DataConfig(files=(file_of(rows),), val_fraction=0), tokenizer, folder, 200)
    assert (data.count("train"), data.counts["dropped"]) == (1, 1)
    pair = data.example("train", 0)
    assert [words(one, tokenizer) for one in pair] == [["b<|im_end|>"], ["c<|im_end|>"]]
    assert data.lengths("train").tolist() == [len(pair.chosen.ids)]


def test_a_pair_that_truncation_makes_equal_is_dropped_and_counted_or_refused(file_of, folder, plain):
    rows = [
        {"prompt": "a", "chosen": "b", "rejected": "c"},
        {"prompt": "a", "chosen": "b", "rejected": "b"},
        {"prompt": "a", "chosen": "b" * 30 + "c", "rejected": "b" * 30 + "d"},
    ]
    config = DataConfig(files=(file_of(rows),), val_fraction=0, max_length=20)
    data = prepare(config, plain, folder, 64)
    assert (data.count("train"), data.counts["dropped"], data.counts["equal_pairs"]) == (2, 1, 1)
    with pytest.raises(ValueError, match=r"data\.jsonl:3: nothing to train on is left of its 33 tokens within 20"):
        prepare(replace(config, strict=True), plain, folder / "strict", 64)


def test_rows_that_cannot_be_used_are_named_where_no_other_is_left(file_of, folder, plain):
    config = DataConfig(files=(file_of([{"prompt": "a", "completion": ""}]),), skip_bad_rows=1)
    with pytest.raises(
        ValueError, match=r"no example is left of 0 rows; 1 could not be used, such as .*data.jsonl:1: "
    ):
        prepare(config, plain, folder, 64)


def test_the_context_bounds_the_length(config, folder, plain):
    with pytest.raises(ValueError, match="--max-length 65 exceeds the model's context of 64 tokens"):
        prepare(replace(config, max_length=65), plain, folder, 64)


def test_validation_may_have_files_of_its_own(config, folder, plain, file_of):
    val = file_of([ROWS[0], {"prompt": "x", "completion": "y"}], "val.jsonl")
    data = prepare(replace(config, val_files=(val,)), plain, folder, 64)
    assert (data.count("train"), data.count("val")) == (40, 2)
    assert data.counts["shared_with_val"] == 1
    assert prepare(replace(config, val_fraction=0.0), plain, folder / "none", 64).count("val") == 0


def test_what_validation_shares_with_training_is_said(config, folder, plain, caplog):
    data = prepare(replace(config, val_files=config.files), plain, folder, 64)
    assert "40 of --val-data that --data holds too" in data.said()
    assert "--val-data: --data holds all of its 40 examples too" in caplog.text


def test_equal_examples_are_never_divided():
    hashes = [hash_of(Example(np.array([number // 7]), np.ones(1, bool))) for number in range(70)]
    for fraction in (0.01, 0.1, 0.5, 0.99):
        chosen = for_validation(hashes, fraction)
        assert 0 < chosen.sum() < 70
        assert chosen.sum() >= min(round(fraction * 70), 63)
        assert all(len(set(chosen[start : start + 7])) == 1 for start in range(0, 70, 7))
    assert not for_validation(hashes[:1], 0.5).any()
    assert not for_validation(hashes[:7], 0.5).any()
    assert not for_validation(hashes, 0.0).any()


def test_another_seed_chooses_other_examples_and_the_same_seed_the_same(config, folder, plain):
    splits = [
        [data.row("val", number) for number in range(data.count("val"))]
        for seed, name in ((0, "a"), (0, "b"), (1, "c"))
        for data in [prepare(replace(config, data_seed=seed), plain, folder / name, 64)]
    ]
    assert splits[0] == splits[1] != splits[2]


def test_labels_are_the_same_in_training_and_validation(file_of, folder, plain):
    rows = [{"text": f"t{number}", "label": "ab"[number % 2]} for number in range(20)]
    data = prepare(DataConfig(files=(file_of(rows),), val_fraction=0.2), plain, folder, 64)
    assert data.labels == ("a", "b")
    for split in ("train", "val"):
        for number in range(data.count(split)):
            text = plain.decode(data.example(split, number).ids.tolist())
            assert data.labels[data.example(split, number).label] == "ab"[int(text[1:]) % 2]
    val = file_of([{"text": "t", "label": "c"}], "val.jsonl")
    with pytest.raises(ValueError, match=r"label 'c' is among .*not for training; --data has no example of it"):
        prepare(DataConfig(files=(file_of(rows),), val_files=(val,)), plain, folder / "c", 64)
    with pytest.raises(ValueError, match="every label is 'a'; a classifier needs at least two classes"):
        prepare(DataConfig(files=(file_of([{"text": "t", "label": "a"}]),)), plain, folder / "one", 64)


@pytest.mark.parametrize("template", ["model", "chatml", "alpaca", "llama3"])
def test_the_template_that_wrote_the_examples_is_kept_for_serving(template, file_of, folder):
    from llm_jax.tokenizer.hf_files.chat_templates import ChatTemplates

    tokenizer = chatting()
    row = chat("u:a", "a:b")
    data = prepare(DataConfig(files=(file_of([row]),), template=template), tokenizer, folder, 512)
    assert data.template["name"] == template
    tokens = {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    text = render(ChatTemplates({"default": data.chat_template}, tokens), row["messages"]).text
    assert text == tokenizer.decode(data.example("train", 0).ids.tolist())


def test_wide_vocabularies_keep_their_ids(file_of, folder, plain):
    wide = BytePairTokenizer(plain.ranks, GPT2_PATTERN, {"<|endoftext|>": 70_000})
    data = prepare(DataConfig(files=(file_of(ROWS),)), wide, folder, 64)
    assert data.example("train", 0).ids[-1] == 70_000
