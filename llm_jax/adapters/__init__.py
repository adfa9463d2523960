"""LoRA: a second tree of parameters attached to a first.

config     rank, scale, targets
lora       the tree, its initialisation, attaching, merging
together   several adapters of one base in one batch
base       the hash by which adapters know their base
"""
