"""The Transformer of Vaswani et al. 2017: an encoder reads a sequence, a decoder writes another one from it.

config      what an encoder–decoder is
parameters  its tree and its initialisation
forward     source → states → keys and values for the decoder, computed once; target → states, logits and loss
"""
