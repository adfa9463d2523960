"""What is saved comes back to the bit, onto any mesh, and a save that dies at any instant costs nothing before it."""

import logging
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.checkpoint import Checkpoints, Damaged, integrity


@pytest.fixture
def checkpoints(tmp_path):
    opened = Checkpoints(tmp_path)
    yield opened
    opened.close()


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_every_kind_of_leaf_comes_back_to_the_bit(checkpoints, state, template, assert_equal):
    checkpoints.save(7, state, {"seed": 1, "name": "é"}, wait=True)
    restored = checkpoints.restore(template(state))
    assert_equal(restored.state, state)
    assert (restored.step, restored.metadata, restored.passed_over) == (7, {"seed": 1, "name": "é"}, ())


def test_restored_random_keys_give_the_same_numbers(checkpoints, state, template):
    checkpoints.save(1, state, {}, wait=True)
    keys = checkpoints.restore(template(state)).state["keys"]
    assert jax.random.key_impl(keys) == jax.random.key_impl(state["keys"])
    np.testing.assert_array_equal(jax.random.normal(keys[1], (5,)), jax.random.normal(state["keys"][1], (5,)))


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_state_saved_on_4_devices_is_bit_equal_on_others(tmp_path, sharded, assert_equal, devices):
    arrays = {"weight": jax.random.normal(jax.random.key(1), (16, 8)), "bias": jnp.arange(8.0)}
    with_four = Checkpoints(tmp_path)
    with_four.save(1, jax.device_put(arrays, sharded(4)), {}, wait=True)
    with_four.close()
    there = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharded(devices)), arrays)
    checkpoints = Checkpoints(tmp_path)
    restored = checkpoints.restore(there).state
    checkpoints.close()
    assert_equal(restored, arrays)
    assert all(leaf.sharding == sharded(devices) for leaf in jax.tree.leaves(restored))


def test_buffers_may_be_donated_as_soon_as_save_returns(checkpoints):
    advance = jax.jit(lambda state: jax.tree.map(lambda x: x + 1, state), donate_argnums=0)
    state = {"weight": jnp.zeros((512, 512)), "step": jnp.int32(0)}
    template = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state)
    for step in range(6):
        checkpoints.save(step, state, {})
        state = advance(advance(state))
    checkpoints.wait()
    for step in checkpoints.steps():
        restored = checkpoints.restore(template, step).state
        assert int(restored["step"]) == 2 * step
        assert (restored["weight"] == 2 * step).all()


def test_newest_step_is_restored_and_an_older_one_on_request(checkpoints):
    for step in (5, 10, 9_999_999, 123_456_789):
        checkpoints.save(step, {"x": jnp.float32(step)}, {"at": step})
    template = {"x": jax.ShapeDtypeStruct((), jnp.float32)}
    assert checkpoints.restore(template).step == 123_456_789
    assert checkpoints.steps() == [10, 9_999_999, 123_456_789]
    assert checkpoints.latest_step() == 123_456_789
    assert float(checkpoints.restore(template, 10).state["x"]) == 10
    assert checkpoints.metadata(10) == {"at": 10}


def test_metadata_is_read_without_the_arrays(checkpoints):
    checkpoints.save(1, {"x": jnp.zeros(3)}, {"tokenizer": "abc"}, wait=True)
    shutil.rmtree(checkpoints.directory / "00000001" / "state")
    assert checkpoints.metadata(1) == {"tokenizer": "abc"}


