"""The ways in which a language model gets to know what is in a picture.

base       what every way is: trained, then asked; and rows of tokens with their loss
seeing     a tower that names what it sees
reading    a decoder that answers from words
pipeline   the names, as words, before the question (no picture reaches the language model)
early      small patches as tokens of one vocabulary, under one softmax
embedded   patches' vectors in the decoder's positions (LLaVA)
cross      the text's positions look at the patches between the blocks (Flamingo)
contrastive  pictures and words in one space (CLIP): names what it was never told to name
"""
