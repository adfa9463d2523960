"""Changed, swapped, missing or foreign data is refused before the first step; unchanged data is not read twice."""

import json
import os
import re
import shutil

import numpy as np
import pytest

from llm_jax.tokenizer import BytePairTokenizer, CharacterTokenizer, load, train_bpe
from train.data import integrity
from train.data.command import main as verify_main
from train.data.config import VerifyConfig
from train.data.integrity import open_data, verify
from train.data.manifest import Manifest
from train.data.shards import ShardError
from train.data.sizes import stamp_of
from train.data.tokenizer import refuse_other_tokenizer
from train.prepare.config import PrepareConfig
from train.pretrain.config import RunOptions, TrainConfig
from train.pretrain.inputs import _load_tokenizer, open_inputs


@pytest.fixture
def prepared(tmp_path, json_lines, small_tokenizer) -> Manifest:
    """Three training shards and one for validation."""
    from train.prepare.preparation import prepare

    return prepare(
        PrepareConfig(
            source=(str(json_lines),),
            out=tmp_path / "data",
            tokenizer=str(small_tokenizer),
            shard_tokens=2000,
            processes=1,
        )
    )


def flip(path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def test_sound_data_is_opened_with_the_manifest_that_was_written(prepared):
    assert len(prepared.shards) >= 4
    assert open_data(prepared.folder) == prepared


@pytest.mark.parametrize("offset", [1024, 1501, -1])
def test_one_changed_bit_is_refused_and_the_file_named(prepared, offset):
    open_data(prepared.folder)  # notes of the sound state must not hide the change
    path = prepared.path(prepared.shards[2])
    flip(path, offset % path.stat().st_size)
    with pytest.raises(ShardError, match=rf"{re.escape(str(path))}: sha256 .*; expected sha256 .* as in the manifest"):
        open_data(prepared.folder)


def test_a_change_that_keeps_size_and_modification_time_is_seen(prepared):
    open_data(prepared.folder)
    path = prepared.path(prepared.shards[1])
    before = path.stat()
    flip(path, 1030)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ShardError, match="The file was changed"):
        open_data(prepared.folder)


def test_a_change_in_the_unused_part_of_the_header_is_seen(prepared):
    flip(prepared.path(prepared.shards[0]), 100)
    with pytest.raises(ShardError, match="sha256"):
        open_data(prepared.folder)


def test_swapped_shards_are_recognised_as_swapped(prepared):
    open_data(prepared.folder)
    one, two = (prepared.path(shard) for shard in prepared.shards[1:3])
    os.rename(one, one.with_suffix(".tmp"))
    os.rename(two, one)
    os.rename(one.with_suffix(".tmp"), two)
    with pytest.raises(ShardError, match=rf"{one.name}: the contents of {two.name}; .* swapped: rename {one.name}"):
        open_data(prepared.folder)


def test_a_missing_shard_is_refused(prepared):
    prepared.path(prepared.shards[2]).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{prepared.shards[2].name}: shard is missing"):
        open_data(prepared.folder)


def test_a_whole_shard_of_another_length_is_refused(prepared, shard_bytes):
    prepared.path(prepared.shards[1]).write_bytes(shard_bytes([1, 2, 3]))
    with pytest.raises(ShardError, match="3 tokens; expected 2,000, as in the manifest"):
        open_data(prepared.folder)


def test_an_id_outside_the_vocabulary_is_refused(shard_folder):
    folder = shard_folder(train_000001=[0, 50256], val_000000=[5, 50257])
    with pytest.raises(
        ShardError, match=r"val_000000\.bin: token id 50,257; expected ids below the vocabulary's 50,257"
    ):
        open_data(folder)
    assert open_data(folder, vocab_size=50258).tokenizer.vocab_size == 50258


def test_an_unchanged_shard_is_read_through_only_once(prepared, monkeypatch):
    open_data(prepared.folder)
    monkeypatch.setattr(integrity, "examine", lambda *_: pytest.fail("read again"))
    assert open_data(prepared.folder) == prepared


