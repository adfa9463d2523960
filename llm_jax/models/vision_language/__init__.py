"""A decoder that sees: a vision Transformer's patches as vectors in the decoder's positions (LLaVA, Liu et al. 2023).

config      what the tower and the whole are
parameters  their trees and initialisations
tower       pixels → one vector a patch (CLIP's vision tower, Radford et al. 2021)
forward     patches → the decoder's width, put where the text has placeholders → hidden states
prompt      a prompt with pictures, for decoding
cross       the other way in: layers of cross-attention between the blocks (Flamingo)
contrast    the loss by which pictures find their words (CLIP)
"""
