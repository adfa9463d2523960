"""Text ↔ ids. Read in this order: protocol, bpe/, hf_files/, hugging_face/, pretrained.

Importing this package is quick: tiktoken's core and the Hugging Face hub are loaded when first needed.
"""

from llm_jax.tokenizer.borders import Borders, with_borders
from llm_jax.tokenizer.bpe.encode import BytePairTokenizer
from llm_jax.tokenizer.bpe.patterns import CL100K_PATTERN, GPT2_PATTERN, O200K_PATTERN
from llm_jax.tokenizer.bpe.train import train_bpe
from llm_jax.tokenizer.characters import CharacterTokenizer
from llm_jax.tokenizer.pretrained import is_there, load
from llm_jax.tokenizer.protocol import END_OF_TEXT, Tokenizer
from llm_jax.tokenizer.streaming import StreamDecoder, StreamEncoder

__all__ = [
    "CL100K_PATTERN",
    "END_OF_TEXT",
    "GPT2_PATTERN",
    "O200K_PATTERN",
    "Borders",
    "BytePairTokenizer",
    "CharacterTokenizer",
    "StreamDecoder",
    "StreamEncoder",
    "Tokenizer",
    "is_there",
    "load",
    "train_bpe",
    "with_borders",
]
