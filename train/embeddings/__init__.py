"""Vectors of words: trained, counted, or taken from a model; then neighbours, analogies and pictures.

config     settings
inputs     opens a path: a text, a file of vectors, a run, a Hugging Face directory
making     text → vectors, with progress
views      neighbours and analogies
pictures   PCA and t-SNE in the plane
atlas      the interactive page of embedding-atlas
sentences/ a sentence encoder learnt from pairs of texts
"""
