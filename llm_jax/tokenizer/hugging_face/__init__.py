"""Tokenizers of others, read by Hugging Face's `tokenizers` library behind our `Tokenizer` protocol.

definition.py            what decides the ids, as a tokenizer.json says it
tokenizer.py             encoding and decoding
saving.py                its folder, written
pieces.py                the bytes of one token
sentencepiece_model.py   SentencePiece's file format, read
from_sentencepiece.py    such a model as a definition
"""
