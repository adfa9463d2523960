"""A Transformer encoder of BERT's shape (Devlin et al. 2019): every token attends to every other one.

config      what an encoder is
parameters  its tree and its initialisation
forward     tokens → hidden states, and the logits of a masked token
pooling     hidden states → one vector a text
contrast    the loss that teaches the order of similarities
"""