@pytest.mark.parametrize("harm", ["flip", "truncate", "delete"])
def test_harm_to_any_one_file_is_announced_and_the_checkpoint_before_it_used(
    checkpoints, state, template, assert_equal, harm, flip, truncate, caplog, tmp_path_factory
):
    checkpoints.save(1, state, {"at": 1})
    checkpoints.save(2, state, {"at": 2}, wait=True)
    intact = tmp_path_factory.mktemp("intact")
    shutil.copytree(checkpoints.directory / "00000002", intact, dirs_exist_ok=True)
    names = [path.relative_to(intact) for path in files_of(intact)]
    assert len(names) > 8  # orbax's own files, the metadata and the list
    for name in names:
        victim = checkpoints.directory / "00000002" / name
        {
            "flip": lambda path=victim: flip(path, path.stat().st_size // 2),
            "truncate": lambda path=victim: truncate(path, 1),
            "delete": victim.unlink,
        }[harm]()
        caplog.clear()
        restored = checkpoints.restore(template(state))
        assert (restored.step, restored.metadata) == (1, {"at": 1})
        assert_equal(restored.state, state)
        assert caplog.record_tuples[0][1] == logging.WARNING
        for announcement in (caplog.messages[0], *restored.passed_over):
            assert "checkpoint of step 2 is damaged" in announcement
            assert str(victim) in announcement
        assert "falling back to step 1" in caplog.messages[0]
        shutil.copy(intact / name, victim)
    assert checkpoints.restore(template(state)).step == 2


def test_damage_with_nothing_to_fall_back_on_is_an_error_that_names_every_file(checkpoints, truncate):
    for step in (1, 2):
        checkpoints.save(step, {"x": jnp.zeros(3)}, {})
    checkpoints.wait()
    truncate(checkpoints.directory / "00000001" / "metadata.json", 5)
    truncate(checkpoints.directory / "00000002" / "state" / "_METADATA", 5)
    with pytest.raises(
        Damaged, match=r"(?s)no intact checkpoint.*00000002/state/_METADATA has.*00000001/metadata\.json"
    ):
        checkpoints.restore({"x": jax.ShapeDtypeStruct((3,), jnp.float32)})


def test_damage_of_the_step_that_was_asked_for_is_an_error_and_no_other_step_is_taken(checkpoints, truncate):
    for step in (1, 2):
        checkpoints.save(step, {"x": jnp.zeros(3)}, {}, wait=True)
    truncate(checkpoints.directory / "00000002" / "metadata.json", 5)
    with pytest.raises(Damaged, match="step 2 is damaged"):
        checkpoints.restore({"x": jax.ShapeDtypeStruct((3,), jnp.float32)}, step=2)


def test_stray_file_with_a_step_s_or_a_leftover_s_name_is_passed_over_and_cleared_away(tmp_path):
    (tmp_path / ".partial-00000001").touch()
    (tmp_path / ".partial-00000002").symlink_to(tmp_path)
    checkpoints = Checkpoints(tmp_path, keep_last=1)
    assert not list(tmp_path.iterdir())
    template = {"x": jax.ShapeDtypeStruct((), jnp.float32)}
    checkpoints.save(1, {"x": jnp.float32(1)}, {}, wait=True)
    (tmp_path / "00000003").touch()
    restored = checkpoints.restore(template)
    assert (restored.step, float(restored.state["x"])) == (1, 1)
    assert "00000003/integrity.json cannot be read: Not a directory" in restored.passed_over[0]
    (tmp_path / ".partial-00000002").touch()
    checkpoints.save(2, {"x": jnp.float32(2)}, {}, wait=True)
    assert [path.name for path in tmp_path.iterdir()] == ["00000002"]
    checkpoints.close()


def test_run_that_fell_back_overwrites_the_abandoned_steps(checkpoints, truncate):
    template = {"x": jax.ShapeDtypeStruct((), jnp.float32)}
    for step in (10, 20, 30):
        checkpoints.save(step, {"x": jnp.float32(step)}, {}, wait=True)
    truncate(checkpoints.directory / "00000030" / "metadata.json", 5)
    checkpoints.restore(template, step=10)
    checkpoints.save(20, {"x": jnp.float32(-20)}, {}, wait=True)
    assert checkpoints.steps() == [10, 20]
    assert float(checkpoints.restore(template).state["x"]) == -20


def test_step_saved_or_restored_last_is_not_written_again(checkpoints):
    folder = checkpoints.directory / "00000004"
    checkpoints.save(4, {"x": jnp.float32(1)}, {})
    checkpoints.save(4, {"x": jnp.float32(1)}, {}, wait=True)
    written = folder.stat().st_ctime_ns
    again = Checkpoints(checkpoints.directory)
    again.restore({"x": jax.ShapeDtypeStruct((), jnp.float32)})
    again.save(4, {"x": jnp.float32(1)}, {}, wait=True)
    again.close()
    assert folder.stat().st_ctime_ns == written


# Where a save can die: before and after each change it makes to the file system, in the middle of a deletion too.
INSTANTS = ["hashing a share", "hashing", "the rename that commits", "the rename that deletes", "half a deletion"]


@pytest.mark.parametrize("instant", INSTANTS)
@pytest.mark.parametrize("after", [False, True])
def test_save_that_dies_leaves_the_newest_committed_step_and_the_next_start_cleans_up(
    tmp_path, monkeypatch, instant, after
):
    template = {"x": jax.ShapeDtypeStruct((64,), jnp.float32)}
    dying = Checkpoints(tmp_path, keep_last=1)
    dying.save(1, {"x": jnp.full(64, 1.0)}, {}, wait=True)
    real = {"seal": integrity.seal, "hash_files": integrity.hash_files, "rename": Path.rename, "rmtree": shutil.rmtree}

    def die_at(name, doing):
        def stand_in(path, *arguments, **options):
            if not doing(path, *arguments):
                return real[name](path, *arguments, **options)
            if after:
                real[name](path, *arguments, **options)
            elif instant == "half a deletion":
                files_of(Path(path))[0].unlink()
            raise InterruptedError("killed")

        return stand_in

    if instant == "hashing":
        monkeypatch.setattr(integrity, "seal", die_at("seal", lambda *_: True))
    elif instant == "hashing a share":
        monkeypatch.setattr(integrity, "hash_files", die_at("hash_files", lambda _: True))
    elif instant == "the rename that commits":
        monkeypatch.setattr(Path, "rename", die_at("rename", lambda _, target: target.name == "00000002"))
    elif instant == "the rename that deletes":
        monkeypatch.setattr(Path, "rename", die_at("rename", lambda _, target: "deleted" in target.name))
    else:
        monkeypatch.setattr(shutil, "rmtree", die_at("rmtree", lambda path, *_: "deleted" in str(path)))
    dying.save(2, {"x": jnp.full(64, 2.0)}, {})
    with pytest.raises(OSError, match=r"checkpoint of step 2 was not written.*killed"):
        dying.wait()
    monkeypatch.undo()
    dying.close()

    is_committed = instant.endswith("deletes") or "deletion" in instant or (instant.endswith("commits") and after)
    started_again = Checkpoints(tmp_path, keep_last=1)
    restored = started_again.restore(template)
    assert restored.step == (2 if is_committed else 1)
    assert restored.passed_over == ()
    assert (restored.state["x"] == restored.step).all()
    assert {path.name for path in tmp_path.iterdir()} <= {"00000001", "00000002"}
    started_again.save(3, {"x": jnp.full(64, 3.0)}, {}, wait=True)
    assert started_again.steps() == [3]
    started_again.close()


def test_failed_save_is_reported_once_and_the_next_one_succeeds(checkpoints, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(integrity, "seal", full)
        checkpoints.save(1, {"x": jnp.zeros(3)}, {})
        with pytest.raises(OSError, match=r"step 1 was not written to .*No space left on device"):
            checkpoints.save(2, {"x": jnp.zeros(3)}, {})
    checkpoints.save(1, {"x": jnp.zeros(3)}, {}, wait=True)
    assert checkpoints.steps() == [1]


def test_nothing_to_restore_is_an_error_that_names_the_folder(checkpoints):
    with pytest.raises(FileNotFoundError, match=f"no checkpoint in {checkpoints.directory} yet"):
        checkpoints.restore({})
    assert checkpoints.latest_step() is None
    checkpoints.save(3, {"x": jnp.zeros(3)}, {}, wait=True)
    for ask in (lambda: checkpoints.restore({}, step=4), lambda: checkpoints.metadata(4)):
        with pytest.raises(FileNotFoundError, match=r"no checkpoint of step 4 .* it has \[3\]"):
            ask()


def test_template_of_another_state_is_refused_before_anything_is_read(checkpoints):
    checkpoints.save(1, {"w": jnp.zeros((2, 3)), "old": jnp.zeros(1)}, {}, wait=True)
    template = {"w": jax.ShapeDtypeStruct((2, 4), jnp.float32), "new": jax.ShapeDtypeStruct((1,), jnp.float32)}
    with pytest.raises(ValueError, match="another state") as raised:
        checkpoints.restore(template)
    assert "new is missing from the checkpoint" in str(raised.value)
    assert "old is only in the checkpoint" in str(raised.value)
    assert "w is float32[2, 3] in the checkpoint and float32[2, 4] here" in str(raised.value)


@pytest.mark.parametrize("step", [-1, 1.0, "1", None, np.float32(1)])
def test_step_that_could_not_be_found_again_is_refused(checkpoints, step):
    with pytest.raises(ValueError, match="step must be a whole number, 0 or more; got"):
        checkpoints.save(step, {"x": 1}, {})
    assert not list(checkpoints.directory.iterdir())


@pytest.mark.parametrize("number", [np.int64, np.uint8, jnp.int32])
def test_steps_and_losses_may_be_numpy_s_and_jax_s(checkpoints, number):
    for step, loss in ((0, np.float32(2)), (1, jnp.float32(1)), (2, np.float64(3)), (3, 4), (4, 4), (5, np.float16(4))):
        checkpoints.save(number(step), {"x": 1}, {}, val_loss=loss)
    checkpoints.wait()
    assert checkpoints.steps() == [1, 3, 4, 5]  # the best, and the last three
    assert checkpoints.restore({"x": 0}, number(4)).step == 4


@pytest.mark.parametrize(
    ("state", "metadata", "message"),
    [
        ({"name": "gpt2"}, {}, r"leaf 'name' of the state is 'gpt2'.*belong in the metadata"),
        ({"a.b": 1, "a": {"b": 2}}, {}, "two leaves of the state are both called 'a.b'"),
        ({"x": 1}, {"path": Path("x")}, "metadata of step 1's checkpoint cannot be written as JSON"),
        ({"x": 1}, {"loss": float("nan")}, "metadata of step 1's checkpoint cannot be written as JSON"),
    ],
)
def test_what_cannot_be_stored_is_refused_and_leaves_no_trace(checkpoints, state, metadata, message):
    with pytest.raises(ValueError, match=message):
        checkpoints.save(1, state, metadata)
    checkpoints.save(1, {"x": 1}, {}, wait=True)
    assert [path.name for path in checkpoints.directory.iterdir()] == ["00000001"]


def test_kept_are_the_last_the_best_and_every_so_many(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep_last=2, keep_every=40)
    losses = {10: 3.0, 20: 1.0, 30: 2.0, 40: None, 50: float("nan"), 60: 2.5, 70: None, 80: None, 90: 1.5}
    for step, loss in losses.items():
        checkpoints.save(step, {"x": jnp.zeros(2)}, {}, val_loss=loss)
    checkpoints.wait()
    assert checkpoints.steps() == [20, 40, 80, 90]
    checkpoints.close()
