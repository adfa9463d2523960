"""Unigram from scratch (Kudo 2018, arXiv 1804.10959). Read in this order: lattice, model, train.

lattice.py    one text: the most likely segmentation, the n best, one drawn by chance
model.py      a vocabulary: text ↔ ids
suffixes.py   every substring that occurs in two contexts, by sorting the suffixes of the words
seeds.py      which of those substrings may be pieces
lattices.py   all words at once: expected and most likely counts, in NumPy
pruning.py    which pieces the vocabulary can do without
train.py      the loop around them: expectation, maximisation, pruning
"""
