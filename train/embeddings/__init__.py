"""Vectors of words: trained, counted, or taken out of a model, and looked at in the same ways.

config     what is read, what is made, what is shown
inputs     what a path holds: a text, a file of vectors, a run, a Hugging Face directory
making     text → vectors, with progress
views      neighbours and analogies
pictures   PCA and t-SNE in the plane
atlas      the interactive page of embedding-atlas
sentences/ a sentence encoder learnt from pairs of texts
"""
