"""Text ↔ ids. Read in this order: protocol, bpe/, unigram/, wordpiece/, hf_files/, hugging_face/, pretrained.

Importing this package is quick: tiktoken's core and the Hugging Face hub are loaded when first needed.
"""

from llm_jax.tokenizer.borders import Borders
from llm_jax.tokenizer.bpe.encode import BytePairTokenizer
from llm_jax.tokenizer.bpe.patterns import CL100K_PATTERN, GPT2_PATTERN, O200K_PATTERN
from llm_jax.tokenizer.bpe.train import train_bpe
from llm_jax.tokenizer.characters import CharacterTokenizer
from llm_jax.tokenizer.derived import with_borders
from llm_jax.tokenizer.pretrained import is_there, load
from llm_jax.tokenizer.protocol import END_OF_TEXT, Tokenizer
from llm_jax.tokenizer.sentencepiece.pair_encoding import train_pair_encoding
from llm_jax.tokenizer.streaming import StreamDecoder, StreamEncoder
from llm_jax.tokenizer.unigram.train import train_unigram
from llm_jax.tokenizer.wordpiece.train import train_wordpiece

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
    "train_pair_encoding",
    "train_unigram",
    "train_wordpiece",
    "with_borders",
]
