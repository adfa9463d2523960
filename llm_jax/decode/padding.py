"""Prompts → one array on the device: checked, padded on the right, its shape rounded up to a bucket.

Every shape is compiled once. With buckets a few programs serve prompts of all lengths and numbers.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from llm_jax.config import DecoderConfig

LENGTH_MULTIPLE = 16  # tokens: lengths are rounded up to a multiple; finer buckets would save no time
Prompts = Sequence[Sequence[int] | np.ndarray] | np.ndarray  # ids, a row each


def bucket(size: int, multiple: int = 1, bits: int = 4) -> int:
    """`size` rounded up to `bits` significant bits (with four, by at most an eighth) and to a multiple of `multiple`.

    >>> [bucket(size, 16) for size in (3, 17, 100, 288, 1000)]
    [16, 32, 112, 288, 1024]
    """
    step = max(multiple, 1 << max(0, size.bit_length() - bits))
    return -(-size // step) * step


def check(prompts: Prompts, config: DecoderConfig, max_new_tokens: int) -> None:
    """Raises ValueError, with the numbers and the cure, if the prompts cannot be decoded."""
    if not len(prompts):
        raise ValueError("there is nothing to continue: give at least one prompt")
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be at least 1; got {max_new_tokens}")
    for number, prompt in enumerate(prompts):
        which = f"prompt {number + 1}" if len(prompts) > 1 else "the prompt"
        if (ids := _as_ids(prompt)) is None:
            shown = " ".join(repr(prompt).split())[:60]
            raise ValueError(f"{which} is {shown}; expected a list of token ids, which are whole numbers")
        room = config.context_length - len(prompt)
        if not len(prompt):
            raise ValueError(f"{which} has no tokens: start a document with the tokenizer's end_of_text")
        if room < 1:
            raise ValueError(
                f"{which} has {len(prompt)} tokens; the model's context is {config.context_length}: shorten the prompt "
                f"to {config.context_length - 1} tokens or fewer"
            )
        if room < max_new_tokens:
            raise ValueError(
                f"{which} has {len(prompt)} tokens and {max_new_tokens} new ones are asked for; the model's context is "
                f"{config.context_length}: ask for {room} or fewer, or shorten the prompt"
            )
        if len(wrong := ids[(ids < 0) | (ids >= config.vocab_size)]):
            known = f"0…{config.vocab_size - 1}"
            raise ValueError(f"{which} holds id {wrong[0]}; the model knows {known}: wrong tokenizer?")


def _as_ids(prompt: Any) -> np.ndarray | None:
    """The prompt as an array; None unless it is a list of whole numbers (NumPy would silently truncate others)."""
    try:
        ids = np.asarray(prompt)
    except ValueError:  # lists of different lengths
        return None
    return ids if ids.ndim == 1 and (ids.dtype.kind in "iu" or not len(ids)) else None


def pad(prompts: Prompts, fewest_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The prompts as one array of a bucket's shape, and their lengths. Rows added as padding have one token."""
    lengths = [len(prompt) for prompt in prompts]
    batch, longest = bucket(len(prompts)), bucket(max(lengths), LENGTH_MULTIPLE)
    batch = max(batch, fewest_rows)
    tokens_BT, lengths_B = np.zeros((batch, longest), np.int32), np.ones(batch, np.int32)
    for row, prompt in enumerate(prompts):
        tokens_BT[row, : len(prompt)] = prompt
    lengths_B[: len(prompts)] = lengths
    return tokens_BT, lengths_B