def test_a_sample_is_read_through_and_of_the_others_header_and_size(prepared, monkeypatch):
    read, examine, n_shards = [], integrity.examine, len(prepared.shards)
    (prepared.folder / integrity.NOTES).unlink(missing_ok=True)

    def recorded(path, *more):
        read.append(path.name)
        return examine(path, *more)

    monkeypatch.setattr(integrity, "examine", recorded)
    assert open_data(prepared.folder, most=1) == prepared
    assert len(read) == 1
    for _ in range(n_shards):  # every start reads another one, until all are known
        assert open_data(prepared.folder, most=1) == prepared
    assert sorted(read) == sorted(shard.name for shard in prepared.shards)
    verdicts = verify(prepared.folder, sample=2)
    assert sum(one.facts is not None for one in verdicts) == 2
    assert [one.fault for one in verdicts] == [""] * n_shards


def test_a_sample_does_not_excuse_a_truncated_shard(prepared, capsys):
    path = prepared.path(prepared.shards[-1])
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ShardError, match="Truncated"):
        open_data(prepared.folder, most=1)
    assert sum("Truncated" in one.fault for one in verify(prepared.folder, sample=1)) == 1
    assert verify_main(VerifyConfig(prepared.folder, sample=1)) == 1
    assert f"fault: {path}" in capsys.readouterr().out
    with pytest.raises(ValueError, match="sample must not be negative"):
        VerifyConfig(prepared.folder, sample=-1)


def test_with_a_sample_other_processes_read_the_manifest_alone(prepared, tmp_path):
    """A thousand processes that each looked at 150,000 files would stop the file system."""
    where, config = RunOptions(data=prepared.folder, check_shards=1), TrainConfig()
    assert open_inputs(where, config, tmp_path, prepares=True)[0] == prepared
    path = prepared.path(prepared.shards[-1])
    path.unlink()
    assert open_inputs(where, config, tmp_path, prepares=False)[0] == prepared
    with pytest.raises(FileNotFoundError, match="shard is missing"):
        open_inputs(where, config, tmp_path, prepares=True)
    with pytest.raises(FileNotFoundError, match="shard is missing"):
        open_inputs(RunOptions(data=prepared.folder), config, tmp_path, prepares=False)


@pytest.mark.parametrize("notes", ['{"half', "[]", "null", '{"val_000000.bin": {}}', "[" * 100_000])
def test_damaged_notes_only_cost_time(prepared, notes):
    (prepared.folder / integrity.NOTES).write_text(notes)
    assert open_data(prepared.folder) == prepared
    assert integrity._read_notes(prepared.folder / integrity.NOTES).keys() == {shard.name for shard in prepared.shards}


def test_a_note_with_facts_of_a_wrong_type_is_not_believed(prepared):
    open_data(prepared.folder)
    notes = prepared.folder / integrity.NOTES
    known = json.loads(notes.read_text())
    known[prepared.shards[0].name]["facts"] = {"tokens": "many", "sha256": None, "largest_id": 1}
    known[prepared.shards[1].name]["facts"] = [1]
    notes.write_text(json.dumps(known))
    assert open_data(prepared.folder) == prepared


def test_a_read_only_folder_only_costs_time(prepared, monkeypatch):

    def read_only(*_):
        raise PermissionError("read-only file system")

    monkeypatch.setattr(integrity, "write_json", read_only)
    assert open_data(prepared.folder) == prepared


def test_another_tokenizer_is_refused_with_both_fingerprints(prepared):
    refuse_other_tokenizer(prepared, load(prepared.folder))
    other = CharacterTokenizer.from_text("abc")
    both = rf"{prepared.tokenizer.fingerprint}.*found 'characters-3' \(sha256 {other.fingerprint}\)"
    with pytest.raises(ValueError, match=both):
        refuse_other_tokenizer(prepared, other)


def test_another_tokenizer_of_the_same_size_beside_the_shards_is_a_fault_and_stops_a_run(prepared, capsys):
    train_bpe(["quite another text, about other words: abstract, gigantic, humble. " * 50], 300).save(prepared.folder)
    assert load(prepared.folder).vocab_size == prepared.tokenizer.vocab_size
    with pytest.raises(ValueError, match=r"prepared with tokenizer 'bpe-300'.*or prepare the text again"):
        _load_tokenizer(open_data(prepared.folder))
    assert verify_main(VerifyConfig(prepared.folder)) == 1
    assert "prepared with tokenizer 'bpe-300'" in capsys.readouterr().out


