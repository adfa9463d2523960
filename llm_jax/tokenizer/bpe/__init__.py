"""Byte-pair encoding from scratch. Read in this order: patterns, merge, encode, train, cuts.

rank_file reads and writes tiktoken's files; unicode_classes makes the patterns independent of the edition of Unicode.
"""
