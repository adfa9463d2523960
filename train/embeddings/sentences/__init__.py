"""A small sentence encoder, learnt from pairs of sentences and how similar people find them, from our own weights.

config    what it learns from, and how
data      files of pairs
training  tokenizer, token vectors by skip-gram, and the contrastive steps
"""
