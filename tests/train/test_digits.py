"""The digits trainer: four engines that go the same way, accuracy on real data, and every mistake a user can make."""

import gzip
import json
import math
import re
import sys
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from llm_jax.autodiff import numerical_grad
from train.first_principles.digits import command, idx
from train.first_principles.digits import data as digits_data
from train.first_principles.digits import engines as digits_engines
from train.first_principles.digits import network as digits_network
from train.first_principles.digits.command import Options, main
from train.first_principles.digits.config import DigitsConfig
from train.first_principles.digits.plots import confusion
from train.record import metrics

STEPS = 500


def idx_bytes(array: np.ndarray) -> bytes:
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def write_pair(folder, images: np.ndarray, labels: np.ndarray, prefix: str = ""):
    (folder / f"{prefix}images-idx3-ubyte").write_bytes(idx_bytes(images))
    (folder / f"{prefix}labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    return folder


@pytest.fixture
def pair(tmp_path):
    """A folder with forty random pictures."""
    rng = np.random.default_rng(0)
    return write_pair(tmp_path, rng.integers(0, 256, size=(40, 5, 4)), np.arange(40) % 10)


@pytest.fixture(scope="module")
def embedded():
    return digits_data.load("embedded")


@pytest.fixture(scope="module")
def losses(embedded):
    """The first 500 losses of every engine."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: uv sync --group test")
    torch.set_num_threads(1)  # matrices this small are slower on several
    config = DigitsConfig()
    start = digits_network.initial_parameters(config, pixels=64)
    batches = list(islice(digits_network.batches(config, embedded), STEPS))
    rate = digits_network.falling_rate(config, STEPS)
    return {
        name: [loss for loss, _ in engine(start, batches, rate, config.weight_decay)]
        for name, engine in digits_engines.ENGINES.items()
    }


@pytest.mark.parametrize("engine", ["autodiff", "jax", "torch"])
def test_losses_equal_those_by_hand_step_by_step(losses, engine):
    assert len(losses[engine]) == STEPS
    assert losses["numpy"][-1] < 0.3 < 2.0 < losses["numpy"][0]
    np.testing.assert_allclose(losses[engine], losses["numpy"], rtol=0, atol=1e-5)


def test_a_step_by_hand_follows_the_measured_gradient(embedded):
    images_BD, labels_B = embedded.train_BD[:5].astype(np.float64), embedded.train_labels_B[:5]
    start = digits_network.initial_parameters(DigitsConfig(hidden=3), pixels=64)
    start = {name: value.astype(np.float64) for name, value in start.items()}
    _, after = next(digits_engines.by_hand(start, [(images_BD, labels_B)], lambda step: 0.1, 0.01))
    measured = numerical_grad(lambda p: digits_network.measure(p, images_BD, labels_B)[0], start)
    for name, p in start.items():
        np.testing.assert_allclose(after[name], p - 0.1 * (measured[name] + 0.01 * p), atol=1e-9)


def test_command_reads_97_percent_of_the_embedded_digits_and_draws_four_pictures(tmp_path, capsys):
    assert main(Options(runs=tmp_path)) == 0
    assert accuracy(capsys.readouterr().out) >= 97.0
    folder = tmp_path / "digits"
    for name in ("loss", "confusion", "mistakes", "weights"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 30 * (1294 // 32) + 1))
    assert sum("val_loss" in line for line in lines) == 30
    assert not list(folder.glob(".*partial*"))


@pytest.mark.parametrize(("epochs", "percent"), [(2, 90.0), pytest.param(20, 96.0, marks=pytest.mark.long)])
def test_command_reads_so_many_percent_of_mnist_after_8000_images(epochs, percent, shared_data, tmp_path, capsys):
    options = Options(data=str(shared_data / "mnist"), engine="jax", runs=tmp_path, config=DigitsConfig(epochs=epochs))
    assert main(options) == 0
    printed = capsys.readouterr().out
    assert "7,200 images for training, 800 for validation, 2,000 for the test" in printed
    assert accuracy(printed) >= percent


def accuracy(printed: str) -> float:
    """Of the test, which comes last and once."""
    (last,) = [line for line in printed.splitlines() if line.startswith("test loss") and line.endswith("% right")]
    return float(last.split()[-2].rstrip("%"))


def test_all_engines_in_turn_are_compared(pair, tmp_path, capsys):
    pytest.importorskip("torch", reason="PyTorch is not installed: uv sync --group test")
    config = DigitsConfig(hidden=8, epochs=2, batch_size=8, learning_rate=0.01)
    assert main(Options(engine="all", data=str(pair), config=config, runs=tmp_path)) == 0
    printed = capsys.readouterr().out
    for engine in digits_engines.ENGINES:
        assert f"{engine:<8}  losses differ from numpy's by at most " in printed


def test_embedded_digits_are_those_of_uci(embedded):
    parts = (embedded.train_BD, embedded.validation_BD, embedded.test_BD)
    assert [part.shape for part in parts] == [(1294, 64), (144, 64), (359, 64)]
    pictures = np.concatenate([embedded.pictures(part) for part in parts]) * 16
    assert round(float(pictures.sum())) == 561718  # as scikit-learn's load_digits().data.sum()
    counts = np.bincount(
        np.concatenate([embedded.train_labels_B, embedded.validation_labels_B, embedded.test_labels_B])
    )
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # UCI, optdigits.names


def test_shifted_pictures_are_moved_by_up_to_so_many_pixels():
    """A dot stays as bright as it was, and its centre of mass comes to lie anywhere in the square around its place."""
    dot = np.zeros((2000, 6, 5), np.float32)
    dot[:, 3, 2] = 1.0
    moved = digits_network.shifted(dot.reshape(2000, -1), 6, 0.7, np.random.default_rng(3)).reshape(dot.shape)
    np.testing.assert_allclose(moved.sum(axis=(1, 2)), 1.0, rtol=1e-5)
    down = moved.sum(axis=2) @ np.arange(6) - 3
    right = moved.sum(axis=1) @ np.arange(5) - 2
    for way in (down, right):
        assert -0.7 <= way.min() < -0.69 < 0.69 < way.max() <= 0.7
        assert abs(way.mean()) < 0.04  # four standard errors
    assert abs(np.corrcoef(down, right)[0, 1]) < 0.1


def test_a_shift_is_linear_between_whole_pixels_and_repeats_the_edge():
    ramp = np.tile(np.arange(6.0), (500, 4, 1))
    moved = digits_network.shifted(ramp.reshape(500, -1), 4, 2, np.random.default_rng(4)).reshape(ramp.shape)
    by = moved[:, 0, 2] - 2
    assert by.min() < -1.9 < 1.9 < by.max()
    np.testing.assert_allclose(moved, np.clip(ramp + by[:, None, None], 0, 5), atol=1e-12)
    assert digits_network.shifted(ramp, 4, 0, np.random.default_rng(4)) is ramp


def test_training_and_test_files_are_told_by_name(tmp_path):
    images, labels = np.arange(30 * 4 * 4).reshape(30, 4, 4) % 250, np.arange(30) % 10
    write_pair(tmp_path, images, labels, "train-")
    write_pair(tmp_path, images[:20], labels[:20], "t10k-")
    digits = digits_data.load(str(tmp_path))
    assert (len(digits.train_BD), len(digits.validation_BD), len(digits.test_BD)) == (27, 3, 20)


def test_test_images_change_nothing_in_training(pair, tmp_path):
    """Neither what is trained nor what is measured on the way: they are looked at once, at the end."""
    digits = digits_data.load(str(pair))
    config = DigitsConfig(hidden=4, epochs=3, batch_size=8)
    blank = replace(digits, test_BD=digits.test_BD * 0, test_labels_B=digits.test_labels_B * 0)
    runs = [command.train("numpy", config, part, tmp_path / str(i)) for i, part in enumerate((digits, blank))]
    assert runs[0][1] == runs[1][1]
    kept = [[(line["train_loss"], line.get("val_loss")) for line in metrics.read(tmp_path / str(i))] for i in range(2)]
    assert kept[0] == kept[1]
    assert sum(validation is not None for _, validation in kept[0]) == 3


def test_confusion_counts_right_digit_by_answer():
    p_BV = np.eye(10)[[3, 3, 5]]
    counts = confusion(np.array([3, 8, 5]), p_BV)
    assert (counts[3, 3], counts[8, 3], counts[5, 5], counts.sum()) == (1, 1, 1, 3)


def test_a_learning_rate_that_diverges_is_named_with_its_step(tmp_path):
    options = Options(config=DigitsConfig(learning_rate=300.0), runs=tmp_path)
    with pytest.raises(ValueError, match=r"diverged: the loss is \S+ at step \d+, .* Learning rate 300 is too large"):
        main(options)


@pytest.mark.parametrize("engine", digits_engines.ENGINES)
def test_a_loss_that_is_not_a_number_is_a_divergence(engine, embedded, tmp_path, monkeypatch):
    monkeypatch.setitem(digits_engines.ENGINES, engine, lambda *_: iter([(2.3, {}), (math.nan, {})]))
    with pytest.raises(ValueError, match="the loss is nan at step 2"):
        command.train(engine, DigitsConfig(), embedded, tmp_path)


@pytest.mark.parametrize("engine", ["torch", "all"])
def test_missing_pytorch_is_named_with_the_group_to_install_before_anything_is_trained(engine, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=f"{engine} needs PyTorch, which is not installed: uv sync --group test"):
        main(Options(engine=engine, runs=tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("images-idx3-ubyte", b"", "images-idx3-ubyte is empty; expected an idx file of images"),
        ("images-idx3-ubyte", b"\0\0", "begins with 0, but an idx file of images begins with 2051"),
        ("images-idx3-ubyte", idx_bytes(np.zeros(40)), "begins with 2049, but an idx file of images begins with 2051"),
        ("images-idx3-ubyte", idx_bytes(np.zeros((40, 5, 4)))[:10], "truncated: it ends within its header"),
        (
            "images-idx3-ubyte",
            idx_bytes(np.zeros((40, 5, 4)))[:-1],
            "its header says 40 × 5 × 4 = 800 elements; it has 799",
        ),
        ("images-idx3-ubyte", idx_bytes(np.zeros((40, 5, 4))) + b"x", "is too long"),
        ("images-idx3-ubyte", gzip.compress(idx_bytes(np.ones((40, 5, 4))), mtime=0)[:30], "is truncated or damaged"),
        ("images-idx3-ubyte", idx_bytes(np.zeros((40, 5, 4))), "every pixel of the training images is 0"),
        ("images-idx3-ubyte", idx_bytes(np.ones((1, 5, 4))), "has 1 images, but .* has 40 labels"),
        ("labels-idx1-ubyte", idx_bytes(np.full(40, 10)), "label 10 of image 0 is out of range: digits are 0 to 9"),
        (
            "labels-idx1-ubyte",
            idx_bytes(np.ones((40, 5, 4))),
            "begins with 2051, but an idx file of labels begins with 2049",
        ),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(pair, name, content, message):
    (pair / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        digits_data.load(str(pair))


def test_a_header_that_promises_too_much_costs_no_memory(tmp_path):
    path = tmp_path / "images"
    path.write_bytes(idx_bytes(np.zeros((1, 1, 1)))[:4] + b"\xff" * 12)
    with pytest.raises(ValueError, match="its header says 4294967295 × 4294967295 × 4294967295"):
        idx.read(path, dimensions=3)


def test_missing_files_are_named(pair, tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder nowhere; data is 'embedded', 'mnist' or a folder"):
        digits_data.load("nowhere")
    (pair / "labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"the labels of .* are missing: expected .*labels-idx1-ubyte"):
        digits_data.load(str(pair))
    (pair / "images-idx3-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"should have one file .* found nothing"):
        digits_data.load(str(pair))


def test_mnist_is_taken_from_the_cache_and_checked_when_downloaded(tmp_path, monkeypatch):
    folder = tmp_path / "mnist"
    monkeypatch.setattr(digits_data, "_fetch", lambda name, folder: b"another file")
    with pytest.raises(ValueError, match=r"downloaded train-images-idx3-ubyte.gz has MD5"):
        digits_data.download_mnist(folder)
    assert not list(folder.iterdir())
    for name in digits_data.MNIST_MD5:
        (folder / name).write_bytes(b"there")
    assert digits_data.download_mnist(folder) == folder


def test_without_network_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(digits_data, "MNIST_MIRRORS", ("http://127.0.0.1:9",))
    with pytest.raises(
        OSError, match=r"train-images-idx3-ubyte.gz cannot be downloaded .* Put MNIST's four files into"
    ):
        digits_data.download_mnist(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 0}, "hidden must be at least 1; got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0; got 0.0"),
        ({"learning_rate": math.nan}, "learning_rate must be above 0; got nan"),
        ({"weight_decay": -1.0}, "weight_decay must not be negative"),
        ({"seed": -1}, "seed must not be negative; got -1"),
        ({"shift": -1}, "shift must be a number of pixels, 0 or more; got -1"),
        ({"shift": math.nan}, "shift must be a number of pixels, 0 or more; got nan"),
        ({"shift": math.inf}, "shift must be a number of pixels, 0 or more; got inf"),
    ],
)
def test_a_config_refuses_nonsense(options, message):
    with pytest.raises(ValueError, match=message):
        DigitsConfig(**options)


@pytest.mark.parametrize("shift", [4, 1e300])
def test_a_shift_that_leaves_nothing_of_a_picture_is_refused(shift, pair, tmp_path):
    config = DigitsConfig(batch_size=8, shift=shift)
    with pytest.raises(
        ValueError, match=rf"less than a picture, which has 5 × 4 pixels; got {re.escape(f'{shift:g}')}"
    ):
        main(Options(data=str(pair), config=config, runs=tmp_path / "runs"))
    assert not list((tmp_path / "runs").iterdir())


def test_only_a_run_of_digits_is_replaced(pair, tmp_path):
    runs = tmp_path / "runs"
    options = Options(data=str(pair), config=DigitsConfig(hidden=4, epochs=1, batch_size=8), runs=runs)
    assert main(options) == main(replace(options, engine="jax")) == 0
    assert json.loads((runs / "digits" / "summary.json").read_text())["engine"] == "jax"
    assert [path.name for path in runs.iterdir()] == ["digits"]
    for name, file in (("pretrained", "config.json"), ("names", "summary.json")):
        (runs / name).mkdir()
        (runs / name / "metrics.jsonl").touch()
        (runs / name / file).write_text('{"command": "makemore"}')
        with pytest.raises(FileExistsError, match=f"{name} holds something that is not a digits run: choose another"):
            main(replace(options, run=name))
        assert {path.name for path in (runs / name).iterdir()} == {"metrics.jsonl", file}
    (runs / "names" / "summary.json").unlink()  # as digits used to leave its folder
    assert main(replace(options, run="names")) == 0


def test_a_run_stays_in_the_folder_of_runs(pair, tmp_path):
    with pytest.raises(ValueError, match=r"a run's name is made of letters, .* got '\.\./escaped'"):
        main(Options(data=str(pair), runs=tmp_path / "runs", run="../escaped"))
    assert not (tmp_path / "escaped").exists()


def test_a_run_that_diverges_leaves_the_older_one_whole(pair, tmp_path):
    config = DigitsConfig(hidden=4, epochs=2, batch_size=8, learning_rate=0.01)
    options = Options(data=str(pair), config=config, runs=tmp_path / "runs")
    main(options)
    older = {path.name: path.read_bytes() for path in (tmp_path / "runs" / "digits").iterdir() if path.is_file()}
    with pytest.raises(ValueError, match="diverged"):
        main(replace(options, config=replace(config, learning_rate=1e6)))
    left = {path.name: path.read_bytes() for path in (tmp_path / "runs" / "digits").iterdir() if path.is_file()}
    assert left == older
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["digits"]


def test_a_batch_larger_than_the_data_is_refused(pair, tmp_path):
    with pytest.raises(ValueError, match="batch_size must not exceed the training images; got 64 and 29"):
        main(Options(data=str(pair), config=DigitsConfig(batch_size=64), runs=tmp_path))
