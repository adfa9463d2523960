"""Pictures and a language model, joined in several ways, on the same pictures and with the same compute.

data/      pictures, questions and their words
fusion/    the ways: pipeline, early, embedded (and cross-attention, contrastive)
config     what is trained, and how long
flops      compute of an example, by formulas
training   the training loop, compiled whole
measure    accuracy by kind of question, with the controls
work       the order of events; report, drawing, page: what a run leaves
"""
