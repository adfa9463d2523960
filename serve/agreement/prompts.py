"""The prompts: texts of several lengths that the model itself has generated, or the lines of a file.

Generated text is likely under the model, needs no data, and exists for every vocabulary.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from llm_jax.config import DecoderConfig
from llm_jax.decode.loop import generate
from llm_jax.decode.options import Sampling
from llm_jax.decode.prompts import encode_prompt
from llm_jax.models import decoder
from llm_jax.tokenizer import Tokenizer
from serve.text.prompt_file import read_lines

LENGTHS = (5, 16, 33, 64)  # tokens of the prompts, in turn; fewer if the context is short


def write_prompts(
    params: decoder.Decoder,
    config: DecoderConfig,
    tokenizer: Tokenizer,
    plan: decoder.Plan,
    number: int,
    new_tokens: int,
) -> list[list[int]]:
    """Beginnings of texts that the model samples at temperature 1.

    Raises:
        ValueError: the context is too short for a prompt and `new_tokens`.
    """
    lengths = [min(length, _room(config, new_tokens)) for length in LENGTHS]
    start = encode_prompt(tokenizer, "")
    longest = max(1, max(lengths) - len(start))
    texts = generate(params, [start] * number, config, plan, Sampling(), longest)
    return [(start + text)[: lengths[row % len(lengths)]] for row, text in enumerate(texts)]


def read_prompts(
    file: Path, config: DecoderConfig, tokenizer: Tokenizer, number: int, new_tokens: int
) -> list[list[int]]:
    """The first `number` lines that are not empty, truncated to fit the context.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty or not UTF-8, or the context is too short.
    """
    lines = [line for line in read_lines(file) if line.strip()]
    room = _room(config, new_tokens)
    return [encode_prompt(tokenizer, line)[:room] for line in lines[:number]]


def by_length(prompts: Sequence[Sequence[int]], rows: int) -> list[list[int]]:
    """Numbers of the prompts, in batches of one length and at most `rows` prompts, so that none needs padding."""
    lengths = np.array([len(prompt) for prompt in prompts])
    return [
        np.flatnonzero(lengths == length)[start : start + rows].tolist()
        for length in np.unique(lengths)
        for start in range(0, int((lengths == length).sum()), rows)
    ]


def _room(config: DecoderConfig, new_tokens: int) -> int:
    """Largest number of tokens of a prompt. One position stays free, because vLLM reserves one."""
    room = config.context_length - new_tokens - 1
    if room < 1:
        raise ValueError(
            f"{new_tokens} new tokens do not fit: the model's context is {config.context_length}; give --tokens "
            f"{max(1, config.context_length // 2)}"
        )
    return room