def test_a_vocabulary_size_that_is_not_the_tokenizers_is_a_fault_and_stops_a_run(prepared, capsys):
    path = prepared.folder / "manifest.json"
    path.write_text(path.read_text().replace('"vocab_size": 300', '"vocab_size": 1000'))
    with pytest.raises(ValueError, match="vocab_size 1,000; expected 300, as tokenizer 'bpe-300' has"):
        _load_tokenizer(open_data(prepared.folder))
    assert verify_main(VerifyConfig(prepared.folder)) == 1
    assert "vocab_size 1,000; expected 300" in capsys.readouterr().out


def test_a_tokenizer_of_the_same_name_elsewhere_is_not_taken_for_that_of_the_data(prepared, capsys, monkeypatch):
    (prepared.folder / "tokenizer.json").unlink()
    monkeypatch.chdir(prepared.folder.parent)
    CharacterTokenizer.from_text("abc").save("bpe-300")
    assert _load_tokenizer(open_data(prepared.folder)) is None
    assert "the run will train, but without samples or export" in capsys.readouterr().err


def test_shards_without_a_known_tokenizer_are_taken_for_gpt2(shard_folder):
    manifest = open_data(shard_folder(train_000001=[1, 2]))
    ranks = {bytes([byte]): byte for byte in range(256)}
    refuse_other_tokenizer(manifest, BytePairTokenizer(ranks, special_tokens={"<|endoftext|>": 50256}, name="gpt2"))
    with pytest.raises(ValueError, match=r"'gpt2' .*found 'bpe-256'"):
        refuse_other_tokenizer(manifest, BytePairTokenizer(ranks))


def test_verify_goes_on_after_a_fault_and_names_every_file(prepared, capsys):
    assert verify_main(VerifyConfig(prepared.folder)) == 0
    flip(prepared.path(prepared.shards[1]), 2000)
    prepared.path(prepared.shards[3]).unlink()
    verdicts = verify(prepared.folder)
    assert [bool(verdict.fault) for verdict in verdicts] == [i in (1, 3) for i in range(len(verdicts))]
    capsys.readouterr()
    assert verify_main(VerifyConfig(prepared.folder)) == 1
    output = capsys.readouterr().out
    assert f"fault: {prepared.path(prepared.shards[1])}: sha256" in output
    assert f"fault: {prepared.path(prepared.shards[3])}: shard is missing" in output
    assert f"{len(verdicts) - 2} of {len(verdicts)} shards are sound" in output


def test_verify_believes_no_notes(prepared):
    """The notes are forged to say that the changed file is sound."""
    open_data(prepared.folder)
    path, notes = prepared.path(prepared.shards[1]), prepared.folder / integrity.NOTES
    flip(path, 2000)
    known = integrity._read_notes(notes)
    known[path.name]["stamp"] = stamp_of(path.stat())
    integrity.write_json(notes, known)
    assert open_data(prepared.folder) == prepared
    assert "The file was changed" in verify(prepared.folder)[1].fault


def test_verify_without_a_manifest_checks_header_and_ids(shard_folder, shard_bytes):
    folder = shard_folder(a_val=[1, 2], b_train=[3, 9])
    np.save(folder / "c.npy", np.array([1, 2], np.uint32))
    verdicts = {verdict.name: verdict for verdict in verify(folder, vocab_size=9)}
    assert verdicts["a_val.bin"].fault == ""
    assert verdicts["a_val.bin"].split == "val"
    assert "token id 9; expected ids below the vocabulary's 9" in verdicts["b_train.bin"].fault
    assert "uint32" in verdicts["c.npy"].fault


def test_verify_passes_over_a_link_that_leads_nowhere(prepared):
    (prepared.folder / "gone.bin").symlink_to("nowhere")
    assert verify_main(VerifyConfig(prepared.folder)) == 0


def test_a_folder_copied_elsewhere_with_its_tokenizer_is_sound(prepared, tmp_path):
    shutil.copytree(prepared.folder, tmp_path / "copy")
    manifest = open_data(tmp_path / "copy")
    assert manifest.fingerprint == prepared.fingerprint
    assert _load_tokenizer(manifest).fingerprint == prepared.tokenizer.fingerprint
    assert verify_main(VerifyConfig(tmp_path / "copy")) == 0
