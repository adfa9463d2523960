"""Semantic search over a folder of text: passages near a question in meaning, by a sentence encoder.

config     what is searched, by which model
passages   a folder → files that are text → passages with their line
index      passages and vectors of a folder: made, saved, opened, brought up to date
searching  a question → the nearest passages
"""
