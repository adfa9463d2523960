"""How much text a token stands for: what turns a loss per token into bits per byte."""

import numpy as np

from llm_jax.tokenizer.protocol import Tokenizer


def byte_lengths(tokenizer: Tokenizer) -> np.ndarray:
    """Bytes of text behind each id, int64 [vocab_size]; 0 for special tokens and ids that have none."""
    special = set(tokenizer.special_tokens.values())

    def length(token: int) -> int:
        if token in special:
            return 0
        try:
            return len(tokenizer.token_bytes(token))
        except ValueError:  # an unused id, as cl100k has some
            return 0

    return np.array([length(token) for token in range(tokenizer.vocab_size)])
