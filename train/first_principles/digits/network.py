"""The network that reads digits, and what all engines share: initial weights, batches, learning rate.

    h = tanh(x·W₁ + b₁)      z = h·W₂ + b₂      loss = softmax-cross-entropy(z, label), mean over the batch

Two layers, trained by gradient descent on small batches with a little weight decay and a learning rate that falls to
zero: chapter 1 of Nielsen's "Neural Networks and Deep Learning" with a softmax at the end. Each time a training picture
is used, it is shifted by a small random distance, which does not change its label (Simard et al. 2003).
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
OUTPUT_SCALE = 0.1  # of the last layer's initial weights


def initial_parameters(config: DigitsConfig, pixels: int) -> Parameters:
    """Initial parameters in float32: weights with variance 1/inputs, biases 0.

    The weights of the last layer are a tenth as large, so that the initial probabilities are nearly uniform.
    """
    rng = np.random.default_rng(config.seed)
    w1_DF = rng.normal(size=(pixels, config.hidden)) / math.sqrt(pixels)
    w2_FV = OUTPUT_SCALE * rng.normal(size=(config.hidden, CLASSES)) / math.sqrt(config.hidden)
    parameters = {"w1_DF": w1_DF, "b1_F": np.zeros(config.hidden), "w2_FV": w2_FV, "b2_V": np.zeros(CLASSES)}
    return {name: value.astype(np.float32) for name, value in parameters.items()}


def batches(config: DigitsConfig, digits: Digits) -> Iterator[Batch]:
    """Batches of all epochs, each in a new order. Images that do not fill the last batch of an epoch are left out."""
    rng = np.random.default_rng(config.seed + 1)
    shift = config.shift if config.shift is not None else SHIFT * digits.rows
    count = len(digits.train_BD)
    for _ in range(config.epochs):
        order = rng.permutation(count)
        for step in range(config.steps_per_epoch(count)):
            chosen = order[step * config.batch_size : (step + 1) * config.batch_size]
            yield shifted(digits.train_BD[chosen], digits.rows, shift, rng), digits.train_labels_B[chosen]


def shifted(images_BD: np.ndarray, rows: int, most: float, rng: np.random.Generator) -> np.ndarray:
    """Shifts every picture by a random distance of up to `most` pixels along each axis, with edge padding.

    A shift by a fraction of a pixel is a bilinear interpolation of the four windows around it.

    Raises:
        ValueError: `most` is not smaller than a picture.
    """
    if not most:
        return images_BD
    pictures = images_BD.reshape(len(images_BD), rows, -1)
    if most >= min(pictures.shape[1:]):
        height, width = pictures.shape[1:]
        raise ValueError(f"shift must be less than a picture, which has {height} × {width} pixels; got {most:g}")
    padding = math.ceil(most)
    padded = np.pad(pictures, ((0, 0), (padding, padding), (padding, padding)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, pictures.shape[1:], axis=(1, 2))
    offset_2B = padding + rng.uniform(-most, most, size=(2, len(pictures)))
    corner_2B = np.minimum(np.floor(offset_2B).astype(int), 2 * padding - 1)  # the last window begins at 2·padding
    fraction_2B = (offset_2B - corner_2B).astype(images_BD.dtype)
    result, every = np.zeros_like(pictures), np.arange(len(pictures))
    for down in (0, 1):
        for right in (0, 1):
            weight_B = np.abs(1 - down - fraction_2B[0]) * np.abs(1 - right - fraction_2B[1])
            result += weight_B[:, None, None] * windows[every, corner_2B[0] + down, corner_2B[1] + right]
    return result.reshape(images_BD.shape)


def falling_rate(config: DigitsConfig, total_steps: int) -> Callable:
    """The schedule: step (from 0) → learning rate. It takes a number, or a step that JAX traces."""
    return lambda step: config.learning_rate * (1 - step / total_steps)


def logits(parameters: Parameters, images_BD: np.ndarray) -> np.ndarray:
    """Logits (B, V)."""
    h_BF = np.tanh(linear(images_BD, parameters["w1_DF"], parameters["b1_F"]))
    return linear(h_BF, parameters["w2_FV"], parameters["b2_V"])


def measure(parameters: Parameters, images_BD: np.ndarray, labels_B: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean loss in nats, and the probabilities (B, V)."""
    loss, p_BV = softmax_cross_entropy(logits(parameters, images_BD), labels_B)
    return float(loss), p_BV


def refuse_divergence(loss: float, step: int, config: DigitsConfig) -> None:
    """Checks one loss.

    Raises:
        ValueError: it is NaN, or ten times that of guessing; names the step and the learning rate.
    """
    if not loss < 10 * math.log(CLASSES):
        raise ValueError(
            f"training diverged: the loss is {loss:.3g} at step {step}, and that of guessing {math.log(CLASSES):.2f}. "
            f"Learning rate {config.learning_rate:g} is too large; try {config.learning_rate / 10:g}"
        )
