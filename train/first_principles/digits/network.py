"""The network that reads digits, and what all its engines share: initial weights, batches, learning rate.

    h = tanh(x·W₁ + b₁)      z = h·W₂ + b₂      loss = softmax-cross-entropy(z, label), mean over the batch

Two layers, trained by gradient descent on small batches with a little weight decay and a learning rate that falls to
zero: chapter 1 of Nielsen's "Neural Networks and Deep Learning" with a softmax at the end. Pictures are moved a little
at random whenever they are shown, since a digit stays what it is (Simard et al. 2003).
"""

import math
from collections.abc import Callable, Iterator

import numpy as np

from llm_jax.autodiff.by_hand import linear, softmax_cross_entropy
from train.first_principles.digits.config import DigitsConfig
from train.first_principles.digits.data import CLASSES, Digits

Parameters = dict[str, np.ndarray]  # w1_DF, b1_F, w2_FV, b2_V
Batch = tuple[np.ndarray, np.ndarray]  # images (B, D), labels (B,)

SHIFT = 1 / 16  # of a picture's height: half a pixel of the 8×8 digits
QUIET = 0.1


def initial_parameters(config: DigitsConfig, pixels: int) -> Parameters:
    """Float32 weights with variance 1/(inputs), biases 0. Weights of the last layer are a tenth as large: the first
    probabilities are then near uniform.
    """
    rng = np.random.default_rng(config.seed)
    w1_DF = rng.normal(size=(pixels, config.hidden)) / math.sqrt(pixels)
    w2_FV = QUIET * rng.normal(size=(config.hidden, CLASSES)) / math.sqrt(config.hidden)
    parameters = {"w1_DF": w1_DF, "b1_F": np.zeros(config.hidden), "w2_FV": w2_FV, "b2_V": np.zeros(CLASSES)}
    return {name: value.astype(np.float32) for name, value in parameters.items()}


def batches(config: DigitsConfig, digits: Digits) -> Iterator[Batch]:
    """Every epoch in a new order; images that do not fill the last batch of an epoch are left out of it."""
    rng = np.random.default_rng(config.seed + 1)
    shift = config.shift if config.shift is not None else SHIFT * digits.rows
    count = len(digits.train_BD)
    for _ in range(config.epochs):
        order = rng.permutation(count)
        for step in range(config.steps_per_epoch(count)):
            chosen = order[step * config.batch_size : (step + 1) * config.batch_size]
            yield shifted(digits.train_BD[chosen], digits.rows, shift, rng), digits.train_labels_B[chosen]


def shifted(images_BD: np.ndarray, rows: int, most: float, rng: np.random.Generator) -> np.ndarray:
    """Every picture moved by up to `most` pixels in each direction; what comes in at an edge repeats the edge.

    A picture that comes to lie between the pixels is interpolated linearly from the four windows around its place.
    Raises ValueError where so many pixels would leave nothing of a picture.
    """
    if not most:
        return images_BD
    pictures = images_BD.reshape(len(images_BD), rows, -1)
    if most >= min(pictures.shape[1:]):
        height, width = pictures.shape[1:]
        raise ValueError(f"shift must be less than a picture, which has {height} × {width} pixels; got {most:g}")
    room = math.ceil(most)
    padded = np.pad(pictures, ((0, 0), (room, room), (room, room)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, pictures.shape[1:], axis=(1, 2))
    place_2B = room + rng.uniform(-most, most, size=(2, len(pictures)))
    corner_2B = np.minimum(np.floor(place_2B).astype(int), 2 * room - 1)  # the last window begins at 2·room
    past_2B = (place_2B - corner_2B).astype(images_BD.dtype)
    moved, every = np.zeros_like(pictures), np.arange(len(pictures))
    for down in (0, 1):
        for right in (0, 1):
            share_B = np.abs(1 - down - past_2B[0]) * np.abs(1 - right - past_2B[1])
            moved += share_B[:, None, None] * windows[every, corner_2B[0] + down, corner_2B[1] + right]
    return moved.reshape(images_BD.shape)


def falling_rate(config: DigitsConfig, total_steps: int) -> Callable:
    """Step (from 0) → learning rate; for a number, or for a step that JAX traces."""
    return lambda step: config.learning_rate * (1 - step / total_steps)


def logits(parameters: Parameters, images_BD: np.ndarray) -> np.ndarray:
    h_BF = np.tanh(linear(images_BD, parameters["w1_DF"], parameters["b1_F"]))
    return linear(h_BF, parameters["w2_FV"], parameters["b2_V"])


def measure(parameters: Parameters, images_BD: np.ndarray, labels_B: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean loss, and the probabilities (B, V)."""
    loss, p_BV = softmax_cross_entropy(logits(parameters, images_BD), labels_B)
    return float(loss), p_BV


def refuse_divergence(loss: float, step: int, config: DigitsConfig) -> None:
    """Raises ValueError for a loss ten times that of guessing, or none at all; names the step it came at."""
    if not loss < 10 * math.log(CLASSES):
        raise ValueError(
            f"training diverged: the loss is {loss:.3g} at step {step}, where guessing has {math.log(CLASSES):.2f}. "
            f"Learning rate {config.learning_rate:g} is too large; try {config.learning_rate / 10:g}"
        )
