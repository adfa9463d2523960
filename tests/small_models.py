"""Small models whose choices vary, so that a wrong position, mask or weight shows; and the simplest tokenizer."""

import jax

from llm_jax.config import DecoderConfig
from llm_jax.models import decoder
from llm_jax.tokenizer.bpe.encode import BytePairTokenizer
from llm_jax.tokenizer.bpe.patterns import GPT2_PATTERN


def opinionated(config: DecoderConfig, factor: float) -> decoder.Decoder:
    """As at initialisation, with larger matrices: attention and positions matter, and no two tokens are alike."""
    return jax.tree.map(lambda x: factor * x if x.ndim > 1 else x, decoder.init(jax.random.key(0), config))


def bytes_tokenizer() -> BytePairTokenizer:
    """A token for every byte, and one for the end of a text."""
    return BytePairTokenizer({bytes([i]): i for i in range(256)}, GPT2_PATTERN, {"<|endoftext|>": 256})
