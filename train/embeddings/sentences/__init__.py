"""A small sentence encoder, trained from scratch on pairs of sentences that people have rated for similarity.

config    settings
data      files of pairs
training  tokenizer, token vectors by skip-gram, and the contrastive steps
"""
