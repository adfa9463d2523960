"""The log-likelihood of a text under a model, from which evaluations compute accuracies.

requests      text → (context, continuation) in ids; long ones are truncated as lm-evaluation-harness does
batches       requests → arrays of a few shapes; answers to one question may share its row
likelihood    (context, continuation) → log-likelihood, in few compiled shapes
conventions   log-likelihoods of several answers → the answer chosen: sum, token mean, character, byte
rows          rows of a local parquet or JSONL file
hellaswag     the HellaSwag items of such a file, and a model's accuracy on them
programs      runs a program that a model wrote, with limits and without network
choices/      files of the log-probabilities of every answer of every item
"""
