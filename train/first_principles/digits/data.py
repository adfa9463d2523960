"""Pictures of handwritten digits: 8×8 ones that come with the code, MNIST by download, or idx files from a folder.

All three are idx files and go through the same reader. A folder holds MNIST's four files (60,000 training and 10,000
test images), or one pair of images and labels, of which a random fifth becomes the test set. A tenth of the training
images is kept back for validation. Settings are chosen by the validation loss, so that the test images stay unseen.
"""

import hashlib
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from llm_jax import files
from llm_jax.backend import cache_folder
from train.first_principles.digits import idx

CLASSES = 10
TEST_FRACTION = 0.2  # of a single pair of files
VALIDATION_FRACTION = 0.1  # of the rest, or of MNIST's training files
SPLIT_SEED = 0  # fixed, so that runs with different seeds are tested on the same images
EMBEDDED = Path(__file__).parent / "digits_8x8"

MNIST_MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist",
    "https://ossci-datasets.s3.amazonaws.com/mnist",
)
MNIST_MD5 = {  # from torchvision
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}


@dataclass(frozen=True)
class Digits:
    """Images as rows of D numbers, of mean 0 and standard deviation 1 over all pixels of the training images."""

    train_BD: np.ndarray
    train_labels_B: np.ndarray
    validation_BD: np.ndarray
    validation_labels_B: np.ndarray
    test_BD: np.ndarray
    test_labels_B: np.ndarray
    rows: int  # height of a picture in pixels
    mean_pixel: float  # mean that was subtracted from pixels between 0 and 1
    spread: float  # standard deviation by which they were then divided
    source: str

    def pictures(self, images_BD: np.ndarray) -> np.ndarray:
        """Images (B, D) as pictures (B, rows, columns) with pixels from 0 to 1."""
        return (images_BD * self.spread + self.mean_pixel).reshape(len(images_BD), self.rows, -1)


def load(name: str) -> Digits:
    """'embedded', 'mnist' (downloaded once, into the cache folder), or a folder of idx files.

    Raises:
        FileNotFoundError: there is no such folder, or it has no idx files.
        ValueError: a file is faulty; names the file.
        OSError: MNIST is not in the cache and cannot be downloaded.
    """
    if name == "embedded":
        return replace(from_folder(EMBEDDED), source="embedded digits of 8×8 pixels")
    if name == "mnist":
        return from_folder(download_mnist(cache_folder() / "mnist"))
    return from_folder(Path(name))


def from_folder(folder: Path) -> Digits:
    """MNIST's training and test files, or a single pair of files, split by a fixed seed.

    Raises:
        FileNotFoundError: there is no such folder, or it has other files.
        ValueError: a file is faulty; names the file.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}; data is 'embedded', 'mnist' or a folder of idx files")
    images = sorted(path for path in folder.iterdir() if "images" in path.name and "idx3" in path.name)
    names = ", ".join(path.name for path in images)
    train = [path for path in images if path.name.startswith("train")]
    test = [path for path in images if path.name.startswith(("t10k", "test"))]
    if len(train) == 1 and len(test) == 1:
        return _prepare(*_pair(train[0]), *_pair(test[0]), source=f"{folder}: {names}")
    if len(images) != 1:
        contents = names or ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
        raise FileNotFoundError(
            f"{folder} should have one file *images*idx3* (with its labels), or train-images… and t10k-images…; "
            f"found {contents}"
        )
    pictures, labels = _pair(images[0])
    train_index, test_index = _split(len(pictures), TEST_FRACTION)
    return _prepare(
        pictures[train_index], labels[train_index], pictures[test_index], labels[test_index], f"{folder}: {names}"
    )


def _split(count: int, fraction: float) -> list[np.ndarray]:
    """The numbers below `count` in a fixed random order, as two arrays; the second holds `fraction` of them."""
    order = np.random.default_rng(SPLIT_SEED).permutation(count)
    return np.split(order, [round(count * (1 - fraction))])


def download_mnist(folder: Path) -> Path:
    """Downloads those of MNIST's four files that `folder` does not have. A file is written whole or not at all.

    Raises:
        OSError: a file is missing and no mirror provides it; names the file and the folder to put it in.
        ValueError: a mirror provides a file with another MD5 than the known one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, md5 in MNIST_MD5.items():
        if not (folder / name).exists():
            content = _fetch(name, folder)
            if (digest := hashlib.md5(content, usedforsecurity=False).hexdigest()) != md5:
                raise ValueError(f"downloaded {name} has MD5 {digest}; expected {md5}: try again, or another network")
            files.write(folder / name, content)
    return folder


def _fetch(name: str, folder: Path) -> bytes:
    reasons = []
    for mirror in MNIST_MIRRORS:
        try:
            with urllib.request.urlopen(f"{mirror}/{name}", timeout=30) as answer:
                return answer.read()
        except (urllib.error.URLError, OSError) as error:
            reasons.append(f"{mirror}: {error}")
    raise OSError(
        f"{name} cannot be downloaded ({'; '.join(reasons)}). Put MNIST's four files into {folder}, "
        "or give a folder of idx files with --data"
    )


def _pair(images: Path) -> tuple[np.ndarray, np.ndarray]:
    """The pictures in a file, and the labels in the file of the matching name."""
    labels = images.with_name(images.name.replace("images", "labels").replace("idx3", "idx1"))
    if not labels.exists():
        gzipped = labels.with_name(labels.name.removesuffix(".gz") if labels.suffix == ".gz" else f"{labels.name}.gz")
        if not gzipped.exists():
            raise FileNotFoundError(f"the labels of {images} are missing: expected {labels}")
        labels = gzipped
    pictures, answers = idx.read(images, dimensions=3), idx.read(labels, dimensions=1)
    if len(pictures) != len(answers):
        raise ValueError(f"{images} has {len(pictures):,} images, but {labels} has {len(answers):,} labels")
    if len(pictures) < 2 * CLASSES or not pictures.size:
        raise ValueError(f"{images} has {len(pictures)} images of shape {pictures.shape[1:]}; too few to learn from")
    if (wrong := np.flatnonzero(answers >= CLASSES)).size:
        raise ValueError(
            f"{labels}: label {answers[wrong[0]]} of image {wrong[0]:,} is out of range: digits are 0 to {CLASSES - 1}"
        )
    return pictures, answers


def _prepare(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, source: str
) -> Digits:
    if train.shape[1:] != test.shape[1:]:
        raise ValueError(f"{source}: training images have shape {train.shape[1:]}, test images {test.shape[1:]}")
    kept, validation = _split(len(train), VALIDATION_FRACTION)
    largest = train[kept].max()
    if largest == train[kept].min():
        raise ValueError(f"{source}: every pixel of the training images is {largest}")
    parts = (train[kept], train[validation], test)
    train_BD, validation_BD, test_BD = (a.reshape(len(a), -1).astype(np.float32) / np.float32(largest) for a in parts)
    mean, spread = train_BD.mean(), train_BD.std()
    return Digits(
        (train_BD - mean) / spread,
        train_labels[kept].astype(np.int32),
        (validation_BD - mean) / spread,
        train_labels[validation].astype(np.int32),
        (test_BD - mean) / spread,
        test_labels.astype(np.int32),
        rows=train.shape[1],
        mean_pixel=float(mean),
        spread=float(spread),
        source=source,
    )
