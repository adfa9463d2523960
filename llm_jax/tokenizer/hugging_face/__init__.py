"""Foreign tokenizers, computed by Hugging Face's `tokenizers` library behind our `Tokenizer` protocol.

definition.py   what decides the ids, as a tokenizer.json says it
tokenizer.py    encoding and decoding
saving.py       writes its folder
pieces.py       the bytes of one token
"""
