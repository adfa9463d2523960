"""A Transformer encoder of BERT's shape (Devlin et al. 2019): every token attends to every other one.

config      what an encoder is
parameters  its tree and its initialisation
forward     tokens → hidden states, and the logits of a masked token
masking     which tokens are to be guessed: 80 % [MASK], 10 % random, 10 % as they are
pooling     hidden states → one vector a text
classifier  one vector a text → its class
contrast    the loss that teaches the order of similarities
"""
