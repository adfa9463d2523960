"""Vectors of words: learnt by skip-gram with negative sampling, or counted; stored, searched, looked at.

lookup      a row of a table is the product with a one-hot vector, and so is its gradient
config      the settings of skip-gram
vocabulary  words and their counts; how often a word is kept, and how often it is drawn (word2vec.c)
batches     a text → arrays of equal shape: which words stand beside which
skip_gram   the gradient of a block of text, and an epoch
counting    PPMI and SVD: the same vectors without a gradient
vectors     words with their vectors, and word2vec's text format
nearest     exact top-k in tiles; neighbours and analogies
"""
